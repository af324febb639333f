"""The first run followed through Airflow: bars to their end, or one sentence about what stopped it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from infra.cli.first_run import FOLLOWING, HISTORY, STEPS, TOO_SHORT, TRAIN, VALIDATE, Outcome, begin, counts, first_run
from infra.embedded.airflow.api import Run, Task
from ml.data.data_needs import shortfall
from quantstream.core.errors import Unavailable

BEFORE, NOW = "2026-11-28T09:39:59.000000Z", "2026-11-28T09:40:00.000000Z"


@dataclass
class FakeAirflow:
    """Each DAG runs for two polls and then ends in its state; the next one is started by the end of the one before."""

    states: dict[str, str]
    reads_after: int = 2  # polls until the DAG files have been read
    is_under_way: bool = False  # Airflow began by itself
    refuses: int = 0  # so many questions after runs, being busy
    triggered: list[str] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    def dag_ids(self) -> list[str]:
        self.reads_after -= 1
        return [] if self.reads_after >= 0 else list(STEPS)

    def import_errors(self) -> dict[str, str]:
        return {"models_train.py": "SyntaxError"}

    def trigger(self, dag_id: str) -> str:
        self.triggered.append(dag_id)
        return f"{dag_id}-1"

    def runs(self, dag_id: str) -> list[Run]:
        self.refuses -= 1
        if self.refuses >= 0:
            raise Unavailable("Airflow refused POST /api/v2/dags: 500 database is locked")
        has_begun = HISTORY in self.triggered or self.is_under_way
        of_its_hour = [] if dag_id == HISTORY else [Run(dag_id, "of its hour", "success", "scheduled", NOW, NOW, NOW)]
        followed_before = Run(dag_id, "before", "failed", FOLLOWING, BEFORE, NOW, NOW)
        began = [self.run(dag_id, f"{dag_id}-1")] if dag_id in self.states and has_begun else []
        return of_its_hour + began + ([followed_before] if of_its_hour else [])

    def run(self, dag_id: str, run_id: str) -> Run:
        self.asked[dag_id] = self.asked.get(dag_id, 0) + 1
        state = (
            self.states[dag_id].replace("skipped", "success").replace("held", "failed")
            if self.asked[dag_id] > 2
            else "running"
        )
        return Run(dag_id, run_id, state, "manual" if dag_id == HISTORY else FOLLOWING, NOW, NOW, "")

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        ended = self.states[dag_id] if self.asked.get(dag_id, 0) > 1 else "running"
        return [
            Task("list_work", -1, "", "success", 1, 1.0),
            Task("work", 0, "BTCUSDT", "skipped" if ended == "skipped" else "success", 1, 1.0),
            Task("work", 1, "ETHUSDT", "failed" if ended == "held" else ended, 1, 1.0),
            *([Task("publish", -1, "", "success", 1, 1.0)] if ended == "held" else []),
            *([Task("report_failures", -1, "", "failed", 1, 1.0)] if ended in ("held", "failed") else []),
        ]

    def log(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        if self.states[dag_id] == "held":
            return ["Task failed: AirflowFailException: ETHUSDT trades: 2026-11-28 is in quarantine"]
        return ["starting", "DataRejected: 3 candles are too few, 2,000 are needed", "task failed"]


def follow(api: FakeAirflow) -> Outcome:
    return first_run(api, Console(file=io.StringIO()), sleep=lambda _: None)  # type: ignore[arg-type]


def test_backfill_is_triggered_once_when_airflow_has_read_the_dags_and_the_others_are_followed() -> None:
    api = FakeAirflow(dict.fromkeys(STEPS, "success"))
    assert follow(api) == Outcome(True)
    assert api.triggered == [HISTORY]
    assert list(api.asked) == [HISTORY, VALIDATE, TRAIN]


def test_a_backfill_that_airflow_began_by_itself_is_followed_and_none_triggered_beside_it() -> None:
    api = FakeAirflow(dict.fromkeys(STEPS, "success"), is_under_way=True)
    assert follow(api) == Outcome(True)
    assert api.triggered == []
    assert list(api.asked) == [HISTORY, VALIDATE, TRAIN]


def test_a_busy_airflow_is_asked_again_until_it_answers() -> None:
    api = FakeAirflow(dict.fromkeys(STEPS, "success"), refuses=3)
    assert follow(api) == Outcome(True)
    assert api.triggered == [HISTORY]


def test_training_without_enough_history_is_one_sentence_with_the_reason() -> None:
    outcome = follow(FakeAirflow({HISTORY: "success", VALIDATE: "success", TRAIN: "failed"}))
    reason = "ETHUSDT did not succeed: DataRejected: 3 candles are too few, 2,000 are needed"
    assert outcome == Outcome(False, f"Training and judging models: {reason}")


def test_a_day_in_quarantine_is_said_and_the_training_that_goes_on_is_followed() -> None:
    api = FakeAirflow({HISTORY: "success", VALIDATE: "held", TRAIN: "success"})
    reason = "Validation of the candles: ETHUSDT did not succeed: ETHUSDT trades: 2026-11-28 is in quarantine"
    assert follow(api) == Outcome(True, reason)
    assert list(api.asked) == [HISTORY, VALIDATE, TRAIN]


def test_history_too_short_to_train_on_is_said_at_once() -> None:
    assert follow(FakeAirflow({HISTORY: "success", VALIDATE: "skipped"})) == Outcome(False, TOO_SHORT)


def test_history_too_short_to_train_on_is_said_with_how_much_it_would_take() -> None:
    api = FakeAirflow({HISTORY: "success", VALIDATE: "skipped"})
    found = first_run(api, Console(file=io.StringIO()), lambda _: None, lambda: shortfall(40))  # type: ignore[arg-type]
    assert found.note.startswith(TOO_SHORT)
    assert "no model can learn from 40 candles of 5 minutes" in found.note


def test_who_does_not_wait_has_the_backfill_triggered_all_the_same() -> None:
    api = FakeAirflow({})
    assert begin(api, sleep=lambda _: None) == Outcome(False)  # type: ignore[arg-type]
    assert (api.triggered, api.asked) == ([HISTORY], {})


def test_airflow_out_of_reach_is_no_failure_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.cli.first_run.ANSWERS_WITHIN", 0.0)

    class Away(FakeAirflow):
        def dag_ids(self) -> list[str]:
            raise Unavailable("Airflow does not answer at http://127.0.0.1:8080")

    note = "Airflow does not answer at http://127.0.0.1:8080; history and training go on by themselves, follow them in Airflow"
    assert follow(Away({})) == Outcome(False, note)


def test_bar_counts_mapped_tasks_as_they_are_the_work() -> None:
    tasks = FakeAirflow({HISTORY: "success"}).tasks(HISTORY, "")
    assert counts(tasks) == (1, 2)
    assert counts(tasks[:1]) == (1, 1)
    assert counts([]) == (0, 0)
