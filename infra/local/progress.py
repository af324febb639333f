"""Progress a person can see: bars on a terminal, a plain line now and then in a log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.local import jars


def bars(console: Console | None = None) -> Progress:
    """Return the project's progress display: what, a bar, how many of how many, for how long."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def fetch_jars(cache: Path, console: Console | None = None) -> Path:
    """Fetch the broker's jars with a bar, unless they are there.

    Raises: Misconfigured.
    """
    if jars.are_complete(cache):
        return jars.jar_folder(cache)
    with bars(console) as display:
        task = display.add_task(f"Kafka {jars.KAFKA_VERSION} jars", total=None)
        return jars.ensure_jars(cache, lambda done, total: display.update(task, completed=done, total=total))
