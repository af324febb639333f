"""Promotion: who may go live, and why."""

from __future__ import annotations

import pytest

from ml.promotion.rules import decide

RISK = {"brier": 0.07, "brier_har": 0.075, "brier_base": 0.1, "ece": 0.01}
FORECAST = {"pinball_1h_bp": 10.0, "pinball_skill_1h": 0.01} | {f"coverage_90_{h}": 0.9 for h in ("5m", "15m", "1h")}
SIGNAL = {"log_loss": 1.0, "log_loss_base": 1.01, "log_loss_logistic": 1.005, "ece": 0.02, "hold_share": 0.99}
ANOMALY = {"missed_fat_fingers": 0.0, "fat_finger_recall": 1.0, "false_alarms_per_100k": 3.0, "novel_share": 0.01}


@pytest.mark.parametrize(
    ("kind", "figures"), [("risk", RISK), ("forecast", FORECAST), ("signal", SIGNAL), ("anomaly", ANOMALY)]
)
def test_the_first_sane_model_becomes_champion(kind: str, figures: dict[str, float]) -> None:
    decision = decide(kind, figures)
    assert decision.promoted
    assert decision.reasons[0] == "first sane model: it becomes champion"


def test_without_an_edge_the_first_model_serves_and_says_so() -> None:
    decision = decide("signal", SIGNAL | {"log_loss": 1.02})
    assert decision.promoted
    assert decision.reasons == [
        "first sane model: it becomes champion although it has no edge over the baselines",
        "not better than base rates: log_loss skill -0.99%",
        "not better than logistic: log_loss skill -1.49%",
        "no expected move paid after costs on later data: it always says Hold",
    ]
    earning = decide("signal", SIGNAL | {"trades": 12.0, "net_bp_per_trade": -3.0})
    assert earning.reasons[-1] == "12 actions on held-out data, -3.0 bp each after costs"


@pytest.mark.parametrize(
    ("kind", "figures", "reason"),
    [
        ("risk", RISK | {"ece": 0.3}, "not sane: ece is 0.3, outside 0 to 0.1"),
        ("risk", RISK | {"ece": float("nan")}, "not sane: ece is nan, outside 0 to 0.1"),
        ("risk", RISK | {"brier": float("inf")}, "not sane: brier is not a number"),
        ("forecast", FORECAST | {"coverage_90_1h": 0.5}, "not sane: coverage_90_1h is 0.5, outside 0.8 to 0.97"),
        ("signal", SIGNAL | {"hold_share": 0.1}, "not sane: hold_share is 0.1, outside 0.5 to 1"),
        ("anomaly", ANOMALY | {"fat_finger_recall": 0.2}, "not sane: fat_finger_recall is 0.2, outside 0.9 to 1"),
        (
            "anomaly",
            ANOMALY | {"false_alarms_per_100k": 9e3},
            "not sane: false_alarms_per_100k is 9e+03, outside 0 to 500",
        ),
    ],
)
def test_a_model_that_is_not_sane_never_serves(kind: str, figures: dict[str, float], reason: str) -> None:
    decision = decide(kind, figures)
    assert (decision.promoted, decision.reasons) == (False, [reason])
    assert not decide(kind, figures, champion=figures).promoted


@pytest.mark.parametrize(
    ("brier", "champion", "promoted"),
    [(0.07, 0.072, True), (0.07, 0.07, True), (0.0702, 0.07, True), (0.0720, 0.07, False), (0.07, float("nan"), True)],
)
def test_a_challenger_must_not_be_worse_than_the_champion(brier: float, champion: float, promoted: bool) -> None:
    decision = decide("risk", RISK | {"brier": brier}, RISK | {"brier": champion})
    assert decision.promoted is promoted
    assert "on the same held-out data" in decision.reasons[0]


def test_a_challenger_without_an_edge_does_not_replace_one_that_has_it() -> None:
    decision = decide("risk", RISK | {"brier_har": 0.0699}, RISK | {"brier": 0.06995, "brier_har": 0.071})
    assert not decision.promoted
    assert decision.reasons[0].startswith("no edge over the baselines, which the champion has")


def test_missed_fat_fingers_compare_even_when_none_are_missed() -> None:
    assert decide("anomaly", ANOMALY, ANOMALY).promoted
    assert not decide("anomaly", ANOMALY | {"missed_fat_fingers": 2.0}, ANOMALY).promoted
