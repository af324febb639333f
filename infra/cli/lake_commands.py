"""`quantstream lake …`: what is done to the lake as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.proof_commands import stack_settings

lake = typer.Typer(help="The lake: its tables and their columns.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(lake, name="lake")


@lake.callback()
def _group() -> None:
    """The lake: its tables and their columns."""


@lake.command()
def instruments(
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the exchange first and note what changed")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Believe a list that lacks many symbols of before")] = False,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Who was listed then, in ISO 8601 (UTC) [default: now]")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
    ] = None,
) -> None:
    """Say who was listed at a time, and who has gone since; with --refresh note what the exchange lists now."""
    from ml.data.instrument_look import look, said

    settings = stack_settings(state)
    if refresh:
        for change in look(settings, time.time_ns() // 1000, accept):
            typer.echo(change)
    typer.echo(said(settings, at))


@lake.command()
def migrate(
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
    ] = None,
) -> None:
    """Add the columns that tables of an older version lack. No row is touched; it may be killed and repeated."""
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
