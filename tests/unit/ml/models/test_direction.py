"""Which way the usual hour goes, which way the tails lean, and what an action is expected to earn, on all outcomes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ml.data import dataset, labels
from ml.evaluation import evaluate
from ml.models import base, signal
from ml.models.parts import middle, thresholds
from ml.models.signal import SignalModel, SignalOptions
from ml.training import train
from quantstream.core.rolling import Floats
from tests.unit.ml import markets

WIDTH = float(labels.barrier(np.array([0.002]))[0])
CANDLES = 9_000


def rows_of(momenta: Floats) -> Floats:
    """Rows of features whose barrier is `WIDTH`, with the last hour's momentum."""
    rows = np.zeros((len(momenta), len(signal.NAMES)))
    rows[:, signal.NAMES.index(signal.UNIT)] = np.log(0.002)
    rows[:, signal.NAMES.index("momentum_1h")] = momenta
    return rows


def hours(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Momenta, and hours between the barriers that go against the momentum of the last, in barriers."""
    momenta = np.zeros((count, len(middle.NAMES)))
    momenta[:, middle.NAMES.index("momentum_1h")] = rng.normal(0, 1, count)
    up = rng.random(count) < 1 / (1 + np.exp(0.8 * momenta[:, 2]))
    return momenta, np.where(up, 1, -1) * rng.uniform(0, 1, count)


def test_the_expected_return_is_what_buying_earns_on_all_rows_those_that_touch_no_barrier_included() -> None:
    rng, count = np.random.default_rng(0), 200_000
    momenta, usual = hours(count, rng)
    found = middle.fit(*hours(count, rng))
    assert found is not None
    shares = np.tile([0.2, 0.55, 0.25], (count, 1))
    outcome = rng.choice(3, count, p=shares[0])
    came = np.where(outcome == labels.HOLD, usual, outcome - 1.0) * WIDTH
    said = signal.expected(rows_of(momenta[:, 2]), shares, found)
    for part in (momenta[:, 2] > 1, momenta[:, 2] < -1, np.ones(count, dtype=bool)):
        assert abs(said[part].mean() - came[part].mean()) < 4 * came.std() / np.sqrt(part.sum())
    without = signal.expected(rows_of(momenta[:, 2]), shares, None)
    rose = momenta[:, 2] > 1
    assert without[rose].mean() > 0 > came[rose].mean()  # the tails alone have the wrong sign there


def test_hours_that_mostly_rise_do_not_teach_that_hours_rise() -> None:
    rng = np.random.default_rng(1)
    momenta = rng.normal(0, 1, (20_000, len(middle.NAMES)))
    found = middle.fit(momenta, np.where(rng.random(20_000) < 0.6, 0.5, -0.5))
    assert found is not None
    assert found.up(np.zeros((1, len(middle.NAMES)))) == pytest.approx(0.5)
    assert found.up(momenta) + found.up(-momenta) == pytest.approx(np.ones(20_000))


@pytest.mark.parametrize("rose", [0, middle.FEWEST - 1])
def test_too_few_hours_either_way_tell_no_direction(rose: int) -> None:
    moved = np.full(5_000, -0.5)
    moved[:rose] = 0.5
    assert middle.fit(np.zeros((5_000, len(middle.NAMES))), moved) is None
    assert middle.fit(np.zeros((10, len(middle.NAMES))), np.zeros(10)) is None


@pytest.fixture(scope="module")
def task() -> train.Task:
    """A market whose usual hour goes against the last one, while its far moves go with it."""
    frames = {"BTCUSDT": markets.pulled_back(CANDLES, 1), "ETHUSDT": markets.pulled_back(CANDLES, 2, 3000.0)}
    return train.prepare("signal", dataset.build(frames, trailing=2000))


@pytest.fixture(scope="module")
def model(task: train.Task) -> SignalModel:
    return signal.fit(task.data, task.split, SignalOptions(rounds=20))


def said(model: SignalModel, read: Floats, shares: Floats) -> Floats:
    """The chance of ending higher, and the expected return: (2, rows)."""
    up, gain = model.usually_up(read, shares), model.expected(read, shares)
    assert up is not None
    assert gain is not None
    return np.stack([up, gain])


@pytest.mark.slow
def test_the_usual_direction_goes_with_the_next_hour_where_the_tails_go_with_the_last(
    task: train.Task, model: SignalModel
) -> None:
    read = evaluate.windows_of(model, task.data, task.split.judge)
    shares = model.predict(read)
    up, _ = said(model, read, shares)
    assert ((up > 0) & (up < 1)).all()
    hour = read[:, -1, signal.NAMES.index("momentum_1h")]
    assert np.corrcoef(up, hour)[0, 1] < 0
    found = evaluate.judge_signal(model, task.data, task.split, 0.001).metrics
    assert found["rank_ic_1h"] > found["rank_ic_1h_tails"]
    assert found["rank_ic_1h_low"] > 0
    assert found["rank_ic_action_tails"] > 0


@pytest.mark.slow
def test_a_signal_keeps_its_direction_and_its_thresholds_in_files_that_name_no_costs(
    task: train.Task, model: SignalModel, tmp_path: Path
) -> None:
    base.save(model, tmp_path / "signal")
    loaded = base.load(tmp_path / "signal")
    assert isinstance(loaded, SignalModel)
    read = evaluate.windows_of(model, task.data, task.split.judge[:301])
    shares = model.predict(read)
    assert np.array_equal(said(loaded, read, shares), said(model, read, shares))
    for cost in (0.0, 0.0001, 0.0005, 0.002):
        assert loaded.actions(read, shares, cost) == model.actions(read, shares, cost)
    assert "needed" not in json.loads((tmp_path / "signal" / base.MANIFEST).read_text())["state"]


@pytest.mark.slow
def test_directions_of_rows_do_not_influence_each_other(task: train.Task, model: SignalModel) -> None:
    read = evaluate.windows_of(model, task.data, task.split.judge[:301])
    shares = model.predict(read)
    together = said(model, read, shares)
    assert np.array_equal(np.hstack([said(model, read[i : i + 1], shares[i : i + 1]) for i in range(301)]), together)


@pytest.mark.slow
def test_a_signal_of_before_loads_serves_and_says_nothing_of_the_usual_hour(
    task: train.Task, model: SignalModel, tmp_path: Path
) -> None:
    before = dataclasses.replace(model, asks=thresholds.Fixed(0.002), middle=None)
    base.save(before, tmp_path / "signal")
    state = json.loads((tmp_path / "signal" / base.MANIFEST).read_text())["state"]
    assert set(state) == {"lines", "members", "shares", "calibrator", "needed"}  # as releases of before wrote it
    loaded = base.load(tmp_path / "signal")
    assert isinstance(loaded, SignalModel)
    read = evaluate.windows_of(model, task.data, task.split.judge)
    shares = loaded.predict(read)
    assert np.array_equal(shares, model.predict(read))
    assert (loaded.usually_up(read, shares), loaded.expected(read, shares)) == (None, None)
    found = evaluate.judge_signal(loaded, task.data, task.split).metrics
    assert "rank_ic_1h" not in found
    assert found["rank_ic_1h_tails"] == pytest.approx(
        evaluate.judge_signal(model, task.data, task.split).metrics["rank_ic_1h_tails"]
    )
