"""Check the lake's candles against their expectations before a model learns from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

from airflow.sdk import Asset, Param, TriggerRule, dag, get_current_context, task

log = logging.getLogger(__name__)
DOC = """
### The gate: candles meet their expectations, or no model sees them
Runs the Great Expectations suite `expectations/candles.json` over each symbol's candles when new history has arrived,
and writes the data docs (`data_docs/SYMBOL/index.html` in the state folder).

More than a hundred symbols share tasks.

**Outcomes per symbol.** *Success*: training may use it. *Skipped*: too few candles yet, nothing wrong. *Failed*: a
critical expectation did not hold; the log's last sentence names it and the count; the symbol is quarantined until a
later run passes.

**When it is red.** Open the data docs of the failed symbol. If the data is wrong, fix or delete it in the lake and
run this again; if the bound is wrong, change it in `expectations/candles.json`. Models go on training with the
symbols that passed.
"""


@dag(
    dag_id="candles_validate",
    doc_md=DOC,
    schedule=[Asset("candles_history")],
    catchup=False,
    max_active_runs=1,
    tags=["data", "candles", "quality"],
    params={
        "symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols"),
        "tasks": Param(
            100, type="integer", minimum=1, maximum=1000, description="at most so many; more symbols share them"
        ),
    },
    default_args={
        "owner": "market-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=15),
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
        """Check a batch of symbols; a rejection is final, another try would find the same."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ml.data.quality import validate
        from ml.data.symbol_batches import in_turn, title
        from quantstream.settings_loader import load_settings

        def one(symbol: str) -> str | None:
            report = validate(symbol, settings)
            log.info("%s", report)
            return None if report.outcome == "short" else str(report)

        context, settings = get_current_context(), load_settings()
        context["batch_title"] = title(batch)
        outcomes = in_turn(batch, one)
        if outcomes.refused:
            context["ti"].xcom_push("return_value", outcomes.done)  # what passed counts, though the task is red
            for reason in outcomes.refused.values():
                log.error("%s", reason)
            raise AirflowFailException("; ".join(outcomes.refused.values()))
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
        """Turn the run red when a symbol was rejected."""
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException("at least one symbol was rejected and is in quarantine; its task's log says why")

    passed = check.expand(batch=symbols())
    publish(passed)
    passed >> report_failures()


candles_validate()
