"""`quantstream lake …`: what is done to the lake as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.proof_commands import stack_settings
from quantstream.settings import Settings

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
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Note since when, and until when, symbols lived, as the public archive tells"),
    ] = False,
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
