"""`quantstream verify`, `replay` and `repair`: prove the candles, make them anew from the trades topic, mend them from klines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantstream.core.errors import QuantStreamError
from quantstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from streaming.reconcile.proof_report import Proof

StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="State folder [default: .quantstream]")
]
SymbolsOption = Annotated[str | None, typer.Option(metavar="A,B", help="Only these [default: all configured]")]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago by the exchange's clock")
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="T", help="Up to here, not included")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(verify)
    app.command()(replay)
    app.command()(repair)


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


def verify(
    symbols: SymbolsOption = None,
    start: FromOption = None,
    end: ToOption = None,
    as_json: JsonOption = False,
    state: StateOption = None,
) -> None:
    """Prove the lake's candles: against its trades and against the exchange's klines; exit 0 only if nothing differs."""
    from streaming.reconcile.cli import prove

    with unreachable_is_two():
        proof = prove(stack_settings(state), symbols, start, end)
    if as_json:
        typer.echo(proof.as_json())
    else:
        _print_proof(proof)
    raise typer.Exit(proof.exit_code)


def replay(
    from_offset: Annotated[
        list[str] | None, typer.Option(metavar="P:N", help="Partition and offset to begin at; repeatable")
    ] = None,
    from_time: Annotated[
        str | None, typer.Option(metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago by the exchange's clock")
    ] = None,
    end: ToOption = None,
    symbols: SymbolsOption = None,
    publish: Annotated[bool, typer.Option("--publish", help="Write differing candles as new revisions")] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
) -> None:
    """Recompute candles from the trades topic and compare them with the live ones; exit 0 only if nothing differs."""
    from streaming.reconcile.replay_command import replay_lines, run_replay

    with unreachable_is_two():
        replayed = run_replay(stack_settings(state), from_offset or (), from_time, end, symbols, publish)
    if as_json:
        typer.echo(replayed.as_json())
    else:
        for line in replay_lines(replayed, publish):
            typer.echo(line)
    raise typer.Exit(replayed.exit_code)


def repair(
    start: Annotated[
        str, typer.Option("--from", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago by the exchange's clock")
    ] = "1d",
    symbols: SymbolsOption = None,
    state: StateOption = None,
) -> None:
    """Mend incomplete and differing candles from the exchange's klines, as new revisions."""
    from streaming.reconcile.repair_command import repair_lines, run_repair

    with unreachable_is_two():
        mended, troubles = run_repair(stack_settings(state), start, symbols)
    for line in repair_lines(mended, troubles):
        typer.echo(line)
    raise typer.Exit(2 if troubles else 0)


@contextmanager
def unreachable_is_two() -> Iterator[None]:
    """Say in one sentence what could not be reached, and end with 2: 1 is for candles that differ."""
    try:
        yield
    except QuantStreamError as error:
        typer.echo(f"quantstream: {error}", err=True)
        raise typer.Exit(2) from None


def _print_proof(proof: Proof) -> None:
    from rich.console import Console
    from rich.table import Table

    from streaming.reconcile.proof_report import conclusion, findings, span

    console = Console(highlight=False)
    table = Table("symbol", "", "windows", box=None, pad_edge=False)
    for count in COUNTED:
        table.add_column(count, justify="right", no_wrap=True)
    for one in proof.symbols:
        counts = [_cell(name, getattr(one, name)) for name in COUNTED]
        table.add_row(one.symbol, one.interval, f"{one.windows:,}", *counts)
    console.print(table)
    console.print(span(proof), soft_wrap=True)
    for line in findings(proof):
        console.print(line, soft_wrap=True, markup=False)
    console.print(conclusion(proof), soft_wrap=True, markup=False)


COUNTED = ("equal", "different", "missing", "duplicate", "incomplete")


def _cell(name: str, count: int) -> str:
    colour = {"equal": "green", "incomplete": "yellow"}.get(name, "red")
    return f"[{colour}]{count:,}[/{colour}]" if count else f"{count:,}"
