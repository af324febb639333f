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
    """Bring tables of an older version up to date: columns, partitions. No row is lost; it may be killed and repeated."""
    from quantstream.lake.store import Lake
    from quantstream.lake.upkeep.evolution import migrate as add_what_is_new

    url = stack_settings(state).lake_url
    changes = add_what_is_new(Lake(url), time.time_ns() // 1000)
    for change in changes or [f"{url} has all that this version knows; nothing was changed"]:
        typer.echo(change)
