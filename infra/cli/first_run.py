"""The first hour of a new stack in a few minutes: history and training started through Airflow and followed with bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, TaskID

from infra.embedded.airflow.api import AirflowApi, Run, Task
from infra.embedded.progress import bars
from quantstream.core.errors import QuantStreamError, Unavailable

HISTORY, VALIDATE, TRAIN = "history_backfill", "candles_validate", "models_train"
STEPS = {
    HISTORY: "History from the exchange",
    VALIDATE: "Validation of the candles",
    TRAIN: "Training and judging models",
}
DAGS_READ_WITHIN = 120.0  # seconds until the DAG processor has read the files
ANSWERS_WITHIN = 120.0  # seconds that a busy Airflow may leave a question without an answer
NEXT_RUN_WITHIN = 300.0  # seconds from the end of one DAG to the start of the one that its asset triggers
PATIENCE = 1200.0  # seconds for all of it; slower machines go on without a bar
POLL = 1.0
FOLLOWING = "asset_triggered"
PUBLISH, REPORT = "publish", "report_failures"  # tasks: say that there is something to follow; turn the run red
CAUSES = ("Rejected", "Unavailable", "AirflowFailException: ")
Answer = TypeVar("Answer")
TOO_SHORT = (
    "There is too little history to train on; the market is shown and kept all the same, "
    "and models are trained once there is enough."
)


@dataclass(frozen=True)
class Outcome:
    """How the first run ended, as one sentence for the person; empty when all went well."""

    trained: bool
    note: str = ""


def first_run(
    api: AirflowApi,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
    lacking: Callable[[], str] = lambda: "",
) -> Outcome:
    """Trigger the backfill, or take the one under way; follow it, validation, training. Never raises for what may come later.

    `lacking` says what the history is too short for, once it is in the lake.
    """
    deadline = time.monotonic() + PATIENCE
    try:
        run_id = _trigger(api, sleep)
        run: Run | None = None
        notes: list[str] = []
        with bars(console) as display:
            for dag_id, text in STEPS.items():
                task = display.add_task(text, total=None)
                run = _next_run(api, dag_id, run_id, run, sleep)
                if run is None:
                    return Outcome(False, f"{text}: not started yet; follow it in Airflow")
                note = _follow(api, run, display, task, deadline, sleep)
                if note:
                    notes.append(f"{text}: {note}")
                    if dag_id == TRAIN or not _goes_on(_answer(partial(api.tasks, run.dag_id, run.run_id), sleep)):
                        return Outcome(False, "\n".join(notes))
                run = _answer(partial(api.run, run.dag_id, run.run_id), sleep)
                if dag_id == VALIDATE and _all_skipped(_answer(partial(api.tasks, run.dag_id, run.run_id), sleep)):
                    cause = lacking()
                    return Outcome(False, f"{TOO_SHORT} As it is, {cause}." if cause else TOO_SHORT)
    except QuantStreamError as error:
        return Outcome(False, f"{error}; history and training go on by themselves, follow them in Airflow")
    return Outcome(True, "\n".join(notes))


def begin(api: AirflowApi, sleep: Callable[[float], None] = time.sleep) -> Outcome:
    """Trigger the backfill, which validation and training follow by themselves; never raises, as `first_run`."""
    try:
        _trigger(api, sleep)
    except QuantStreamError as error:
        return Outcome(False, f"{error}; history and training begin by themselves, follow them in Airflow")
    return Outcome(False)


def _answer(ask: Callable[[], Answer], sleep: Callable[[float], None]) -> Answer:
    """Return what Airflow answers, asked anew while it is too busy for one. Raises: what it raised last, Unavailable."""
    deadline = time.monotonic() + ANSWERS_WITHIN
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            sleep(POLL)


def _goes_on(tasks: Sequence[Task]) -> bool:
    """Whether what succeeded was published, so that the next DAG follows though this run is red."""
    return any(task.task_id == PUBLISH and task.state == "success" for task in tasks)


def _all_skipped(tasks: Sequence[Task]) -> bool:
    mapped = [task for task in tasks if task.map_index >= 0]
    return bool(mapped) and all(task.state == "skipped" for task in mapped)


def _trigger(api: AirflowApi, sleep: Callable[[float], None]) -> str:
    """Start the backfill as soon as Airflow has read it; return its run, or the one that `models_watch` asked for before."""
    deadline = time.monotonic() + DAGS_READ_WITHIN
    while not set(STEPS) <= set(_answer(api.dag_ids, sleep)):
        if time.monotonic() > deadline:
            errors = api.import_errors()
            reason = f"cannot read {', '.join(errors)}" if errors else "has not read the DAGs"
            raise Unavailable(f"Airflow {reason}")
        sleep(POLL)
    return _answer(lambda: _under_way(api) or api.trigger(HISTORY), sleep)


def _under_way(api: AirflowApi) -> str:
    """Return the backfill that is under way, or was followed by what is; nothing where all is at rest."""
    runs = {dag_id: api.runs(dag_id) for dag_id in STEPS}
    is_busy = any(not run.is_finished for of_one in runs.values() for run in of_one)
    return runs[HISTORY][0].run_id if is_busy and runs[HISTORY] else ""


def _next_run(
    api: AirflowApi, dag_id: str, first: str, before: Run | None, sleep: Callable[[float], None]
) -> Run | None:
    """Return the run `first`, or the one that followed from the run `before`: not one that its own hour began."""
    deadline = time.monotonic() + NEXT_RUN_WITHIN
    while time.monotonic() < deadline:
        for run in reversed(_answer(partial(api.runs, dag_id), sleep)):
            follows = before is not None and run.kind == FOLLOWING and run.queued_at >= before.started_at
            if follows if before else run.run_id == first:
                return run
        sleep(POLL)
    return None


def _follow(
    api: AirflowApi, run: Run, display: Progress, bar: TaskID, deadline: float, sleep: Callable[[float], None]
) -> str:
    """Move the bar until the run has ended; return what went wrong, or nothing."""
    while True:
        tasks = _answer(partial(api.tasks, run.dag_id, run.run_id), sleep)
        done, total = counts(tasks)
        display.update(bar, completed=done, total=total or None)
        now = _answer(partial(api.run, run.dag_id, run.run_id), sleep)
        if now.is_finished:
            if now.state == "success":
                display.update(bar, completed=total or 1, total=total or 1)
                return ""
            return _reason(api, run, tasks)
        if time.monotonic() > deadline:
            return "still running; follow it in Airflow"
        sleep(POLL)


def counts(tasks: Sequence[Task]) -> tuple[int, int]:
    """Return how many tasks have ended and how many there are; of mapped ones when there are any, as they are the work."""
    mapped = [task for task in tasks if task.map_index >= 0]
    work = mapped or list(tasks)
    return sum(task.is_finished for task in work), len(work)


def _reason(api: AirflowApi, run: Run, tasks: Sequence[Task]) -> str:
    failed = [task for task in tasks if task.state == "failed" and task.task_id != REPORT]
    if not failed:
        return "did not succeed; see Airflow"
    names = ", ".join(task.label or task.task_id for task in failed)
    lines = [line.strip() for line in api.log(run.dag_id, run.run_id, failed[0]) if line.strip()]
    cause = next((line for line in reversed(lines) if any(cause in line for cause in CAUSES)), "see its log in Airflow")
    return f"{names} did not succeed: {cause.partition(CAUSES[-1])[2] or cause}"[:400]
