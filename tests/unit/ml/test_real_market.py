"""The models on real candles and trades: at least what a simple mind would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data import dataset, trade_features
from ml.evaluation import fat_fingers
from ml.models import anomaly, risk, signal
from ml.models.anomaly import AnomalyModel
from ml.training import train
from quantstream import features
from quantstream.core.trade import Trade
from streaming.recordings.readers import read_trades
from tests.unit.ml import markets

pytestmark = [pytest.mark.data, pytest.mark.slow]
ROWS = 60_000  # of two symbols: half a year each


@pytest.fixture(scope="module")
def real(data: Path) -> dataset.Dataset:
    """The last seven months of BTC and ETH."""
    frames = {}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        frame = pd.read_parquet(data / "klines_5m" / f"{symbol}_5m.parquet").rename(columns={"open_time": "opened_at"})
        frames[symbol] = frame.iloc[-ROWS:].reset_index(drop=True)
    return dataset.build(frames)


@pytest.fixture(scope="module")
def task_of_risk(real: dataset.Dataset) -> train.Task:
    """What the risk model learns from."""
    return train.prepare("risk", real)


@pytest.fixture(scope="module")
def model_of_risk(task_of_risk: train.Task) -> risk.RiskModel:
    """The risk model of these candles."""
    return risk.fit(task_of_risk.data, task_of_risk.split)


def test_risk_beats_the_har_logit_on_held_out_real_candles(
    task_of_risk: train.Task, model_of_risk: risk.RiskModel
) -> None:
    figures = train.judge(task_of_risk, model_of_risk).metrics
    assert figures["auc"] > figures["auc_har"] > 0.75
    assert figures["brier"] < figures["brier_har"] < figures["brier_base"]
    assert figures["ece"] < 0.03


def test_after_a_crash_among_real_candles_the_risk_is_high(model_of_risk: risk.RiskModel, data: Path) -> None:
    frame = pd.read_parquet(data / "klines_5m" / "BTCUSDT_5m.parquet").rename(columns={"open_time": "opened_at"})
    for until, most, least in (("2024-03-10 03:00", 0.1, 0.4), ("2024-03-05 12:00", 0.4, 0.8)):  # dead calm, and not
        past = frame[frame["opened_at"] < until].tail(features.WARMUP + 20)
        before, after = (
            float(model_of_risk.predict(features.compute(candles, rows=1).to_numpy()[None])[0])
            for candles in (past, markets.crash(past))
        )
        assert before < most
        assert after > least


def test_a_short_history_has_lines_alone(real: dataset.Dataset, task_of_risk: train.Task) -> None:
    task = task_of_risk
    days = {
        count: train.Task("risk", real, dataset.Split(task.split.fit[-count:], *_late(task)))
        for count in (3_000, 20_000)
    }
    shares = {
        count: {view: mix.shares for view, mix in risk.fit(one.data, one.split).mixes.items()}
        for count, one in days.items()
    }
    assert shares == {3_000: {"levels": (1.0,)}, 20_000: dict.fromkeys(risk.VIEWS, (1.0,))}


def _late(task: train.Task) -> tuple[dataset.Rows, dataset.Rows]:
    return task.split.calibrate[-3_000:], task.split.judge


def test_signal_beats_base_rates_and_mostly_abstains_on_held_out_real_candles(real: dataset.Dataset) -> None:
    task = train.prepare("signal", real)
    figures = train.judge(task, signal.fit(task.data, task.split)).metrics
    assert figures["log_loss"] < figures["log_loss_base"]
    assert figures["ece"] < 0.05
    assert figures["hold_share"] > 0.9


@pytest.fixture(scope="module")
def trades(data: Path) -> list[Trade]:
    """Six minutes of real trades of two symbols in order of time."""
    files = [data / "trades" / f"{symbol}-trades-2024-08-08_2354-2400.csv.gz" for symbol in ("BTCUSDT", "ETHUSDT")]
    found = [trade for file in files for trade in read_trades(file)]
    return sorted(found, key=lambda trade: (trade.traded_at, trade.symbol, trade.id))


def test_every_injected_fat_finger_is_found_among_real_trades(trades: list[Trade], real: dataset.Dataset) -> None:
    early, late = train.parts_of_trades(trades)
    candle_rows = real.matrix(real.usable(anomaly.NAMES, [])[-5000:], anomaly.NAMES)
    model = anomaly.fit(trade_features.rows(early), candle_rows)
    assert isinstance(model, AnomalyModel)
    figures, _ = fat_fingers.trial(model, late, np.random.default_rng(0))
    assert figures["fat_fingers"] >= 5
    assert figures["fat_finger_recall"] == 1.0
    assert figures["false_alarms_per_100k"] < 100
