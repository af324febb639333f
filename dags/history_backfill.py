"""Fetch the exchange's candles of the past into the lake: daily, where no model serves, and whenever somebody asks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

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

log = logging.getLogger(__name__)
DOC = """
### The exchange's candles of the past → lake
Brings 5m klines of every symbol from `QUANTSTREAM_HISTORY_DAYS` ago up to now: from the exchange's public archive, checked, and
over REST what is not archived yet. What the lake has is not fetched again; the last two days since the live path's first trade
are left to it. It is `quantstream backfill`; running it again writes nothing, so it may be run at any time; `models_watch`
asks for it where no model serves.

**Parameters.** `symbols`: leave empty for all configured ones. `tasks`: how many share them. `since`: a day like `2024-01-01`.
`kind`: `klines`, or `trades` or `aggTrades`, of which the candles are made here.

**When it is red.** The failed task's log ends with one sentence: an unknown symbol (correct `QUANTSTREAM_SYMBOLS`),
or an exchange that did not answer for minutes (run it again later). The other symbols went on regardless. A single
row that is no kline is left out, counted and named in the task's log; it does not bar its symbol.
"""


@dag(
    dag_id="history_backfill",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("5 0 * * *", timezone="UTC", run_immediately=timedelta(0)),
        assets=[Asset("models_wanted")],
    ),
    catchup=False,
    max_active_runs=1,
    tags=["data", "candles"],
    params={
        "symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols"),
        "tasks": Param(
            100, type="integer", minimum=1, maximum=1000, description="at most so many; more symbols share them"
        ),
        "since": Param("", type="string", description="a day like 2024-01-01"),
        "kind": Param("klines", type="string", enum=["klines", "aggTrades", "trades"], description="of data"),
    },
    default_args={
        "owner": "market-data",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=6),
    },
)
def history_backfill() -> None:
    """Wire the tasks: one per batch of symbols, then one event for all."""

    @task
    def symbols() -> list[list[str]]:
        """Return the symbols to fetch, in batches."""
        from ml.data.symbol_batches import batches
        from quantstream.settings_loader import load_settings

        params = get_current_context()["params"]
        return batches(params["symbols"] or load_settings().symbols, params["tasks"])

    @task(map_index_template="{{ batch_title }}")
    def fetch(batch: list[str]) -> list[str]:
        """Bring the history of a batch of symbols into the lake."""
        from airflow.sdk.exceptions import AirflowFailException

        from ml.data.symbol_batches import title
        from streaming.reconcile.pipeline_runs import run_backfill

        context = get_current_context()
        context["batch_title"], params = title(batch), context["params"]
        outcomes = run_backfill(batch, params["since"], params["kind"])
        if outcomes.refused:
            context["ti"].xcom_push("return_value", outcomes.done)  # what was fetched counts, though the task is red
            for reason in outcomes.refused.values():
                log.error("%s", reason)
            raise AirflowFailException("; ".join(outcomes.refused.values()))
        return outcomes.done

    @task(outlets=[Asset("candles_history")], trigger_rule=TriggerRule.ALL_DONE)
    def publish(fetched: Iterable[list[str]]) -> int:
        """Say that the history is there, for whichever symbols it could be fetched."""
        from airflow.sdk.exceptions import AirflowSkipException

        sentences = [sentence for batch in fetched for sentence in batch]
        if not sentences:
            raise AirflowSkipException("no symbol's history could be fetched")
        return len(sentences)

    @task(trigger_rule=TriggerRule.ONE_FAILED, retries=0)
    def report_failures() -> None:
        """Turn the run red when a symbol failed."""
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException("the history of at least one symbol could not be fetched; its task's log says why")

    fetched = fetch.expand(batch=symbols())
    publish(fetched)
    fetched >> report_failures()


history_backfill()
