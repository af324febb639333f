"""`quantstream var`: how much may be lost by the next hour and day, of symbols or of the positions in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantstream.core.errors import Misconfigured
from quantstream.settings import Settings

if TYPE_CHECKING:
    from ml.value_at_risk.stored_risk import Asked
    from quantstream.lake.store import Lake

LoadSettings = Callable[[Path | None], Settings]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]


def register(app: typer.Typer, load: LoadSettings) -> None:
    """Add the command; `load` returns the settings of the state folder that is named."""

    @app.command()
    def var(
        positions: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="CSV or JSON of symbol,quantity [default: QUANTSTREAM_POSITIONS]"),
        ] = None,
        symbols: Annotated[
            str | None, typer.Option(metavar="A,B", help="Symbols instead of positions [default: those followed]")
        ] = None,
        at: Annotated[
            str | None,
            typer.Option(metavar="TIME", help="A close of the market, ISO 8601 in UTC [default: the newest]"),
        ] = None,
        as_of: Annotated[
            str | None, typer.Option("--as-of", metavar="TIME", help="With --at: what was known then, by our clock")
        ] = None,
        recompute: Annotated[
            int, typer.Option(min=0, metavar="N", help="Make the last N stored forecasts anew; all must be equal")
        ] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables")] = False,
        state: StateOption = None,
    ) -> None:
        """Tell value at risk and expected shortfall of the next hour and day, at 95 and 99 %, from the lake's candles.

        Exit code 1 where a figure that was asked for is missing; a sentence says why.
        """
        from quantstream.lake.store import Lake

        if positions is not None and symbols is not None:
            raise Misconfigured("name --positions or --symbols, not both: positions say their symbols themselves")
        settings = load(state)
        lake = Lake(settings.lake_url, may_create=False)
        if recompute:
            raise typer.Exit(_recompute(lake, recompute))
        asked = _asked(at, as_of)
        file = positions or (Path(settings.positions) if settings.positions and symbols is None else None)
        if file is not None:
            raise typer.Exit(_of_positions(lake, file, asked, as_json))
        raise typer.Exit(_of_symbols(lake, _names(symbols, settings), asked, as_json))


def _names(symbols: str | None, settings: Settings) -> list[str]:
    if symbols is None:
        return list(settings.symbols)
    names = list(dict.fromkeys(name.strip().upper() for name in symbols.split(",") if name.strip()))
    if not names:
        raise Misconfigured("--symbols names none; write them like BTCUSDT,ETHUSDT")
    return names


def _asked(at: str | None, as_of: str | None) -> Asked:
    from ml.value_at_risk.stored_risk import Asked
    from quantstream.core.moments import parse_moment
    from quantstream.core.time import utc

    def moment(text: str) -> int:
        return parse_moment(text, lambda: time.time_ns() // 1000)

    if as_of is not None and at is None:
        raise Misconfigured("--as-of says what was known; say of which close with --at")
    return Asked(None if at is None else moment(at), None if as_of is None else utc(moment(as_of)))


def _of_positions(lake: Lake, file: Path, asked: Asked, as_json: bool) -> int:
    from ml.value_at_risk.positions import read_positions
    from ml.value_at_risk.risk_report import book_fields, book_lines
    from ml.value_at_risk.stored_risk import risk_of_positions

    book = risk_of_positions(lake, read_positions(file), asked)
    _print(json.dumps(book_fields(book), indent=1) if as_json else book_lines(book))
    return 0 if book.risks else 1


def _of_symbols(lake: Lake, names: Sequence[str], asked: Asked, as_json: bool) -> int:
    from ml.value_at_risk.risk_report import symbol_fields, symbol_lines
    from ml.value_at_risk.stored_risk import risk_of_symbols

    told = risk_of_symbols(lake, names, asked)
    _print(json.dumps(symbol_fields(told), indent=1) if as_json else symbol_lines(told))
    return 1 if told.troubles else 0


def _recompute(lake: Lake, last: int) -> int:
    from ml.value_at_risk.recomputing import recompute

    done = recompute(lake, last)
    _print(done.lines())
    return 0 if done.is_equal else 1


def _print(text: str | Sequence[str]) -> None:
    typer.echo(text if isinstance(text, str) else "\n".join(text))
