"""Scores: all symbols at once, each with its reasons, and a stated abstention where something cannot be known."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import msgspec
import numpy as np
import pandas as pd
import pytest

from ml.models import base
from ml.models.parts import thresholds
from ml.models.signal import SignalModel
from ml.serving.loaded import LoadedModel
from ml.serving.scoring import ModelSet, score
from quantstream import features
from quantstream.messages import payloads
from quantstream.setting_groups import ROUND_TRIP
from tests.unit.ml import markets

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000_000
FULL = features.WARMUP + 1


@pytest.fixture(scope="module")
def champions(models: dict[str, base.Model]) -> ModelSet:
    """All four, as the registry would hand them out."""
    return ModelSet(
        **{
            kind: LoadedModel(f"quantstream-{kind}", "7", features.FEATURE_HASH, model)
            for kind, model in models.items()
        }
    )


@pytest.fixture(scope="module")
def histories(candles: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Just enough of each symbol."""
    return {symbol: frame.iloc[-FULL:] for symbol, frame in candles.items()}


def test_a_full_history_gives_a_whole_score(champions: ModelSet, histories: dict[str, pd.DataFrame]) -> None:
    first, second = score(champions, histories, NOW)
    frame = histories["BTCUSDT"]
    assert (first.symbol, second.symbol) == ("BTCUSDT", "ETHUSDT")
    assert (first.interval, first.revision, first.scored_at, first.abstained) == ("5m", 0, NOW, "")
    assert first.opened_at == frame["opened_at"].iloc[-1].value // 1000
    assert first.close == frame["close"].iloc[-1]
    assert first.models == {f"quantstream-{kind}": "7" for kind in ("forecast", "signal", "risk", "anomaly")}
    assert first.feature_hash == features.FEATURE_HASH
    assert [part.horizon for part in first.forecasts] == ["5m", "15m", "1h"]
    for part in first.forecasts:
        assert part.levels == [0.05, 0.25, 0.5, 0.75, 0.95]
        assert part.targets == pytest.approx([first.close * np.exp(value) for value in part.log_returns])
        assert part.targets == sorted(part.targets)
    assert first.signal is not None
    assert first.signal.buy + first.signal.hold + first.signal.sell == pytest.approx(1)
    assert first.signal.usually_up is not None
    assert 0 < first.signal.usually_up < 1
    assert first.signal.tail_lean == first.signal.buy - first.signal.sell
    assert first.signal.expected_return is not None
    assert first.signal.round_trip_cost == ROUND_TRIP
    assert first.risk is not None
    assert 0 <= first.risk <= 100
    assert first.novelty is not None
    assert 0 <= first.novelty <= 1
    assert 1 <= len(first.reasons) <= 3
    assert payloads.decode(payloads.encode(first), payloads.Score) == first


def test_symbols_in_another_order_or_alone_score_the_same(
    champions: ModelSet, histories: dict[str, pd.DataFrame]
) -> None:
    together = score(champions, histories, NOW)
    turned = score(champions, dict(reversed(histories.items())), NOW)
    alone = [score(champions, {symbol: frame}, NOW)[0] for symbol, frame in histories.items()]
    assert together == turned[::-1] == alone


def test_a_longer_history_changes_nothing(champions: ModelSet, candles: dict[str, pd.DataFrame]) -> None:
    short = {symbol: frame.iloc[-FULL:] for symbol, frame in candles.items()}
    assert score(champions, candles, NOW) == score(champions, short, NOW)


def test_one_model_acts_at_low_costs_and_holds_at_high_ones(
    models: dict[str, base.Model], histories: dict[str, pd.DataFrame]
) -> None:
    signal = models["signal"]
    assert isinstance(signal, SignalModel)
    eager = dataclasses.replace(signal, asks=thresholds.Fixed(0.0), middle=None)
    shy = dataclasses.replace(eager, asks=thresholds.Fixed(1e-6))
    asked = {"BTCUSDT": histories["BTCUSDT"]}
    said = []
    for model, cost in ((eager, 0.05), (shy, 0.0), (shy, 900.0)):
        loaded = LoadedModel("quantstream-signal", "7", features.FEATURE_HASH, model)
        (made,) = score(ModelSet(signal=loaded), asked, NOW, kinds=["signal"], cost=cost)
        assert made.signal is not None
        assert (made.signal.round_trip_cost, made.signal.usually_up, made.signal.expected_return) == (cost, None, None)
        said.append(made.signal.action)
    assert said[0] == said[1] != "Hold"
    assert said[2] == "Hold"


def test_prices_ten_times_higher_change_targets_only(champions: ModelSet, histories: dict[str, pd.DataFrame]) -> None:
    dear = histories["BTCUSDT"].copy()
    dear[["open", "high", "low", "close"]] *= 10
    one, other = score(champions, {"A": histories["BTCUSDT"], "B": dear}, NOW)
    assert one.signal is not None
    assert other.signal is not None
    assert other.signal.action == one.signal.action
    assert other.risk == pytest.approx(one.risk, rel=1e-4)
    assert other.novelty == pytest.approx(one.novelty, rel=1e-4)
    for a, b in zip(one.forecasts, other.forecasts, strict=True):
        assert b.log_returns == pytest.approx(a.log_returns, rel=1e-4, abs=1e-8)
        assert b.targets == pytest.approx([10 * target for target in a.targets], rel=1e-6)


def test_a_price_that_never_moves_gives_hold_and_low_risk(champions: ModelSet) -> None:
    (calm,) = score(champions, {"USDCUSDT": markets.flat(FULL)}, NOW)
    assert calm.signal is not None
    assert calm.signal.action == "Hold"
    assert calm.risk is not None
    assert calm.risk < 50


def test_a_day_of_history_gives_signal_and_novelty_and_says_what_lacks(
    champions: ModelSet, histories: dict[str, pd.DataFrame]
) -> None:
    (young,) = score(champions, {"BTCUSDT": histories["BTCUSDT"].iloc[-400:]}, NOW)
    assert young.risk is None
    assert young.forecasts == []
    assert young.abstained == "; ".join(
        f"{kind}: the history is too short or has gaps for log_rms_7d" for kind in ("forecast", "risk")
    )
    assert young.signal is not None
    assert set(young.models) == {"quantstream-signal", "quantstream-anomaly"}


def test_one_candle_is_too_short_for_anything(champions: ModelSet, histories: dict[str, pd.DataFrame]) -> None:
    (young,) = score(champions, {"BTCUSDT": histories["BTCUSDT"].iloc[-1:]}, NOW)
    assert (young.forecasts, young.signal, young.risk, young.novelty, young.models) == ([], None, None, None, {})
    assert young.abstained.count("too short") == 4
    assert score(champions, {"BTCUSDT": histories["BTCUSDT"].iloc[:0]}, NOW) == []


def test_missing_models_are_named(histories: dict[str, pd.DataFrame]) -> None:
    (bare, _) = score(ModelSet(), histories, NOW)
    assert bare.abstained == "; ".join(f"no {kind} model yet" for kind in ("forecast", "signal", "risk", "anomaly"))
    assert bare.models == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.assign(close=np.nan),
        lambda frame: frame.assign(volume=-1.0),
        lambda frame: frame.iloc[::-1],
        lambda frame: frame.drop(columns="volume"),
        lambda frame: frame.drop(index=frame.index[-6]),
        lambda frame: frame.assign(opened_at=frame["opened_at"] + pd.Timedelta(seconds=7)),
        lambda frame: pd.concat([frame, frame.iloc[-1:]]),
        lambda frame: frame.assign(close=0.0),
    ],
)
def test_odd_data_abstains_with_a_reason_and_spares_the_others(
    champions: ModelSet, histories: dict[str, pd.DataFrame], spoil: object
) -> None:
    odd, good = score(champions, {"ODD": spoil(histories["BTCUSDT"]), "ETHUSDT": histories["ETHUSDT"]}, NOW)  # type: ignore[operator]
    assert odd.abstained
    assert "quantstream-risk" not in odd.models or odd.risk is not None
    assert good == score(champions, {"ETHUSDT": histories["ETHUSDT"]}, NOW)[0]


class Moody(base.Model):
    """Raises for candles that it cannot stand: those dearer than its limit. Stands for a library's own error."""

    kind = "risk"
    names = ("momentum_5m", "log_rms_1h")

    def __init__(self, bad: float) -> None:
        self.bad = bad

    def predict(self, windows: np.ndarray) -> np.ndarray:
        if (windows[:, -1, 1] == self.bad).any():
            raise RuntimeError("no leaf for this row")
        return np.full(len(windows), 0.25)

    def write(self, folder: object) -> dict[str, object]:  # type: ignore[override]
        raise NotImplementedError

    @classmethod
    def read(cls, folder: object, state: object) -> Moody:  # type: ignore[override]
        raise NotImplementedError


def test_a_model_that_raises_for_one_symbol_scores_the_others(histories: dict[str, pd.DataFrame]) -> None:
    row = features.newest([features.series_of(histories["BTCUSDT"])], 1, ("log_rms_1h",))
    moody = ModelSet(risk=LoadedModel("quantstream-risk", "7", features.FEATURE_HASH, Moody(float(row[0, 0, 0]))))
    odd, good = score(moody, histories, NOW)
    assert (odd.risk, odd.models) == (None, {})
    assert "risk: quantstream-risk 7 failed: RuntimeError: no leaf for this row" in odd.abstained
    assert (good.risk, "failed" in good.abstained) == (25.0, False)


def test_features_that_raise_for_one_symbol_leave_the_others(
    champions: ModelSet, histories: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, bad = features.newest, float(histories["BTCUSDT"]["close"].iloc[-1])

    def odd(series: list[features.Series], *more: object) -> object:
        if any(one.columns["close"][-1] == bad for one in series):
            raise IndexError("beyond the grid")
        return newest(series, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("ml.serving.feature_rows.features.newest", odd)
    left, good = score(champions, histories, NOW)
    assert "its features failed: IndexError: beyond the grid" in left.abstained
    assert (left.models, good.abstained) == ({}, "")


def test_the_revision_of_the_candle_is_named(champions: ModelSet, histories: dict[str, pd.DataFrame]) -> None:
    (plain,) = score(champions, {"BTCUSDT": histories["BTCUSDT"]}, NOW)
    (revised,) = score(champions, {"BTCUSDT": histories["BTCUSDT"].assign(revision=2)}, NOW)
    assert revised == msgspec.structs.replace(plain, revision=2)


def test_serving_imports_no_tensorflow_before_a_forecast_is_loaded() -> None:
    imports = "import sys, ml.serving.registry, ml.serving.scoring; "
    code = imports + "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
