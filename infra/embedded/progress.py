"""Progress a person can see: bars on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from infra.embedded.start_order import Startup


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


@contextmanager
def show_startup(console: Console) -> Iterator[Callable[[Startup], None]]:
    """Yield what a start reports to: a bar on a terminal, a line per process elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with bars(console) as display:
        task = display.add_task("Starting", total=None)

        def report(startup: Startup) -> None:
            waiting = ", ".join(startup.waiting)
            text = f"Starting: waiting for {waiting}" if waiting else "Starting"
            display.update(task, description=text[:70], completed=len(startup.ready), total=len(startup.processes))

        yield report


class _Lines:
    """A line for each process that became ready, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console, self._shown, self._started_at = console, set[str](), time.monotonic()

    def __call__(self, startup: Startup) -> None:
        for name in [process.name for process in startup.processes if process.name in startup.ready - self._shown]:
            self._shown.add(name)
            self._console.print(f"ready after {time.monotonic() - self._started_at:4.1f} s: {name}")
