"""Correct candles that lack trades from the exchange's klines, every quarter of an hour."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

DOC = """
### Incomplete candles → the exchange's own
Ingest fetches missing trades itself. What is still incomplete, missing or other than the exchange's kline five minutes after
its window closed is written anew from the kline: a newer `revision` with `source = klines` in the candles topic, from
where it reaches the lake, the scores' history and the dashboard. Running it again finds nothing to do.

**Parameters.** `since`: how far to look back, `1d`, `2h` or a moment in ISO 8601. `symbols`: empty for all configured ones.

**When it is red.** The log's last sentence says what did not answer (the exchange or the broker) or which symbol the
exchange does not know; the next run does what this one left.
"""


@dag(
    dag_id="candles_repair",
    doc_md=DOC,
    schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["data", "candles", "quality"],
    params={
        "since": Param("1d", type="string", description="1d, 2h, or a moment in ISO 8601"),
        "symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols"),
    },
    default_args={
        "owner": "market-data",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=30),
    },
)
def candles_repair() -> None:
    """Wire the one task: one corrector at a time writes to the candles topic."""

    @task
    def repair() -> str:
        """Correct what is to be corrected."""
        from streaming.reconcile.pipeline_runs import run_repair

        params = get_current_context()["params"]
        return run_repair(params["since"], params["symbols"])

    repair()


candles_repair()
