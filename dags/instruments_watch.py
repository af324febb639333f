"""Note what changes in the exchange's list of symbols: listings, delistings, status, tick and lot, each with its time."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

log = logging.getLogger(__name__)
DOC = """
### The exchange's list of symbols → lake
Asks `exchangeInfo` once an hour and writes what changed since into the lake's table `instruments`: so training and evaluation
know who was listed *then*, and results say what survivorship may have cost. When nothing changed, nothing is written.

**When it is red.** The exchange did not answer (run it again later), or its list lacks so many symbols of before that it was not
believed: look at the exchange, and run `quantstream lake instruments --refresh --accept` if it is so. Nothing was written.
"""


@dag(
    dag_id="instruments_watch",
    doc_md=DOC,
    schedule=CronTriggerTimetable("20 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["data", "instruments"],
    default_args={
        "owner": "market-data",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=10),
    },
)
def instruments_watch() -> None:
    """Wire the one task."""

    @task
    def note() -> list[str]:
        """Ask, and note what changed."""
        import time

        from airflow.sdk.exceptions import AirflowFailException

        from ml.data.instrument_look import look
        from quantstream.core.errors import DataRejected, Misconfigured
        from quantstream.settings_loader import load_settings

        try:
            changes = look(load_settings(), time.time_ns() // 1000)
        except (DataRejected, Misconfigured) as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        for change in changes:
            log.info("%s", change)
        return changes[:100]

    note()


instruments_watch()
