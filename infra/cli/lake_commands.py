"""`quantstream lake …`: what is done to the lake; `quarantine`: days left out; `models`; `sql`, `export`, `ledger`: questions."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.proof_commands import stack_settings
from ml.backtest.cli import command as ledger_command
from ml.calendar.cli import commands as calendar_commands
from ml.promotion.cli import commands as model_commands
from ml.validation.cli import commands as quarantine_commands
from quantstream.core.errors import Misconfigured
from quantstream.settings import Settings

if TYPE_CHECKING:
    from quantstream.lake.store import Lake

StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .csv or .json")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="csv|json|parquet", help="Instead of the file's ending")
]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Only what was known then: candles and scores keep that")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there")]
MOMENT = "ISO 8601 in UTC, or 15m, 2h, 1d ago"
lake = typer.Typer(help="The lake: its tables and their columns.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(lake, name="lake")
    app.add_typer(quarantine_commands(stack_settings), name="quarantine")
    app.add_typer(model_commands(stack_settings), name="models")
    app.add_typer(calendar_commands(stack_settings), name="calendar")
    app.command()(sql)
    app.command()(export)
    app.command("ledger")(ledger_command(stack_settings))


@lake.callback()
def _group() -> None:
    """The lake: its tables and their columns."""


@lake.command()
def instruments(
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the exchange first and note what changed")] = False,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Note since when, and until when, symbols lived, as the public archive tells"),
    ] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Believe a list that lacks many symbols of before")] = False,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Who was listed then, in ISO 8601 (UTC) [default: now]")
    ] = None,
    state: StateOption = None,
) -> None:
    """Say who was listed at a time, and who has gone since; with --refresh note what the exchange lists now."""
    from ml.data.instrument_look import look, said

    settings = stack_settings(state)
    if refresh:
        for change in look(settings, time.time_ns() // 1000, accept):
            typer.echo(change)
    if archive:
        for sentence in _lives(settings):
            typer.echo(sentence)
    typer.echo(said(settings, at))


def _lives(settings: Settings) -> list[str]:
    from quantstream.binance.archive import market_of_api
    from quantstream.lake.store import Lake
    from streaming.backfill.archive_listing import note_lives

    ends = settings.endpoints
    return note_lives(Lake(settings.lake_url), ends.archive_listing, market_of_api(ends.api), time.time_ns() // 1000)


@lake.command()
def migrate(
    state: StateOption = None,
) -> None:
    """Bring a lake of an older version up to date: new columns, partitions by month. It may be killed and repeated."""
    from quantstream.lake.store import Lake
    from quantstream.lake.upkeep.evolution import migrate as add_what_is_new

    url = stack_settings(state).lake_url
    changes = add_what_is_new(Lake(url), time.time_ns() // 1000)
    for change in changes or [f"{url} has all that this version knows; nothing was changed"]:
        typer.echo(change)


@lake.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array")] = False,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
    ] = None,
) -> None:
    """Say of each table how many rows, files and bytes it has, over which days, and what waits for the compaction."""
    import msgspec

    from quantstream.lake.store import Lake
    from quantstream.lake.upkeep.table_status import lake_status, status_lines

    url = stack_settings(state).lake_url
    tables = lake_status(Lake(url, may_create=False))
    if as_json:
        typer.echo(msgspec.json.encode(tables).decode())
        return
    for line in status_lines(tables) if tables else [f"there are no tables at {url} yet"]:
        typer.echo(line)


@lake.command()
def retain(
    days: Annotated[
        int | None, typer.Option("--days", help="Keep trades of so many days [default: QUANTSTREAM_TRADES_DAYS]")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
    ] = None,
) -> None:
    """Delete the trades of old days whose candles are complete and verified; say which old days stay, and why."""
    from quantstream.lake.store import Lake
    from quantstream.lake.upkeep.retention import retain as delete_old_trades
    from quantstream.lake.upkeep.retention import retained_lines

    settings = stack_settings(state)
    keep_days = settings.trades_days if days is None else days
    done = delete_old_trades(Lake(settings.lake_url), keep_days, time.time_ns() // 1000)
    for line in retained_lines(done, keep_days):
        typer.echo(line)
    if done.refused:
        raise typer.Exit(1)


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="select … from candles, trades, scores, … in DuckDB")],
    output: OutputOption = None,
    kind: FormatOption = None,
    version: Annotated[
        list[str] | None, typer.Option("--version", metavar="TABLE=N", help="A table as it was [default: as it is]")
    ] = None,
    as_of: AsOfOption = None,
    force: ForceOption = False,
    state: StateOption = None,
) -> None:
    """Ask the lake in SQL: `candles` are the newest revisions, `candles_all` every row; nothing can be written."""
    from quantstream.lake.queries.output import check_place, format_of, write
    from quantstream.lake.queries.sql import answer

    kind = format_of(output, kind)
    if output is not None:
        check_place(output, force)
    with answer(_lake(state), query, dict(map(_table_version, version or ())), _moment(as_of)) as rows:
        count = write(rows, output, kind)
    if output is not None:
        typer.echo(f"{count:,} rows written to {output}")


def export(
    table: Annotated[str, typer.Argument(metavar="candles|trades|scores", help="Which table")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write: .parquet, .csv or .json")
    ],
    symbols: Annotated[str, typer.Option("--symbols", metavar="A,B", help="Whose")],
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help=MOMENT)] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help=MOMENT)] = None,
    interval: Annotated[str, typer.Option("--interval", help="Of candles and scores")] = "5m",
    kind: FormatOption = None,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="The table as it was [default: as it is]")
    ] = None,
    as_of: AsOfOption = None,
    with_quarantined: Annotated[
        bool, typer.Option("--with-quarantined", help="Days in quarantine, too [default: without]")
    ] = False,
    force: ForceOption = False,
    state: StateOption = None,
) -> None:
    """Write a range of a table as one file, in order and exact: candles are their newest revisions."""
    from quantstream.lake.queries.export import Export
    from quantstream.lake.queries.export import export as exported
    from quantstream.lake.reads import Asked

    names = [name.strip() for name in symbols.split(",") if name.strip()]
    asked = Asked(names, _moment(start), _moment(end), None if table == "trades" else interval, _moment(as_of))
    count = exported(_lake(state), Export(table, asked, output, kind, version, with_quarantined, force))
    typer.echo(f"{count:,} rows written to {output}")


def _lake(state: Path | None) -> Lake:
    from quantstream.lake.store import Lake

    return Lake(stack_settings(state).lake_url, may_create=False)


def _moment(text: str | None) -> datetime | None:
    from quantstream.core.moments import parse_moment
    from quantstream.core.time import utc

    return None if text is None else utc(parse_moment(text, lambda: time.time_ns() // 1000))


def _table_version(text: str) -> tuple[str, int]:
    table, _, number = text.partition("=")
    if not number.isdecimal():
        raise Misconfigured(f"--version {text!r} names no table's version; write it like candles=12")
    return table, int(number)
