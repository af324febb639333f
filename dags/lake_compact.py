"""Merge the lake's many small files into few large ones, every ten minutes."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

TABLES = ["trades", "candles", "scores", "anomalies", "proofs", "accounts", "instruments", "quarantine"]

log = logging.getLogger(__name__)
DOC = """
### Small files → large files
The sink commits every few seconds, one small file per table and symbol; readers slow down with their number. This
merges them and deletes what no reader has needed for a week. Rows, versions and the sink's recorded offsets stay as
they are; writers go on meanwhile.

**When it is red.** The store refused for good: look at its disk space or credentials, then run it again; nothing is
lost.
"""


@dag(
    dag_id="lake_compact",
    doc_md=DOC,
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["data", "maintenance"],
    default_args={
        "owner": "market-data",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=30),
    },
)
def lake_compact() -> None:
    """Wire the tasks: one per table, one at a time."""

    @task(map_index_template="{{ table }}", max_active_tis_per_dagrun=1)
    def compact(table: str) -> dict[str, int]:
        """Compact one table."""
        from quantstream.lake.store import Lake
        from quantstream.lake.upkeep.compaction import compact as merged
        from quantstream.settings_loader import load_settings

        get_current_context()["table"] = table
        done = merged(Lake(load_settings().lake_url), table)
        log.info(
            f"{table}: {done['files_removed']} files merged into {done['files_added']}, {done['files_deleted']} deleted"
        )
        return done

    compact.expand(table=TABLES)


lake_compact()
