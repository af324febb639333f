"""Promote challengers that were no worse than the champion in the shadow, and let go of those that were."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

log = logging.getLogger(__name__)
YES, NO, LATER = "Promote", "Let go", "Decide later"
SUBJECT = (
    "Promote {% for one in ti.xcom_pull('judge') if one.verdict == 'promoted' %}"
    "{{ one.model }} {{ one.version }}{{ ', ' if not loop.last }}{% endfor %}?"
)
BODY = "{% for one in ti.xcom_pull('judge') %}- {{ one.model }} {{ one.version }}: {{ one.verdict }}, {{ one.why }}\n{% endfor %}"
DOC = """
### Shadow → champion
A model that passed the gate scores the same live candles as the champion, recorded and shown to nobody. After
`QUANTSTREAM_SHADOW_CANDLES` closed windows whose outcome is known it is held against the champion: no worse, and it is
promoted; surely worse, or not shown to be no worse within `QUANTSTREAM_SHADOW_DAYS`, and it leaves. Score and detect take a new
champion in by themselves. First the table `decisions` is completed, where a writer died or an alias was moved by other means.

With `QUANTSTREAM_ASK_BEFORE_PROMOTION=true` the task `ask` waits for a person (*Required actions* in this page): who lets a
model go has it expire; who decides later, or says nothing for a day, is asked again. Who answered, and the reason that they
gave, stand in `decisions`. Meanwhile nothing else is promoted.

**Outcomes.** *Success*: every challenger was judged; the log says of each what became of it and why. The commands
`quantstream models` and `quantstream models history` say the same later.

**When it is red.** MLflow or the lake did not answer; the champions stay, and the next run does what this one did not.
"""


@dag(
    dag_id="models_promote",
    doc_md=DOC,
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["models"],
    default_args={
        "owner": "models",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "execution_timeout": timedelta(minutes=10),
    },
)
def models_promote() -> None:
    """Wire the tasks: judge, perhaps ask, act."""

    @task
    def judge() -> list[dict[str, Any]]:
        """Judge every challenger and return those whose time in the shadow is over."""
        from datetime import timedelta

        from ml.promotion import trials
        from ml.promotion.announcements import moves_of
        from ml.promotion.shadow import Rule, Verdict
        from quantstream.lake.store import Lake
        from quantstream.settings_loader import load_settings

        settings = load_settings()
        rule = Rule(settings.shadow_candles, timedelta(days=settings.shadow_days), settings.gate.tolerance)
        moves = moves_of(settings, f"models_promote {get_current_context()['run_id']}")
        found = trials.judged(moves, Lake(settings.lake_url), rule)
        return [trials.as_fields(one) for one in found if one.ruling.verdict is not Verdict.WAITS]

    @task.branch
    def whom(found: list[dict[str, Any]]) -> str | None:
        """Say who decides: nobody where there is nothing to decide, a person where that is set and something is promoted."""
        from quantstream.settings_loader import load_settings

        if not found:
            return None
        is_asked = load_settings().ask_before_promotion and any(one["verdict"] == "promoted" for one in found)
        return "ask" if is_asked else "act"

    ask = HITLOperator(
        task_id="ask",
        subject=SUBJECT,
        body=BODY,
        options=[YES, NO, LATER],
        params={"why": Param("", type="string", description="the reason, for whoever asks later")},
        defaults=[LATER],
        response_timeout=timedelta(days=1),
    )

    @task(trigger_rule="none_failed_min_one_success")
    def act(found: list[dict[str, Any]]) -> list[str]:
        """Move the aliases as was ruled, or as a person said."""
        from ml.promotion import trials
        from ml.promotion.announcements import moves_of
        from quantstream.settings_loader import load_settings

        context = get_current_context()
        answer = context["ti"].xcom_pull(task_ids="ask") or {}
        chosen, who = (answer.get("chosen_options") or [YES])[0], (answer.get("responded_by_user") or {}).get("name")
        why = str((answer.get("params_input") or {}).get("why") or "").strip()
        settings, run = load_settings(), f"models_promote {context['run_id']}"
        done = []
        for trial in map(trials.of_fields, found):
            is_promotion = trial.ruling.verdict.value == "promoted"
            moves = moves_of(settings, who if is_promotion and who else run)  # people are asked of promotions alone
            if is_promotion and chosen == LATER:
                continue
            if is_promotion and chosen == NO:
                done.append(trials.decline(moves, trial, f"a person let it go: {why}" if why else "a person let it go"))
            else:
                done.append(trials.act(moves, trials.agreed(trial, why) if is_promotion and who else trial))
        for one in filter(None, done):
            log.info("%s", one)
        return [str(one) for one in done if one is not None]

    found = judge()
    whom(found) >> [ask, acted := act(found)]
    ask >> acted


models_promote()
