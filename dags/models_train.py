"""Train the four models on validated candles and promote those that earn it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, get_current_context, task

log = logging.getLogger(__name__)
MODELS = ["forecast", "signal", "risk", "anomaly"]  # as quantstream.messages.models has them

DOC = """
### Features → fit → judge → register, for each of the four models
Starts by itself when validated candles arrive, or by hand: choose the models in the form. The first task brings the
lake's table `features` up to the candles, once for all models; only months whose candles changed are made. Where nobody ever
looked at the exchange's list of symbols, it does so before, so that the first results say who was listed, too. Each other
task fits one model on that version, on a split by time, registers it in MLflow, and puts it through the gate: ten checks,
the last two against the best champion so far and the one that serves, out of sample on the same rows. What passes becomes
`champion`, or `challenger` first where `QUANTSTREAM_SHADOW_CANDLES` asks for it. The running scorer takes a new champion in
by itself.

**Outcomes per model.** *Success*: trained and judged; the log and the task's return value say whether it was promoted
and why or why not. *Skipped*: not chosen, too little data yet, or another training of it is under way. *Failed*: something
broke; the champion stays. What a training that was killed has left is refused by the next one, on the record.

**When it is red.** The failed task's log ends with the reason. MLflow not answering is tried again by itself.
"""


@dag(
    dag_id="models_train",
    doc_md=DOC,
    schedule=[Asset("candles_validated")],
    catchup=False,
    max_active_runs=1,
    tags=["models"],
    params={
        "models": Param(
            MODELS, type="array", items={"type": "string", "enum": MODELS}, description="which models to train"
        )
    },
    default_args={
        "owner": "models",
        "retries": 4,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=1),
    },
)
def models_train() -> None:
    """Wire the tasks: features first, then one per model, side by side as far as the machine's cores go."""

    @task
    def features() -> int:
        """Bring the table of features up to the candles and return its version; nothing to learn from yet is no failure."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ml.training import train as training
        from quantstream.core.errors import DataRejected, Misconfigured
        from quantstream.settings_loader import load_settings

        context = get_current_context()
        try:
            built = training.build_features(load_settings())
        except DataRejected as error:
            if context["ti"].try_number <= context["ti"].max_tries:
                raise
            log.warning("%s", error)
            raise AirflowSkipException(str(error)) from None
        except Misconfigured as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        log.info("%s", built)
        return built.version

    @task(map_index_template="{{ model }}", max_active_tis_per_dagrun=2)
    def train(kind: str, version: int) -> dict[str, Any]:
        """Train, judge and register one model; a refused model is an outcome, not a failure."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        context = get_current_context()
        context["model"] = kind
        if kind not in context["params"]["models"]:
            raise AirflowSkipException(f"{kind} was not chosen")

        from ml.promotion.turns import UnderWay
        from ml.serving.registry import wait_for_the_busy
        from ml.training import train as training
        from quantstream.core.errors import DataRejected, Misconfigured, ModelRejected
        from quantstream.settings_loader import load_settings

        wait_for_the_busy()
        run = f"models_train {context['run_id']}"
        try:
            result = training.train(kind, load_settings(), features_version=version, by=run)
        except (DataRejected, UnderWay) as error:
            if context["ti"].try_number <= context["ti"].max_tries:
                raise  # a young market fills the lake by the minute, a training by hand ends: try again before giving up
            log.warning("%s", error)
            raise AirflowSkipException(str(error)) from None
        except Misconfigured as error:
            log.error("%s", error)  # noqa: TRY400  the sentence is all; a traceback would hide it
            raise AirflowFailException(str(error)) from None
        except ModelRejected as error:
            log.info(f"{kind} stays as it is: {error}")
            return {"name": kind, "promoted": False, "reasons": [str(error)]}
        log.info(f"{result.name} version {result.version}: {result.outcome}. {' '.join(result.reasons)}")
        return {
            "name": result.name,
            "version": str(result.version),
            "promoted": result.promoted,
            "outcome": str(result.outcome),
            "reasons": list(result.reasons),
            "metrics": {name: float(value) for name, value in result.metrics.items()},
        }

    train.partial(version=features()).expand(kind=MODELS)


models_train()
