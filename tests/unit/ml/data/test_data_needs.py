"""What a person is told that models need is what they need."""

from __future__ import annotations

import math

import pytest

from ml.data import dataset, labels
from ml.data.data_needs import NEEDED, shortfall
from ml.models import anomaly, forecast, risk, signal
from ml.training import train
from quantstream import features
from quantstream.core.errors import DataRejected
from tests.unit.ml import markets

READS = {
    "anomaly": (anomaly.NAMES, 1, forecast.LABELS[0]),
    "signal": (signal.NAMES, 1, signal.LABEL),
    "forecast": (forecast.NAMES, forecast.LENGTH, forecast.LABELS[-1]),
    "risk": (risk.NAMES, 1, risk.LABEL),
}


def test_the_numbers_follow_from_the_models() -> None:
    for kind, (names, length, label) in READS.items():
        back = max(features.DEFINITIONS[name].back for name in names) + length - 1
        ahead = labels.HORIZON[label]
        span = math.ceil((dataset.EMBARGO + ahead + 1) / dataset.SHARES[1])
        assert NEEDED[kind] == pytest.approx(back + span + 1 + ahead, abs=8), kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(NEEDED))
def test_so_many_can_be_split_and_a_few_less_cannot(kind: str) -> None:
    frame = markets.candles(NEEDED[kind], seed=1)
    assert len(train.prepare(kind, dataset.build({"A1": frame})).split.calibrate)
    with pytest.raises(DataRejected):
        train.prepare(kind, dataset.build({"A1": frame.iloc[30:]}))


def test_it_is_said_how_much_there_is_and_how_much_it_would_take() -> None:
    assert shortfall(10_000) == ""
    assert shortfall(40) == (
        "no model can learn from 40 candles of 5 minutes (0.1 days); needed are for anomaly 436 (1.5 days), "
        "signal 559 (1.9 days), forecast 8,360 (29.0 days), risk 8,918 (31.0 days)"
    )
    assert shortfall(600).startswith("forecast and risk cannot learn from 600 candles of 5 minutes (2.1 days)")
