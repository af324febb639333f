"""Prove the last day's candles: against their trades and against the exchange's klines; the result is on the dashboard."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

log = logging.getLogger(__name__)
DAILY, HOURLY = "35 0 * * *", "35 * * * *"
IS_SIMULATED = os.environ.get("QUANTSTREAM_EXCHANGE", "simulated") == "simulated"  # its day lasts less than an hour
DOC = """
### The proof: every candle equals the exchange's
Runs `verify` over the last day: each candle of the lake against the same recomputed from the lake's trades and against the
exchange's kline, field by field; it also counts rows that are there twice and candles that were not scored just once. The
result is kept in the lake's table `proofs`, and the condition of each symbol and day, from the beginning of its first day on, in
`accounts`; the dashboard's health page shows both.

**Parameters.** `since`: how far to look back, `1d`, `2h` or a moment in ISO 8601. `symbols`: empty for all configured ones.

**When it is red.** The log names the candles and fields. An event `candles_differ` was raised. Run `candles_repair`, which takes
the exchange's klines, or `quantstream replay --from-time T --publish`, which recomputes from the trades topic; then run this
again. When it only says that the exchange did not answer, run it again later.
"""


@dag(
    dag_id="candles_verify",
    doc_md=DOC,
    schedule=CronTriggerTimetable(HOURLY if IS_SIMULATED else DAILY, timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["data", "candles", "quality"],
    params={
        "since": Param("1d", type="string", description="1d, 2h, or a moment in ISO 8601"),
        "symbols": Param([], type="array", items={"type": "string"}, description="empty: all configured symbols"),
    },
    default_args={
        "owner": "market-data",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(hours=2),
    },
)
def candles_verify() -> None:
    """Wire the one task."""

    @task
    def verify() -> str:
        """Prove and keep the result; what differs now differs at the next try."""
        from airflow.sdk.exceptions import AirflowFailException

        from quantstream.core.errors import DataRejected
        from streaming.reconcile.pipeline_runs import run_verify

        context = get_current_context()
        params = context["params"]
        try:
            return run_verify(params["since"], params["symbols"], getattr(context["ti"], "log_url", ""))
        except DataRejected as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None

    verify()


candles_verify()
