"""Merge the lake's many small files into few large ones, every ten minutes."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

TABLES = [
    *("trades", "candles", "scores", "shadow_scores", "anomalies", "proofs", "accounts", "instruments", "quarantine"),
    *("outcomes", "decisions", "live_figures", "drift_blocks", "looks", "releases", "value_at_risk"),
]

log = logging.getLogger(__name__)
DOC = """
### Small files → large files
The sink commits every few seconds, one small file per table and symbol; readers slow down with their number. This
merges them as far as that pays (a partition that grows is not written anew each time) and deletes what no reader has needed
for a week, the log's old entries included. Rows, versions and the sink's recorded offsets stay as they are; writers go on
meanwhile.

`retain` then deletes trades of days older than `QUANTSTREAM_TRADES_DAYS` (by default none: they are kept for ever), of each
symbol the oldest first, once their candles are complete and verified. A day that is not stays, with those after it, and the
task's log says why.

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
    """Wire the tasks: one per table, one at a time; then old trades."""

    @task(map_index_template="{{ table }}", max_active_tis_per_dagrun=1)
    def compact(table: str) -> dict[str, int]:
        """Compact one table."""
        from quantstream.lake.store import Lake
        from quantstream.lake.upkeep.compaction import compact as merged
        from quantstream.settings_loader import load_settings

        get_current_context()["table"] = table
        settings = load_settings()
        done = merged(Lake(settings.lake_url), table, dask=settings.dask)
        log.info(
            f"{table}: {done['files_removed']} files merged into {done['files_added']}, {done['files_deleted']} deleted"
        )
        return done

    @task(trigger_rule="all_done")
    def retain() -> dict[str, int]:
        """Delete old trades whose candles are proved."""
        import time

        from quantstream.lake.store import Lake
        from quantstream.lake.upkeep.retention import retain as delete_old_trades
        from quantstream.lake.upkeep.retention import retained_lines
        from quantstream.settings_loader import load_settings

        settings = load_settings()
        done = delete_old_trades(Lake(settings.lake_url), settings.trades_days, time.time_ns() // 1000)
        for line in retained_lines(done, settings.trades_days):
            log.info(line)
        return {"days": len(done.days), "rows": done.rows, "refused": len(done.refused)}

    compact.expand(table=TABLES) >> retain()


lake_compact()
