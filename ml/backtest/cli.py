"""`quantstream ledger`: what acting on the scores would have earned, at costs and by fills that the user names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from ml.backtest.ledger import Ledger
    from ml.backtest.stored_scores import Clock

CLOCKS: dict[str, Clock] = {"score": "score", "candle": "candle"}
MOMENT = "ISO 8601 in UTC, or 15m, 2h, 1d ago"


def command(load: Callable[[Path | None], Settings]) -> Callable[..., None]:
    """Return the command; `load` returns the settings of the state folder that is named."""

    def ledger(
        symbols: Annotated[str | None, typer.Option("--symbols", metavar="A,B", help="Whose [default: all]")] = None,
        start: Annotated[
            str | None, typer.Option("--from", metavar="TIME", help=f"Candles opened from: {MOMENT}")
        ] = None,
        end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="And before")] = None,
        costs: Annotated[
            str | None,
            typer.Option(
                "--costs", metavar="taker|maker|futures", help="Fee of 10, 2 or 4 bp a side [default: the settings']"
            ),
        ] = None,
        fee_bp: Annotated[str | None, typer.Option("--fee-bp", metavar="N", help="Another fee, a side")] = None,
        spread_bp: Annotated[
            str | None, typer.Option("--spread-bp", metavar="N", help="Between bid and ask: half of it on each side")
        ] = None,
        slippage_bp: Annotated[str | None, typer.Option("--slippage-bp", metavar="N", help="A side")] = None,
        latency: Annotated[
            str, typer.Option("--latency", metavar="T", help="From the score to the order at the exchange: 250ms, 5m")
        ] = "1s",
        stop_latency: Annotated[
            str,
            typer.Option("--stop-latency", metavar="T", help="From a stop's touch to its order; 0s: the next trade"),
        ] = "0s",
        notional: Annotated[
            str, typer.Option("--notional", metavar="N", help="Value of each trade, in the quote currency")
        ] = "1000",
        version: Annotated[
            str | None, typer.Option("--version", metavar="N", help="Of the signal alone, a challenger's too")
        ] = None,
        by_probability: Annotated[
            bool,
            typer.Option(
                "--by-probability", help="Act where the probabilities promise more than a round trip costs you"
            ),
        ] = False,
        clock: Annotated[
            str,
            typer.Option("--clock", metavar="score|candle", help="A score is known when it was made, or at the close"),
        ] = "score",
        check: Annotated[
            bool,
            typer.Option("--check", help="Fill each trade again on spoilt prices: exit code 1 if one looked ahead"),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines")] = False,
        csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write every row here, exact")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that is there")] = False,
        state: Annotated[
            Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
        ] = None,
    ) -> None:
        """Say what acting on every Buy and Sell would have earned, before and after costs, and which costs leave nothing."""
        from ml.backtest.costs import costs_of
        from ml.backtest.fills import Rules
        from ml.backtest.ledger import Asked, ledger_of
        from quantstream.lake.queries.output import check_place
        from quantstream.lake.store import Lake

        settings = load(state)
        asked = Asked(
            *(_names(symbols), _moment(start), _moment(end), version),
            costs=costs_of(costs, fee_bp, spread_bp, slippage_bp, settings.costs),
            rules=Rules(_length("--latency", latency), _length("--stop-latency", stop_latency)),
            notional=_money(notional),
            by_probability=by_probability,
            clock=_clock(clock),
            is_checked=check,
        )
        if csv is not None:
            check_place(csv, force)
        found = ledger_of(Lake(settings.lake_url, may_create=False), asked)
        _show(found, as_json, csv)

    return ledger


def _show(found: Ledger, as_json: bool, csv: Path | None) -> None:
    """Print the account and write the rows. Raises: DataRejected when a fill looked ahead."""
    from ml.backtest.ledger_report import fields, lines, table_of
    from quantstream.lake.queries.output import write

    if csv is not None:
        count = write(table_of(found).to_reader(), csv, "csv")
        typer.echo(f"{count:,} rows written to {csv}", err=as_json)
    typer.echo(json.dumps(fields(found), indent=1) if as_json else "\n".join(lines(found)))
    if found.faults:
        raise DataRejected(f"{len(found.faults):,} of the fills looked where they could not: {found.faults[0]}")


def _names(symbols: str | None) -> list[str] | None:
    return None if symbols is None else [name.strip() for name in symbols.split(",") if name.strip()]


def _moment(text: str | None) -> datetime | None:
    from quantstream.core.moments import parse_moment
    from quantstream.core.time import utc

    return None if text is None else utc(parse_moment(text, lambda: time.time_ns() // 1000))


def _length(option: str, text: str) -> int:
    from quantstream.core.moments import parse_length

    try:
        return parse_length(text)
    except Misconfigured as error:
        raise Misconfigured(f"{option} {error}") from None


def _money(text: str) -> int:
    from quantstream.core.decimals import UNIT

    try:
        return int(Fraction(text.strip()) * UNIT)
    except (ValueError, ZeroDivisionError):
        raise Misconfigured(f"--notional {text!r} is no amount of money; write one like 1000") from None


def _clock(text: str) -> Clock:
    if text not in CLOCKS:
        raise Misconfigured(f"--clock {text!r} is none; write score or candle")
    return CLOCKS[text]
