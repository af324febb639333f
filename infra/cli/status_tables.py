"""Status and findings as a person reads them."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Console
from rich.table import Table

from infra.cli.doctor import Finding
from infra.cli.status import ProcessStatus, Status


def print_status(status: Status, console: Console | None = None) -> None:
    """Print one look at a stack."""
    console = console or Console(highlight=False)
    if status.processes:
        console.print(_processes(status))
    if status.symbols:
        console.print(_symbols(status))
    if not status.processes:
        _print_notes(status, console)
        return
    none = "unknown" if any("MLflow" in note for note in status.notes) else "none yet"
    champions = ", ".join(f"{name.removeprefix('quantstream-')} v{version}" for name, version in status.models.items())
    console.print(f"Champions  {champions or none}")
    console.print(f"Lag        {'not known' if status.lag is None else f'{status.lag} records'}")
    for name, url in status.urls.items():
        if name == "exchange_ping":  # for the health page, not for people
            continue
        console.print(f"{name:14} {url}", soft_wrap=True)
    _print_notes(status, console)


def _print_notes(status: Status, console: Console) -> None:
    for note in status.notes:
        console.print(f"Note: {note}.", soft_wrap=True)


def _processes(status: Status) -> Table:
    table = Table("process", "state", "ready", "pid", "uptime", "restarts", box=None, pad_edge=False)
    for name, one in status.processes.items():
        table.add_row(
            name, _state(one), "yes" if one.ready else "no", str(one.pid or ""), _uptime(one), str(one.restarts)
        )
    return table


def _state(process: ProcessStatus) -> str:
    colour = {"running": "green", "starting": "yellow", "stopped": "dim"}.get(process.state, "red")
    return f"[{colour}]{process.state}[/{colour}]"


def _uptime(process: ProcessStatus) -> str:
    return str(timedelta(seconds=process.uptime)) if process.uptime else ""


def _symbols(status: Status) -> Table:
    table = Table("symbol", "last candle opened", "candles", "scores", box=None, pad_edge=False)
    for name, one in status.symbols.items():
        table.add_row(name, one.last_candle_opened_at or "none yet", str(one.candles), str(one.scores))
    return table


def print_findings(findings: list[Finding], console: Console | None = None) -> None:
    """Print the doctor's findings, a line each."""
    console = console or Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = "[green]ok[/green]   " if finding.is_ok else "[red]fix[/red]  "
        console.print(f"{mark}{finding.what}: {finding.text}")
