"""Judgements of models whose worth is known beforehand: one that knows, one that guesses, one that never acts."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ml.data import labels, trade_features
from ml.data.dataset import Dataset, Rows, Split
from ml.evaluation import evaluate, fat_fingers, forecast_evaluation, judgement
from ml.models import forecast, signal
from ml.models.anomaly import AnomalyModel
from ml.models.base import Model
from ml.models.parts import network
from quantstream import features
from quantstream.core.rolling import Floats
from tests.unit.ml import markets

EACH = 1_600  # candles of a symbol: five and a half days
SYMBOLS = ("BTCUSDT", "ETHUSDT")
TRUTH, HINT, SIZE = "momentum_5m", "momentum_15m", "log_rms_1h"  # the features that the labels are made of


def made() -> Dataset:
    """Return rows whose labels follow from features: abnormal and the action from `TRUTH`, the size of returns from `SIZE`."""
    rng = np.random.default_rng(7)
    count = EACH * len(SYMBOLS)
    values = rng.normal(size=(count, len(features.NAMES)))
    values[:, features.NAMES.index(SIZE)] = rng.normal(-6, 0.7, count)
    truth, size = (values[:, features.NAMES.index(name)] for name in (TRUTH, SIZE))
    returns = {name: np.exp(size) * np.sqrt(ahead) * rng.normal(size=count) for name, ahead in labels.RETURNS.items()}
    action = np.where(truth > 1, labels.BUY, np.where(truth < -1, labels.SELL, labels.HOLD)).astype(float)
    returns["return_1h"] = np.where(
        action == labels.HOLD,
        returns["return_1h"],
        np.sign(truth) * np.abs(returns["return_1h"]) + 0.002 * np.sign(truth),
    )
    at = 1_704_067_200_000_000 + features.STEP_US * np.arange(EACH)
    return Dataset(
        *(SYMBOLS, np.repeat(np.arange(len(SYMBOLS)), EACH), np.tile(at, len(SYMBOLS)), np.full(count, 100.0), values),
        {**returns, "action": action, "abnormal": (truth > 1).astype(float), "log_rms_next_1h": size},
    )


COST = 0.001  # of entering and leaving
DATA = made()
PLACE = np.tile(np.arange(EACH), len(SYMBOLS))
SPLIT = Split(
    *(np.flatnonzero(np.isin(PLACE, np.arange(start, end))) for start, end in ((0, 700), (700, 1000), (1000, EACH)))
)


@dataclass
class Fixed(Model):
    """Says a function of the newest row of what it reads."""

    says: Any
    names: tuple[str, ...] = (TRUTH, HINT, SIZE)
    kind: ClassVar[str] = "risk"
    outcomes: ClassVar[tuple[str, ...]] = ("abnormal",)

    def predict(self, windows: Floats) -> Floats:
        """Return what it says."""
        return np.asarray(self.says(windows[:, -1]), dtype=np.float64)

    def write(self, folder: Path) -> dict[str, Any]:
        """Nothing to write."""
        return {}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> Fixed:
        """Nothing to read."""
        raise NotImplementedError


def knows(rows: Floats) -> Floats:
    return np.where(rows[:, 0] > 1, 0.99, 0.01)


def test_a_risk_model_that_knows_beats_every_baseline_surely() -> None:
    report = evaluate.judge_risk(Fixed(knows), DATA, SPLIT)
    found = report.metrics
    assert (found["auc"], report.rows, report.kind) == (1.0, len(SPLIT.judge), "risk")
    assert found["brier"] == pytest.approx(0.0001)
    assert found["auc_gain"] == pytest.approx(1 - found["auc_har"])
    assert found["auc_gain_low"] > 0.3
    assert found["brier_skill_low"] > 0.9
    assert found["brier_gain_p"] < 0.01
    assert set(report.symbols) == set(SYMBOLS)
    assert set(report.cuts) == {"by_hour", "by_volatility"}
    assert set(report.cuts["by_volatility"]) == {"calm", "usual", "wild"}
    fields = json.loads(json.dumps(report.fields()))
    assert (fields["rows"], fields["pooled"]["auc"]) == (len(SPLIT.judge), 1.0)
    assert fields["curves"]["reliability"]


def test_a_risk_model_that_only_knows_the_base_rate_gains_nothing() -> None:
    rate = float(DATA.labels["abnormal"][np.concatenate([SPLIT.fit, SPLIT.calibrate])].mean())
    found = evaluate.judge_risk(Fixed(lambda rows: np.full(len(rows), rate)), DATA, SPLIT).metrics
    assert found["auc"] == 0.5
    assert found["brier"] == pytest.approx(found["brier_base"])
    assert found["auc_gain"] < 0.1
    assert found["rate"] == pytest.approx(float(DATA.labels["abnormal"][SPLIT.judge].mean()))


class Bets(signal.SignalModel):
    """Probabilities that are a function of the newest row, and actions by the largest of them."""

    def __init__(self, says: Any, acts: bool) -> None:
        super().__init__(None, names=(TRUTH, HINT, SIZE))  # type: ignore[arg-type]
        self.says, self.acts = says, acts

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, 3)."""
        return np.asarray(self.says(windows[:, -1]))

    def adapt(self, predicted: Floats, outcomes: Floats, rows: int | None = None) -> Floats:
        """Correct nothing."""
        return predicted if rows is None else predicted[len(predicted) - rows :]

    def actions(self, windows: Floats, probabilities: Floats, cost: float) -> list[signal.Action]:
        """Return the likeliest action, or Hold."""
        return [signal.ACTIONS[k] if self.acts else "Hold" for k in probabilities.argmax(axis=1)]


def sees(rows: Floats) -> Floats:
    found = np.full((len(rows), 3), 0.01)
    outcomes = np.where(rows[:, 0] > 1, labels.BUY, np.where(rows[:, 0] < -1, labels.SELL, labels.HOLD))
    found[np.arange(len(rows)), outcomes] = 0.98
    return found


def test_a_signal_that_knows_earns_what_the_market_moves_less_the_costs() -> None:
    report = evaluate.judge_signal(Bets(sees, acts=True), DATA, SPLIT, COST)
    found, moved = report.metrics, DATA.labels["return_1h"][SPLIT.judge]
    taken = DATA.labels["action"][SPLIT.judge] != labels.HOLD
    earned = np.abs(moved[taken]) - COST
    assert found["trades"] == taken.sum()
    assert found["net_bp_per_trade"] == pytest.approx(earned.mean() * 1e4)
    assert found["net_bp_total"] == pytest.approx(earned.sum() * 1e4)
    assert found["net_bp_per_trade_low"] < found["net_bp_per_trade"] < found["net_bp_per_trade_high"]
    assert found["log_loss"] == pytest.approx(-np.log(0.98))
    assert found["log_loss"] < found["log_loss_logistic"] < found["log_loss_base"]
    assert found["log_loss_gain_base_low"] > 0
    assert found["hold_share"] == pytest.approx(1 - taken.mean())
    assert found["rank_ic_1h_tails_low"] > 0
    assert found["rank_ic_action_tails"] == pytest.approx(1)
    assert found["round_trip_bp"] == pytest.approx(10)
    assert "rank_ic_1h" not in found  # a model of before says nothing of the usual hour
    assert set(report.curves) == {f"reliability {action}" for action in signal.ACTIONS}
    assert np.array_equal(report.said["side"] != 0, taken)
    assert np.array_equal(np.sign(report.said["edge"][taken]), report.said["side"][taken])
    assert "said" not in report.fields()


def test_a_signal_that_never_acts_earns_nothing_and_loses_nothing() -> None:
    found = evaluate.judge_signal(Bets(sees, acts=False), DATA, SPLIT).metrics
    assert (found["trades"], found["net_bp_per_trade"], found["net_bp_total"], found["hold_share"]) == (0, 0, 0, 1)
    assert (found["net_bp_per_trade_low"], found["net_bp_per_trade_high"]) == (0.0, 0.0)


class Fan(Fixed):
    """Quantiles of each horizon: those of the normal, times a size that it knows, or does not."""

    kind: ClassVar[str] = "forecast"
    outcomes: ClassVar[tuple[str, ...]] = forecast.LABELS


def fan(rows: Floats) -> Floats:
    normal = np.array([-1.6449, -0.6745, 0.0, 0.6745, 1.6449])
    assert len(normal) == len(network.LEVELS)
    ahead = np.sqrt([labels.RETURNS[label] for label in forecast.LABELS])
    return np.exp(rows[:, 2])[:, None, None] * ahead[None, :, None] * normal[None, None, :]


def test_a_forecast_of_the_right_width_covers_what_it_says_and_beats_unscaled_quantiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = evaluate.judge_forecast(Fan(fan), DATA, SPLIT)
    found = report.metrics
    assert found["coverage_90_5m"] == pytest.approx(0.9, abs=0.03)
    assert found["coverage_90_15m"] == pytest.approx(0.9, abs=0.03)
    assert found["pinball_skill_plain_5m"] > 0.02
    assert found["pinball_skill_1h_low"] < found["pinball_skill_1h"] < found["pinball_skill_1h_high"]
    assert set(report.cuts["coverage_by_month"]) == set(SYMBOLS)
    assert found["coverage_90_worst_low"] <= found["coverage_90_worst_high"]
    assert [level for level, *_ in report.curves["quantiles"]] == pytest.approx(list(network.LEVELS))
    monkeypatch.setattr(forecast_evaluation, "FEWEST_IN_MONTH", EACH)
    few = evaluate.judge_forecast(Fan(fan), DATA, SPLIT)
    assert few.cuts["coverage_by_month"] == {}
    assert "coverage_90_worst_low" not in few.metrics


class Sieve(AnomalyModel):
    """Flags trades that are far from the market, and no candle."""

    def __init__(self) -> None:
        super().__init__(None, None, names=(TRUTH,))  # type: ignore[arg-type]

    def predict(self, windows: Floats) -> Floats:
        """Say that the candles with the highest momentum are novel."""
        return (windows[:, -1, 0] > 1).astype(float)

    def score_trades(self, rows: Floats) -> Floats:
        """Say how far from the market."""
        return np.minimum(np.abs(np.asarray(rows)[:, 0]) / 14, 1.0)


def test_a_detector_is_judged_by_fat_fingers_it_sees_and_by_trades_it_flags_without_one() -> None:
    trades = [*markets.trades(1500), *markets.trades(1500, "ETHUSDT", 5)]
    report = evaluate.judge_anomaly(Sieve(), DATA, SPLIT, trades)
    found = report.metrics
    assert (found["fat_fingers"], found["trades"]) == (2 * (1500 // fat_fingers.EVERY), 3000)
    assert found["fat_finger_recall"] == pytest.approx(1 - found["missed_fat_fingers"] / found["fat_fingers"])
    assert found["fat_finger_recall"] > 0.6
    assert found["false_alarms_per_100k"] < 500
    assert found["novel_share"] == pytest.approx((DATA.labels["abnormal"][SPLIT.judge] == 1).mean())


def test_of_no_trades_nothing_is_claimed() -> None:
    found, _ = fat_fingers.trial(Sieve(), [], np.random.default_rng(1))
    assert np.isnan(found["fat_finger_recall"])
    assert (found["fat_fingers"], found["false_alarms_per_100k"], found["trades"]) == (0, 0, 0)


def test_a_fat_finger_leaves_the_other_trades_and_their_market_as_they_were() -> None:
    trades = markets.trades(900)
    spoilt, places = fat_fingers.inject(trades, np.random.default_rng(3))
    assert places == [number - 1 for number in range(fat_fingers.EVERY, 901, fat_fingers.EVERY)]
    assert [i for i, (one, other) in enumerate(zip(trades, spoilt, strict=True)) if one != other] == places
    far = np.abs(trade_features.rows(spoilt)[places, 0])
    assert (far[1:] > fat_fingers.SMALLEST * 0.9).all()


class Learner(Fixed):
    """Says for each row what it may know of outcomes: how many came before it."""

    def adapt(self, predicted: Floats, outcomes: Floats, rows: int | None = None) -> Floats:
        """Return the number of predictions before each, its own included."""
        return np.cumsum(np.isfinite(predicted)).astype(float)


def test_what_would_have_been_said_live_is_corrected_by_the_rows_before_it_only() -> None:
    rows: Rows = np.concatenate([SPLIT.judge[:20], SPLIT.judge[-20:]])
    predicted = judgement.serve(Learner(knows), DATA, rows)
    assert predicted.tolist() == [*range(1001, 1021), *range(EACH - 19, EACH + 1)]
    backwards = judgement.serve(Learner(knows), DATA, rows[::-1])
    assert backwards.tolist() == predicted[::-1].tolist()


def test_predictions_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judgement.predict(Fixed(knows), DATA, SPLIT.judge)
    monkeypatch.setattr(judgement, "CHUNK", 7)
    assert np.array_equal(judgement.predict(Fixed(knows), DATA, SPLIT.judge), whole)


def test_a_single_symbol_has_no_cut_by_symbol() -> None:
    mine = DATA.symbol == 0
    alone = replace(
        DATA,
        symbols=SYMBOLS[:1],
        symbol=DATA.symbol[mine],
        opened_at=DATA.opened_at[mine],
        features=np.asarray(DATA.features)[mine],
        labels={name: one[mine] for name, one in DATA.labels.items()},
    )
    report = judgement.report_of("risk", alone, np.arange(100, 200), lambda part: {"rows": float(part.sum())})
    assert (report.symbols, report.metrics, report.rows) == ({}, {"rows": 100.0}, 100)
    assert sum(one["rows"] for one in report.cuts["by_hour"].values()) == 100


@pytest.mark.parametrize(("loss", "baseline", "skill"), [(1.0, 2.0, 0.5), (3.0, 2.0, -0.5), (1.0, 0.0, 0.0)])
def test_skill_is_the_share_of_a_baselines_loss_that_is_saved(loss: float, baseline: float, skill: float) -> None:
    assert judgement.skill_of(loss, baseline) == skill


def test_days_that_are_all_alike_have_no_information_ratio() -> None:
    days = np.repeat([0, 1], 3)
    values = np.array([1.0, 2.0, 3.0] * 2)
    assert forecast_evaluation._daily_ic(values, values, days) == {"rank_ic_1h_ir": 0.0}
