"""`quantstream verify`, `replay`, `repair` and `backfill`: the commands of `streaming`, for the stack that was started last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import typer

from quantstream.settings import Settings
from quantstream.settings_loader import load_settings
from streaming.backfill.cli import TEXT
from streaming.backfill.cli import main as backfill
from streaming.reconcile.cli import COMMANDS, main

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add the commands; their options are read where they are declared."""
    for name, text in COMMANDS.items():
        app.command(name, help=text, context_settings=PASSED_ON, add_help_option=False)(_command(name))
    app.command("backfill", help=TEXT, context_settings=PASSED_ON, add_help_option=False)(_backfill)


def _command(name: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        raise typer.Exit(main(name, context.args, "quantstream", stack_settings, "quantstream"))

    return run


def _backfill(context: typer.Context) -> None:
    raise typer.Exit(backfill(context.args, "quantstream", stack_settings, "quantstream"))


def stack_settings(state: Path | None) -> Settings:
    """Return the settings of the stack that was started last in a state folder, where the environment names no others.

    Raises: Misconfigured.
    """
    from infra.embedded.state import State

    stack = State.at(load_settings(state=state).state).read()
    for name, value in (stack.settings if stack else {}).items():
        os.environ.setdefault(
            name, value
        )  # an entry point: what follows reads the environment as a stage's process does
    return load_settings(state=state)
