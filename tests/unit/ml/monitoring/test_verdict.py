"""What is to be done of a model that serves: pure, so every rule is a sentence here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ml.monitoring.blocks.kept_blocks import Evidence
from ml.monitoring.drift import Shift
from ml.monitoring.verdict import ALARMS, DRIFT, FEWEST, LOSS, Act, Better, Figures, Known, Verdict, verdict
from ml.promotion.decisions import Change, Decision

RISK = "quantstream-risk"
AS_PROMISED = Figures(288, 0.09, 0.08, 0.085, 0.14)
WORSE = Figures(288, 0.3, 0.25, 0.085, 0.14)
WORSE_LOSS = "live loss 0.3 over 288 candles, 0.085 was promised and 0.14 may come of a day by chance"
SHIFTS = [Shift("log_rms_1h", 9.0, 1e-6)]
ALARM = Evidence(35.0, 6, "log_rms_1h")
START = datetime(2026, 11, 28, tzinfo=UTC)


def known(figures: Figures | None = AS_PROMISED, **more: object) -> Known:
    return Known(RISK, "3", figures, **more)  # type: ignore[arg-type]


def decided(hour: int, version: str, change: Change, before: str = "") -> Decision:
    return Decision(START + timedelta(hours=hour), RISK, version, change, before, "a test", "because")


def test_a_model_that_is_as_it_promised_is_left_alone() -> None:
    assert verdict(known()) == Verdict(Act.NOTHING)
    assert verdict(known(None)) == Verdict(Act.NOTHING)


def test_a_model_worse_than_promised_gives_way_to_the_one_before_that_would_have_been_better() -> None:
    found = verdict(known(WORSE, previous=Better("2", 0.2, 0.15)))
    assert found == Verdict(
        Act.ROLL_BACK, f"{WORSE_LOSS}; version 2 would have lost 0.2 less on the same candles", (LOSS,)
    )


def test_without_one_that_is_surely_better_a_training_is_wanted() -> None:
    wanted = Verdict(Act.TRAIN, WORSE_LOSS, (LOSS,))
    assert verdict(known(WORSE)) == wanted
    assert verdict(known(WORSE, previous=Better("2", 0.01, -0.02))) == wanted


def test_a_version_that_was_rolled_back_from_does_not_come_back_unless_it_was_promoted_anew() -> None:
    better = Better("2", 0.2, 0.15)
    out = [decided(0, "2", Change.PROMOTED), decided(1, "3", Change.ROLLED_BACK, before="2")]
    assert verdict(known(WORSE, previous=better, decisions=out)).act is Act.TRAIN
    again = [*out, decided(2, "2", Change.PROMOTED)]
    assert verdict(known(WORSE, previous=better, decisions=again)).act is Act.ROLL_BACK


def test_half_a_day_or_a_single_bad_hour_is_not_enough() -> None:
    assert verdict(known(Figures(FEWEST - 1, 0.3, 0.25, 0.085, 0.14))).act is Act.NOTHING
    assert verdict(known(Figures(288, 0.3, 0.08, 0.085, 0.14))).act is Act.NOTHING


def test_a_version_of_which_no_promise_is_known_is_not_judged_by_its_loss() -> None:
    assert verdict(known(Figures(288, 9.0, 9.0, float("nan"), float("nan")))).act is Act.NOTHING


def test_drift_and_too_many_alarms_ask_for_a_training() -> None:
    told = "35 to 1 over 6 quarters of days, 20 to 1 is an alarm"
    drift = f"drift of log_rms_1h (9.0 times as far off as on an ordinary day): {told}"
    assert verdict(known(drifted=SHIFTS, evidence=ALARM)) == Verdict(Act.TRAIN, drift, (DRIFT,))
    assert verdict(known(evidence=ALARM)).why == f"drift of log_rms_1h before all: {told}"
    assert verdict(known(drifted=SHIFTS, evidence=Evidence(19.9, 6))).act is Act.NOTHING
    assert verdict(known(drifted=SHIFTS)).act is Act.NOTHING
    assert verdict(known(alarms=900.0, most_alarms=500.0)) == Verdict(
        Act.TRAIN, "900 alarms in 100,000 trades, 500 are bearable", (ALARMS,)
    )
    assert verdict(known(alarms=400.0, most_alarms=500.0)).act is Act.NOTHING


def test_a_training_is_not_asked_for_again_for_the_same_reason_within_a_day_of_candles() -> None:
    waits = verdict(known(WORSE, evidence=ALARM, since_asked={LOSS: 12, DRIFT: 24}))
    assert (waits.act, waits.found) == (Act.NOTHING, (LOSS, DRIFT))
    assert waits.why.endswith("a training was asked for 24 candles ago, the next at the earliest 260 after it")
    assert verdict(known(WORSE, since_asked={LOSS: FEWEST})).act is Act.TRAIN
    assert verdict(known(WORSE, evidence=ALARM, since_asked={LOSS: 12})).act is Act.TRAIN  # the drift is news
