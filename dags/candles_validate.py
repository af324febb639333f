"""Check what is in the lake against its expectations, every night and before a model learns from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    dag,
    get_current_context,
    task,
)

if TYPE_CHECKING:
    from ml.validation.report import Report

log = logging.getLogger(__name__)
TABLES = ["candles", "features", "trades", "scores"]
NIGHTLY = "35 0 * * *"  # when the day that ended is settled, whether or not new history came
DOC = """
### The gate: data meet their expectations, or no model sees them
Runs the suites `expectations/*.json` over each symbol's candles, the features made of them, and the last week's trades
and scores, every night and when new history has arrived. A day of a symbol that fails a critical expectation comes into
the lake's table `quarantine` and is left out of reads; the other days still teach. A day that meets it again is released.
Months of candles that were checked and did not change since, nor what lies around them, are not read again (`all`: they are).

More than a hundred symbols share tasks.

**Outcomes per symbol.** *Success*: training may use it. *Skipped*: too few candles yet, nothing wrong. *Failed*: days came into
quarantine just now; the log names the expectation, the day and the first row. The next run is green unless there are more.

**When it is red.** `quantstream quarantine list` or the data docs (`data_docs/index.html` in the state folder, with a
lake on object storage in its `_checks`; the log's last line names the page). If the data are wrong, correct them (`quantstream
repair`, `backfill`) and run this again; if they are right, release the day: `quantstream quarantine release SYMBOL DAY
--why …`; an outage of the exchange belongs into `expectations/outages.json`, a bound that is wrong into its suite. Models go
on training meanwhile.
"""


@dag(
    dag_id="candles_validate",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(NIGHTLY, timezone="UTC", run_immediately=timedelta(0)),
        assets=[Asset("candles_history")],
    ),
    catchup=False,
    max_active_runs=1,
    tags=["data", "candles", "quality"],
    params={
        "symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols"),
        "tables": Param(TABLES, type="array", items={"type": "string", "enum": TABLES}, description="what to check"),
        "all": Param(False, type="boolean", description="read everything again, also months that did not change since"),
        "tasks": Param(
            100, type="integer", minimum=1, maximum=1000, description="at most so many; more symbols share them"
        ),
    },
    default_args={
        "owner": "market-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(hours=2),
    },
)
def candles_validate() -> None:
    """Wire the tasks: one per batch of symbols, then one event for all that passed."""

    @task
    def symbols() -> list[list[str]]:
        """Return the symbols to check, in batches."""
        from ml.data.symbol_batches import batches
        from quantstream.settings_loader import load_settings

        params = get_current_context()["params"]
        return batches(params["symbols"] or load_settings().symbols, params["tasks"])

    @task(map_index_template="{{ batch_title }}")
    def check(batch: list[str]) -> list[str]:
        """Check a batch of symbols; what is held now is final, another try would find the same."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ml.data.symbol_batches import outcomes_of, title
        from ml.validation.pipeline import validate_each
        from quantstream.settings_loader import load_settings

        context = get_current_context()
        context["batch_title"], params = title(batch), context["params"]
        held: list[str] = []

        def said(reports: list[Report]) -> str | None:
            held.extend(str(report) for report in reports if report.newly_held)
            return next((str(report) for report in reports if report.table == "candles" and report.is_enough), None)

        checked = validate_each(load_settings(), batch, params["tables"], context["run_id"], anew=params["all"])
        outcomes = outcomes_of(checked, said)
        if held or outcomes.refused:
            context["ti"].xcom_push("return_value", outcomes.done)  # what is sound counts, though the task is red
            for reason in (*held, *outcomes.refused.values()):
                log.error("%s", reason)
            raise AirflowFailException("; ".join((*held, *outcomes.refused.values())))
        if not outcomes.done:
            raise AirflowSkipException("too few candles yet")
        return outcomes.done

    @task(outlets=[Asset("candles_validated")], trigger_rule=TriggerRule.ALL_DONE)
    def publish(passed: Iterable[list[str]]) -> int:
        """Say that there are candles to learn from."""
        from airflow.sdk.exceptions import AirflowSkipException

        sentences = [sentence for batch in passed for sentence in batch]
        if not sentences:
            raise AirflowSkipException("no symbol has candles to learn from yet")
        return len(sentences)

    @task(trigger_rule=TriggerRule.ONE_FAILED, retries=0)
    def report_failures() -> None:
        """Turn the run red when days came into quarantine."""
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException("days of at least one symbol are in quarantine; its task's log says which and why")

    passed = check.expand(batch=symbols())
    publish(passed)
    passed >> report_failures()


candles_validate()
