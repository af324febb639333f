"""`quantstream calendar`: which releases are scheduled, by whose word, and until when that is known; renewed from a file."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantstream.settings import Settings

if TYPE_CHECKING:
    from quantstream.features.releases import Calendar
    from quantstream.lake.store import Lake

LoadSettings = Callable[[Path | None], Settings]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines")]


def commands(load: LoadSettings) -> typer.Typer:
    """Return the group of commands; `load` returns the settings of the state folder that is named."""
    app = typer.Typer(help="The calendar of scheduled releases that features read, and until when it is known.")

    @app.callback(invoke_without_command=True)
    def show(
        context: typer.Context,
        as_json: JsonOption = False,
        everything: Annotated[bool, typer.Option("--all", help="Those of the past, too")] = False,
        state: StateOption = None,
    ) -> None:
        """Say which releases are scheduled, who says so, and until when they are known."""
        if context.invoked_subcommand is None:
            _show(_lake(load(state), False), as_json, everything)

    @app.command()
    def renew(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON or iCalendar (.ics)")],
        source: Annotated[str, typer.Option("--source", help="Who announced it, where: for rows that do not say")] = "",
        announced_on: Annotated[
            str, typer.Option("--announced-on", metavar="DAY", help="When, for rows that do not say [default: today]")
        ] = "",
        until: Annotated[
            str,
            typer.Option("--until", metavar="DAY", help="The file knows all releases until then [default: its last]"),
        ] = "",
        drop: Annotated[bool, typer.Option("--drop", help="Take out what is scheduled and not in the file")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change")] = False,
        state: StateOption = None,
    ) -> None:
        """Check a file of releases and store it in the lake, where scorers and trainings take it up within a minute."""
        from ml.calendar import files, stored
        from ml.calendar.horizon import until as known

        today = f"{datetime.now(UTC):%Y-%m-%d}"
        given = files.read(file, files.Defaults(announced_on or today, source, until))
        found = stored.renew(_lake(load(state), not dry_run), given, _user(), time.time_ns() // 1000, drop, dry_run)
        ignored = [f"{given.ignored} events of other kinds ignored"] if given.ignored else []
        for sentence in [*found.sentences(), *ignored]:
            typer.echo(sentence)
        typer.echo(f"{'would be known' if dry_run else 'known now'}: {known(found.calendar)}")

    return app


def as_fields(calendar: Calendar, now: int, since: int) -> dict[str, Any]:
    """Return a calendar from a time on (µs) as JSON values."""
    from ml.calendar.horizon import ends
    from quantstream.core.moments import moment_text

    return {
        "known_until": {kind: str(day) for kind, day in calendar.known_until.items()},
        "ends": ends(calendar, now),
        "releases": [
            {
                "kind": one.kind,
                "at": moment_text(one.at),
                "source": one.source,
                "announced_on": one.announced_on or None,
            }
            for one in calendar.releases
            if one.at >= since
        ],
    }


def _show(lake: Lake, as_json: bool, everything: bool) -> None:
    from ml.calendar import stored
    from ml.calendar.horizon import until

    calendar, now = stored.take_up(lake), time.time_ns() // 1000
    found = as_fields(calendar, now, 0 if everything else now)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for one in found["releases"]:
        told = f", announced on {one['announced_on']}" if one["announced_on"] else ""
        typer.echo(f"{one['at'][:16].replace('T', ' ')} UTC  {one['kind']:15}  {one['source']}{told}")
    typer.echo(f"known: {until(calendar)}")
    for sentence in found["ends"].values():
        typer.echo(f"NOTE: {sentence}")


def _lake(settings: Settings, may_create: bool) -> Lake:
    from quantstream.lake.store import Lake

    return Lake(settings.lake_url, may_create=may_create)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a pod's user may have a number and no name
        return "by hand"
