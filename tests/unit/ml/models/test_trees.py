"""Trees of rows that come in batches from disk are the trees of all rows at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml.data import dataset
from ml.models import signal
from ml.models.parts import trees
from ml.models.signal import SignalOptions
from ml.training import train
from quantstream.core.rolling import Floats
from tests.unit.ml import markets

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(12_000, 5))
TARGETS = (ROWS[:, 0] * ROWS[:, 1] + RNG.normal(size=len(ROWS)) > 0).astype(float)
NAMES = tuple("abcde")


@pytest.mark.parametrize("size", [700, 5_000, 12_000])
def test_trees_of_batches_are_those_of_all_rows_at_once_and_leave_nothing_on_disk(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def batches() -> Iterator[tuple[Floats, Floats]]:
        for start in range(0, len(ROWS), size):
            yield ROWS[start : start + size], TARGETS[start : start + size]

    whole = trees.fit(ROWS, TARGETS, NAMES, 30, 7, objective="binary:logistic", max_depth=3, eta=0.1)
    parted = trees.fit_batches(batches, NAMES, 30, 7, objective="binary:logistic", max_depth=3, eta=0.1)
    assert parted.booster.get_dump(dump_format="json") == whole.booster.get_dump(dump_format="json")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_to_learn_from_more_rows_than_fit_memory_has_the_same_trees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = dataset.build({"BTCUSDT": markets.candles(5_000, 1)}, trailing=300)
    task = train.prepare("signal", data)
    options = SignalOptions(rounds=5, min_child_weight=20, most_rows=10_000)
    whole = signal._ensemble(data, task.split.fit, options)
    monkeypatch.setattr(signal, "MOST_AT_ONCE", 500)
    parted = signal._ensemble(data, task.split.fit, options)
    dumps = [one.members[0].trees.booster.get_dump(dump_format="json") for one in (whole, parted)]
    assert dumps[0] == dumps[1]
    assert parted.lines.weights.shape == whole.lines.weights.shape
    assert not np.array_equal(parted.lines.weights, whole.lines.weights)  # they learn from an even share
