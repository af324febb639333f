"""`quantstream models …`: which version serves and why, what was decided, and a person's word on it, always with a reason."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantstream.core.errors import Misconfigured, ModelRejected, Unavailable, Unfetched
from quantstream.messages.models import MODEL_KINDS, MODEL_NAMES, registered_name
from quantstream.settings import Settings

if TYPE_CHECKING:
    from ml.promotion.decisions import Decision
    from ml.promotion.moves import Moves

LoadSettings = Callable[[Path | None], Settings]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(MODEL_KINDS)}, or the registered name")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for whoever asks later")]
ByOption = Annotated[str, typer.Option("--by", help="Who decides [default: the user of this machine]")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines")]


def commands(load: LoadSettings) -> typer.Typer:
    """Return the group of commands; `load` returns the settings of the state folder that is named."""
    app = typer.Typer(help="Models: who serves, since when and why; promote one, or go back to the one before.")

    @app.callback(invoke_without_command=True)
    def show(
        context: typer.Context,
        as_json: JsonOption = False,
        last: Annotated[int, typer.Option("--last", min=0, help="How many of the last decisions to show")] = 3,
        state: StateOption = None,
    ) -> None:
        """Say of each model which version is champion, challenger, previous and reference: since when, why, by whose word."""
        if context.invoked_subcommand is None:
            _show(load(state), as_json, last)

    @app.command()
    def history(
        name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one model [default: all]")] = None,
        as_json: JsonOption = False,
        state: StateOption = None,
    ) -> None:
        """Say everything that was ever decided, the oldest first, and from when to when each version served."""
        _history(load(state), known(name) if name else None, as_json)

    @app.command()
    def promote(
        name: NameArgument,
        version: Annotated[str, typer.Argument(metavar="VERSION", help="Its number in the registry")],
        why: WhyOption,
        by: ByOption = "",
        state: StateOption = None,
    ) -> None:
        """Make a version the champion, if it can serve; the one before stays at hand."""
        typer.echo(promoted(_moves(load(state), by), known(name), version, why))

    @app.command()
    def rollback(name: NameArgument, why: WhyOption, by: ByOption = "", state: StateOption = None) -> None:
        """Let the version that served before serve again."""
        typer.echo(rolled_back(_moves(load(state), by), known(name), why))

    return app


def known(name: str) -> str:
    """Return the registered name of a model that a person calls by its kind or its name.

    Raises: Misconfigured.
    """
    full = name if name in MODEL_NAMES else registered_name(name)
    if full not in MODEL_NAMES:
        raise Misconfigured(f"there is no model {name!r}; choose one of {', '.join(MODEL_KINDS)}")
    return full


def promoted(moves: Moves, name: str, version: str, why: str) -> Decision:
    """Make a version the champion by hand, and return the decision.

    Raises: Misconfigured when it cannot serve, serves already or no reason is given; Unavailable.
    """
    _expect_reason(why)
    if not (version.isascii() and version.isdecimal()):
        raise Misconfigured(
            f"{version!r} is no version; versions are numbers, as `quantstream models history` has them"
        )
    if version == moves.registry.alias_version(name, "champion"):
        raise Misconfigured(f"{name} {version} is the champion already")
    _expect_serving(moves, name, version)
    return _done(moves, name, version, lambda: moves.promote(name, version, why))


def rolled_back(moves: Moves, name: str, why: str) -> Decision:
    """Let the version before serve again, and return the decision.

    Raises: Misconfigured when there is none, it cannot serve or no reason is given; Unavailable.
    """
    _expect_reason(why)
    version = moves.registry.alias_version(name, "previous")
    if version is None or version == moves.registry.alias_version(name, "champion"):
        raise Misconfigured(
            f"{name} has no previous version to go back to; name one: quantstream models promote NAME VERSION --why …"
        )
    with suppress(Unfetched):  # the stages may hold it in memory still, which is what a way back is kept for
        _expect_serving(moves, name, version)
    return _done(moves, name, version, lambda: moves.roll_back(name, why))


def _done(moves: Moves, name: str, version: str, move: Callable[[], Decision]) -> Decision:
    """Settle the record and move. A lake that is away stops neither: what it lacks is written by the next one.

    Raises: Unavailable, which says whether the alias has moved.
    """
    try:
        moves.settle()
    except Unavailable:
        if (
            moves.registry.alias_version(name, "champion") is None
        ):  # raises by itself where it is the registry that is away
            raise
    try:
        return move()
    except Unavailable as error:
        if moves.registry.alias_version(name, "champion") != version:
            raise
        raise Unavailable(
            f"{name} {version} serves now, but the lake has not taken the record yet (models_promote writes it): {error}"
        ) from error


def _expect_reason(why: str) -> None:
    if not why.strip():
        raise Misconfigured("give a reason with --why: whoever looks at the record later will want one")


def _expect_serving(moves: Moves, name: str, version: str) -> None:
    """Raise Misconfigured when the stages would refuse a version; Unavailable, Unfetched."""
    try:
        moves.registry.load(name, version).warm()
    except ModelRejected as error:
        raise Misconfigured(f"{name} {version} cannot serve, so nothing was changed: {error}") from error


def _moves(settings: Settings, by: str) -> Moves:
    from ml.promotion.announcements import moves_of

    return moves_of(settings, by.strip() or _user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a pod's user may have a number and no name
        return "by hand"


def _show(settings: Settings, as_json: bool, last: int) -> None:
    from ml.promotion import standing
    from ml.promotion.decisions import decisions_of
    from ml.serving.registry import Registry
    from quantstream.lake.store import Lake

    decided: list[Decision] = []
    trouble: Unavailable | None = None
    try:
        decided = decisions_of(Lake(settings.lake_url, may_create=False))
    except Unavailable as error:
        trouble = error
    found = standing.standings(Registry(settings.mlflow_url), decided, last, time.time())
    typer.echo(standing.as_json(found) if as_json else standing.as_text(found))
    if trouble is not None:
        raise trouble


def _history(settings: Settings, name: str | None, as_json: bool) -> None:
    from ml.promotion import standing
    from ml.promotion.decisions import decisions_of
    from ml.promotion.service_times import terms
    from quantstream.lake.store import Lake

    found = decisions_of(Lake(settings.lake_url, may_create=False), name)
    ended = terms(found)
    if as_json:
        typer.echo(json.dumps([standing.decision_fields(one, ended.get(one.key)) for one in found], indent=1))
        return
    lines = [standing.decision_line(one, ended.get(one.key)) for one in found]
    typer.echo("\n".join(lines) or "nothing was decided yet")
