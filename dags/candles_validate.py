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

**Outcomes per symbol.** *Success*: training may use it. *Skipped*: too few candles yet, nothing wrong. *Failed*: a
critical expectation did not hold; the log's last sentence names it and the count; the symbol is quarantined until a
later run passes.

**When it is red.** Open the data docs of the failed symbol. If the data is wrong, mend or delete it in the lake and
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
    params={"symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols")},
    default_args={
        "owner": "market-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=15),
    },
)
def candles_validate() -> None:
    """Wire the tasks: one per symbol, then one event for all that passed."""

    @task
    def symbols() -> list[str]:
        """Return the symbols to check."""
        from quantstream.settings import load_settings

        return list(get_current_context()["params"]["symbols"] or load_settings().symbols)

    @task(map_index_template="{{ symbol }}")
    def check(symbol: str) -> str:
        """Check one symbol; a rejection is final, another try would find the same."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ml.data.quality import validate
        from quantstream.core.errors import DataRejected, Misconfigured
        from quantstream.settings import load_settings

        get_current_context()["symbol"] = symbol
        try:
            report = validate(symbol, load_settings())
        except (DataRejected, Misconfigured) as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        if report.outcome == "short":
            raise AirflowSkipException(str(report))
        return str(report)

    @task(outlets=[Asset("candles_validated")], trigger_rule=TriggerRule.ALL_DONE)
    def publish(passed: Iterable[str]) -> int:
        """Say that there are candles to learn from."""
        from airflow.sdk.exceptions import AirflowSkipException

        sentences = list(passed)
        if not sentences:
            raise AirflowSkipException("no symbol has candles to learn from yet")
        return len(sentences)

    @task(trigger_rule=TriggerRule.ONE_FAILED, retries=0)
    def report_failures() -> None:
        """Turn the run red when a symbol was rejected."""
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException("at least one symbol was rejected and is in quarantine; its task's log says why")

    passed = check.expand(symbol=symbols())
    publish(passed)
    passed >> report_failures()


candles_validate()
