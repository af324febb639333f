"""Hold the models that serve against what came, and act where they are no longer right: a way back, or a new training."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, dag, get_current_context, task

CHAIN = ["history_backfill", "candles_validate", "models_train"]  # each begins when the one before has ended
log = logging.getLogger(__name__)
DOC = """
### Scores and what came → outcomes, live loss, drift → a way back or a training
Once an hour. The first task joins scores with candles into the lake's table `outcomes`, holds the newest day's loss of each
champion against what it promised when it was registered, and adds the newest quarters of days to the evidence of drift (table
`drift_blocks`; an alarm is false with 5 % at most over all of a version's service). A champion that is significantly worse gives
way to the version before, where that one would have been better on the same candles; else, and after a drift, a training is asked
for, once a day of candles at most. Every decision is in the lake's table `decisions`, and an event `model_worse` or `model_drift`
tells people. The second task asks for the training: history, checks and training follow. It is *skipped* where none is wanted or
one is under way. Beside them `value_at_risk` writes the hour's forecasts of volatility,
value at risk and expected shortfall into the table `value_at_risk`, and how those of the last 90 days held into `live_figures`.

**When it is red.** The first task: lake, registry or broker did not answer for a quarter of an hour; what it found before stands,
and the next run goes on from there. The second: a pipeline of the chain is paused, so nothing is trained: unpause it.
`value_at_risk`: the lake did not answer; the next run tells the hours that are missing.
"""


@dag(
    dag_id="models_monitor",
    doc_md=DOC,
    schedule=CronTriggerTimetable("20 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["models"],
    default_args={
        "owner": "models",
        "retries": 4,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=45),
    },
)
def models_monitor() -> None:
    """Wire the tasks; value at risk waits for none of them."""

    @task
    def watch() -> str:
        """Join, judge and act; return why a training is wanted, empty where none is."""
        from airflow.sdk.exceptions import AirflowFailException

        from ml.monitoring.watch import watch as look
        from ml.serving.registry import wait_for_the_busy
        from quantstream.core.errors import Misconfigured
        from quantstream.settings_loader import load_settings

        wait_for_the_busy()
        try:
            found = look(load_settings(), f"models_monitor {get_current_context()['run_id']}")
        except Misconfigured as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        if found.joined.failed:
            log.warning("%s", found.joined)
        return found.wanted

    @task(outlets=[Asset("models_wanted")])
    def ask(wanted: str) -> str:
        """Ask for a training, never for a second one beside one that is under way."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        if not wanted:
            raise AirflowSkipException("no training is wanted")
        instance = get_current_context()["ti"]
        if paused := [name for name in CHAIN if instance.get_dag(name).is_paused]:
            raise AirflowFailException(f"{wanted}, and {', '.join(paused)} is paused, so none is trained: unpause it")
        if under_way := [name for name in CHAIN if instance.get_dr_count(name, states=["queued", "running"])]:
            raise AirflowSkipException(f"{wanted}, but {', '.join(under_way)} is under way")
        log.info("%s", wanted)
        return wanted

    @task
    def value_at_risk() -> str:
        """Tell value at risk of the newest hours, and hold what was told before against what came."""
        from airflow.sdk.exceptions import AirflowFailException

        from ml.value_at_risk.live_coverage import tell_and_judge
        from quantstream.core.errors import Misconfigured
        from quantstream.settings_loader import load_settings

        try:
            said = tell_and_judge(load_settings().lake_url)
        except Misconfigured as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        for sentence in said:
            log.info("%s", sentence)
        return said[0]

    ask(watch())
    value_at_risk()


models_monitor()
