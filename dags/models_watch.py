"""Have models trained where none serves that this version can use: a new cluster begins by itself, an updated one anew."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, dag, get_current_context, task

CHAIN = ["history_backfill", "candles_validate", "models_train"]  # each begins when the one before has ended
log = logging.getLogger(__name__)
DOC = """
### No model that serves → history, checks, training
Looks at the registry when Airflow first reads this, and once an hour. Where no model serves yet, or all were fitted on
other features than this version computes, it asks for `history_backfill`, which checks and training follow. Else it is
*skipped*, and so it is while one of them runs. A first try that failed, or found too little history, is made again within
the hour.

**When it is red.** MLflow did not answer for a quarter of an hour, or a pipeline of the chain is paused or could not be read:
the log's last sentence says which. Until it is mended nothing is scored.
"""


@dag(
    dag_id="models_watch",
    doc_md=DOC,
    schedule=CronTriggerTimetable("40 * * * *", timezone="UTC", run_immediately=True),
    catchup=False,
    max_active_runs=1,
    tags=["models"],
    default_args={
        "owner": "models",
        "retries": 5,  # of a new cluster everything starts at once
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=5),
    },
)
def models_watch() -> None:
    """Wire the one task."""

    @task(outlets=[Asset("models_wanted")])
    def look() -> str:
        """Return why models are wanted; skipped where they are not, or are on their way."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ml.serving.registry import Registry
        from ml.training.vacancy import vacancy
        from quantstream.settings_loader import load_settings

        reason = vacancy(Registry(load_settings().mlflow_url))
        if not reason:
            raise AirflowSkipException("models serve that this version can use")
        instance = get_current_context()["ti"]
        if paused := [name for name in CHAIN if instance.get_dag(name).is_paused]:
            raise AirflowFailException(f"{reason}, and {', '.join(paused)} is paused, so none is trained: unpause it")
        if under_way := [name for name in CHAIN if instance.get_dr_count(name, states=["queued", "running"])]:
            raise AirflowSkipException(f"{reason}, but {', '.join(under_way)} is under way")
        log.info("%s", reason)
        return reason

    look()


models_watch()
