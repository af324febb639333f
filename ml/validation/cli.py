"""`quantstream quarantine …`: what is held and why, and a person's word on it, always with a reason."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from quantstream.core.errors import Misconfigured
from quantstream.lake.quarantine import BY_HAND, HELD, RELEASED, Change, Quarantine, note, quarantine_of
from quantstream.lake.schemas import QUARANTINED
from quantstream.lake.store import Lake
from quantstream.settings import Settings

LoadSettings = Callable[[Path | None], Settings]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]
TableOption = Annotated[str, typer.Option("--table", help=f"One of {', '.join(QUARANTINED)}")]
SymbolArgument = Annotated[str, typer.Argument(metavar="SYMBOL")]
DayArgument = Annotated[str, typer.Argument(metavar="DAY", help="In ISO 8601, UTC: 2026-01-31")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for whoever asks later")]


def commands(load: LoadSettings) -> typer.Typer:
    """Return the group of commands; `load` returns the settings of the state folder that is named."""
    app = typer.Typer(
        help="Days of symbols that are left out of reads: list them, hold one, release one.", no_args_is_help=True
    )

    @app.command("list")
    def show(
        table: Annotated[str | None, typer.Option("--table", help="Of one table only")] = None,
        symbol: Annotated[str | None, typer.Option("--symbol", help="Of one symbol only")] = None,
        changes: Annotated[bool, typer.Option("--changes", help="Every change ever made, the oldest first")] = False,
        state: StateOption = None,
    ) -> None:
        """Say what is held, and why."""
        quarantine = quarantine_of(Lake(load(state).lake_url, may_create=False))
        found = quarantine.changes if changes else quarantine.held(_known(table) if table else None, symbol)
        for one in found:
            typer.echo(one)
        if not found:
            typer.echo("nothing is in quarantine")

    @app.command()
    def add(
        symbol: SymbolArgument,
        day: DayArgument,
        why: WhyOption,
        table: TableOption = "candles",
        state: StateOption = None,
    ) -> None:
        """Hold a symbol's day: it is left out of reads until somebody releases it."""
        lake = Lake(load(state).lake_url)
        typer.echo(hold(lake, _known(table), symbol, _day(day), why))

    @app.command()
    def release(
        symbol: SymbolArgument,
        day: DayArgument,
        why: WhyOption,
        table: TableOption = "candles",
        state: StateOption = None,
    ) -> None:
        """Let a symbol's day out again; the gate holds it anew only for a finding that was not known."""
        lake = Lake(load(state).lake_url)
        for one in let_out(lake, _known(table), symbol, _day(day), why):
            typer.echo(one)

    @app.command()
    def check(
        symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="[default: all]")] = None,
        table: TableOption = "candles",
        anew: Annotated[
            bool, typer.Option("--all", help="Read everything again, also months that were checked and did not change")
        ] = False,
        state: StateOption = None,
    ) -> None:
        """Validate now, after a repair, say: what is sound again is released, what is not is held."""
        from ml.validation.pipeline import validate_each

        settings = load(state)
        for done in validate_each(settings, symbols or settings.symbols, [_known(table)], "by hand", anew=anew):
            if done.error is not None:
                raise done.error
            for report in done.result or ():
                typer.echo(report)

    return app


def hold(lake: Lake, table: str, symbol: str, day: date, why: str) -> Change:
    """Hold a partition by hand, and return the change.

    Raises: Misconfigured for an empty reason or when the lake has no rows of that day; Unavailable.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    of = "candles" if table == "features" else table
    if not lake.has(of) or not lake.read(of, [symbol], start, start.replace(hour=23, minute=59, second=59)).num_rows:
        raise Misconfigured(f"the lake has no {of} of {symbol} on {day}: there is nothing to hold")
    change = _change(symbol, day, table, BY_HAND, HELD, why)
    note(lake, [change])
    return change


def let_out(lake: Lake, table: str, symbol: str, day: date, why: str) -> list[Change]:
    """Release a partition, whatever holds it, and return the changes.

    Raises: Misconfigured for an empty reason or when nothing holds it; Unavailable.
    """
    quarantine = quarantine_of(lake)
    held = [one for one in quarantine.held(table, symbol) if one.day == day]
    if not held:
        raise Misconfigured(f"nothing holds {symbol} {day} of {table}{_elsewhere(quarantine, symbol, day)}")
    changes = [_change(symbol, day, table, one.expectation, RELEASED, why) for one in held]
    note(lake, changes)
    return changes


def _elsewhere(quarantine: Quarantine, symbol: str, day: date) -> str:
    tables = sorted({one.table for one in quarantine.held(symbol=symbol) if one.day == day})
    return f", but of {' and '.join(tables)}: --table {tables[0]}" if tables else "; see `quantstream quarantine list`"


def _change(symbol: str, day: date, table: str, expectation: str, what: str, why: str) -> Change:
    if not why.strip():
        raise Misconfigured("say why: whoever looks later must know")
    return Change(symbol, day, table, expectation, what, why.strip(), datetime.now(UTC), getpass.getuser())


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text!r} is no day; write it like 2026-01-31") from None


def _known(table: str) -> str:
    if table not in QUARANTINED:
        raise Misconfigured(f"{table!r} has no days that are held; choose one of {', '.join(QUARANTINED)}")
    return table
