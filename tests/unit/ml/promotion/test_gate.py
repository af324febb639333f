"""The gate: which figures pass, which are refused and why, and that a row of champions cannot walk down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation.behaviour import Trait
from ml.evaluation.bootstrap import blocks_of
from ml.evaluation.judgement import Loss, Report
from ml.promotion import gate
from ml.promotion.gate import Check, Outcome, Rival
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY
from quantstream.settings import Gate
from tests.unit.ml.evaluation.test_judgements import Fixed

LIMITS = Gate()
DAYS, A_DAY = 20, 288
AT = np.arange(DAYS * A_DAY) * (DAY // A_DAY)
BLOCKS = blocks_of(AT)
NOISE = np.random.default_rng(1).gamma(2.0, 0.5, len(AT))  # of the rows' losses, the same for every model: the market's
GOOD = {
    "risk": {"ece": 0.01},
    "forecast": {f"coverage_90_{h}": 0.9 for h in ("5m", "15m", "1h")},
    "signal": {"ece": 0.02, "hold_share": 0.99},
    "anomaly": {"fat_finger_recall": 1.0, "false_alarms_per_100k": 3.0, "novel_share": 0.01},
}


def judged(level: float, own: float = 0.0, seed: int = 0, har: float = 1.1, guarded: float = 1.0) -> Report:
    """A risk model's judgement: losses at a level of the market's, with noise of the model's own."""
    rng = np.random.default_rng(seed)
    losses = level * NOISE * (1 + own * rng.normal(size=len(AT)))
    beside = {"the HAR regression": har * NOISE}
    return Report(
        "risk",
        {"ece": 0.01, "brier": float(losses.mean())},
        losses={"brier": Loss(losses, BLOCKS, beside), "log_loss": Loss(guarded * NOISE, BLOCKS)},
    )


def serving(report: Report) -> Rival:
    return Rival("champion", "7", report)


@pytest.mark.parametrize("kind", GOOD)
def test_what_holds_its_promises_is_calibrated(kind: str) -> None:
    assert gate.calibration(kind, GOOD[kind], LIMITS).passed


@pytest.mark.parametrize(
    ("kind", "figures", "sentence"),
    [
        ("risk", {"ece": 0.3}, "(calibration error) is 30.00 %, outside 0.00 % to 10.00 %"),
        ("risk", {"ece": float("nan")}, "(calibration error) is nan %, outside 0.00 % to 10.00 %"),
        ("forecast", {"coverage_90_1h": 0.5}, "1 hour ahead (90 % is right) is 50.00 %, outside 80.00 % to 97.00 %"),
        ("signal", {"hold_share": 0.1}, "says Hold is 10.00 %, outside 50.00 % to 100.00 %"),
        ("anomaly", {"fat_finger_recall": 0.2}, "were found is 20.00 %, outside 90.00 % to 100.00 %"),
        ("anomaly", {"false_alarms_per_100k": 9e3}, "ordinary trades is 9,000, outside 0 to 500"),
        ("anomaly", {"novel_share": float("inf")}, "called novel is inf %, outside 0.00 % to 20.00 %"),
    ],
)
def test_what_does_not_is_refused_in_words(kind: str, figures: dict[str, float], sentence: str) -> None:
    found = gate.calibration(kind, GOOD[kind] | figures, LIMITS)
    assert not found.passed
    assert sentence in found.sentence


def test_a_challenger_that_is_surely_worse_is_refused_however_little() -> None:
    found = gate.champion("risk", judged(1.002), LIMITS, serving(judged(1.0)))
    assert not found.passed
    assert found.sentence.startswith("worse, surely: its Brier score")


def test_a_challenger_that_is_worse_beyond_the_tolerance_is_refused_however_unsure() -> None:
    one, other = judged(1.0), judged(1.0)
    rows = one.losses["brier"].rows.copy()
    rows[BLOCKS.of_row == 3] *= 3.0  # all of it in one day: not sure, and yet 10 % more
    found = gate.champion(
        "risk", replace(one, losses={"brier": replace(one.losses["brier"], rows=rows)}), LIMITS, serving(other)
    )
    assert not found.passed
    assert "worse, by more than 2.0%" in found.sentence


def test_a_challenger_that_is_as_good_or_better_passes_and_none_serves_is_no_reason_to_refuse() -> None:
    assert gate.champion("risk", judged(1.0), LIMITS, serving(judged(1.0))).passed
    assert gate.champion("risk", judged(0.9), LIMITS, serving(judged(1.0))).passed
    assert gate.champion("risk", judged(1.0), LIMITS, None).passed


def test_a_guarded_loss_may_not_be_worse_either() -> None:
    found = gate.champion("risk", judged(0.9, guarded=1.05), LIMITS, serving(judged(1.0)))
    assert not found.passed
    assert "log loss" in found.sentence


def test_losses_that_are_no_numbers_never_pass() -> None:
    one = judged(1.0)
    rows = np.where(np.arange(len(AT)) == 5, np.nan, one.losses["brier"].rows)
    spoilt = replace(one, losses={"brier": replace(one.losses["brier"], rows=rows)})
    assert not gate.champion("risk", spoilt, LIMITS, serving(judged(1.0))).passed


def test_few_days_are_drawn_by_quarters_and_of_one_block_nothing_is_sure() -> None:
    assert str(blocks_of(AT[: 3 * A_DAY])) == "12 quarters of a day"
    assert str(blocks_of(AT)) == "20 days"
    alone = blocks_of(AT[:10])
    one, other = (Report("risk", {}, losses={"brier": Loss(np.full(10, level), alone)}) for level in (1.01, 1.0))
    assert gate.champion("risk", one, LIMITS, serving(other)).passed  # 1 % worse, on an hour
    assert not gate.champion(
        "risk", replace(one, losses={"brier": Loss(np.full(10, 1.1), alone)}), LIMITS, serving(other)
    ).passed


def test_a_first_model_needs_no_edge_but_may_not_be_far_worse_than_a_simple_mind() -> None:
    assert gate.reference("risk", judged(1.15), LIMITS, None, None).passed
    found = gate.reference("risk", judged(1.5), LIMITS, None, None)
    assert not found.passed
    assert "that of the HAR regression, surely more than 25%" in found.sentence


def test_a_challenger_without_an_edge_does_not_replace_one_that_has_it() -> None:
    found = gate.reference("risk", judged(1.101), LIMITS, None, serving(judged(1.099)))
    assert found.sentence == "it has no edge over the baselines, which the champion has"


def test_too_good_to_be_true_is_taken_for_a_look_at_the_outcome() -> None:
    assert gate.implausible("risk", judged(1.0), LIMITS) is None
    found = gate.implausible("risk", judged(0.3), LIMITS)
    assert found is not None
    assert found.name == "leakage"
    assert "saves 73% of the best baseline's loss" in found.sentence


def test_a_label_among_the_features_is_leakage_and_an_unknown_name_a_wrong_signature() -> None:
    assert not gate.leakage(("momentum_1h", "return_1h"), None).passed
    model = Fixed(lambda rows: rows, names=("momentum_1h", "tomorrow"))
    assert "reads tomorrow, which no stage computes" in gate.signature(model, np.zeros(5), 5, "risk").sentence
    twice = Fixed(lambda rows: rows, names=("momentum_1h", "momentum_1h"))
    assert "a feature twice" in gate.signature(twice, np.zeros(5), 5, "risk").sentence
    right = Fixed(lambda rows: rows)
    assert gate.signature(right, np.zeros(5), 5, "risk").passed
    assert "answers in shape (5, 2)" in gate.signature(right, np.zeros((5, 2)), 5, "risk").sentence
    assert "it is a model of kind risk" in gate.signature(right, np.zeros(5), 5, "signal").sentence
    long = Fixed(lambda rows: rows)
    long.length = features.DAY + 1
    assert "289 candles at once" in gate.signature(long, np.zeros(5), 5, "risk").sentence


def test_budgets_of_time_and_size() -> None:
    assert gate.latency(0.004, 0.004, "as the champion").passed
    assert not gate.latency(0.0041, 0.004, "as the champion").passed
    assert gate.size(64_000_000, LIMITS).passed
    assert not gate.size(64_000_001, LIMITS).passed


def test_a_refusal_names_the_first_failed_check_and_gives_all_reasons() -> None:
    checks = [Check("finite", True, "fine"), Check("behaviour", False, "it jumps"), Check("size", False, "it is large")]
    verdict = gate.decide("risk", checks, None, None, shadow=False)
    assert (verdict.outcome, verdict.refused_by) == (Outcome.REFUSED, "behaviour")
    assert verdict.reasons == [
        "Refused at the check “behaviour” (and size): it jumps. It was not judged.",
        "Not passed either: size: it is large.",
    ]
    assert not gate.behaviour([Trait(True, "it is calm"), Trait(False, "it jumps")]).passed


def retrained(worse: float, own: float, tolerance_only: bool) -> Floats:
    """The true levels of twenty champions in a row, where each retraining is a little worse than what serves, and noisy."""
    rng, level, reference = np.random.default_rng(5), 1.0, 1.0
    levels = []
    for turn in range(20):
        candidate = level * (1 + worse + 0.005 * rng.normal())
        ours, champion, fixed = (
            judged(one, own, 100 * turn + i, har=2.0) for i, one in enumerate((candidate, level, reference))
        )
        checks = [gate.champion("risk", ours, LIMITS, serving(champion))]
        if tolerance_only:  # the rule of before: 2 % against the champion alone
            passed = ours.metrics["brier"] <= champion.metrics["brier"] * 1.02
        else:
            checks.append(gate.reference("risk", ours, LIMITS, Rival("reference", "1", fixed), serving(champion)))
            passed = all(check.passed for check in checks)
            reference = level if gate.is_better_reference("risk", champion, fixed) else reference
        level = candidate if passed else level
        levels.append(level)
    return np.array(levels)


@pytest.mark.parametrize(("worse", "own"), [(0.01, 0.1), (0.01, 0.5), (0.0, 1.0)])
def test_twenty_retrainings_on_noise_do_not_walk_down(worse: float, own: float) -> None:
    """Never farther than the tolerance from the best, and what so many days cannot tell apart."""
    unsure = own * np.sqrt(2 * (NOISE**2).sum()) / NOISE.sum()  # standard error of a difference
    levels = retrained(worse, own, tolerance_only=False)
    assert levels.max() <= 1 + LIMITS.tolerance + 2 * unsure, levels


def test_the_rule_of_before_walked_down() -> None:
    assert retrained(0.01, 0.5, tolerance_only=True)[-1] > 1.15


def test_the_reference_gives_way_to_a_champion_that_is_surely_better_and_to_no_other() -> None:
    assert gate.is_better_reference("risk", judged(0.98), judged(1.0))
    assert not gate.is_better_reference("risk", judged(1.0), judged(1.0))
    assert not gate.is_better_reference("risk", judged(0.9999, own=1.0, seed=3), judged(1.0, own=1.0, seed=4))
