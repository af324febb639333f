"""Datasets: pooled rows that are really known, split by time with nothing leaking over a boundary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.data import dataset, labels
from quantstream import features
from quantstream.core.errors import DataRejected
from tests.unit.ml import markets

NAMES = ("momentum_5m", "log_rms_24h")


@pytest.fixture(scope="module")
def data() -> dataset.Dataset:
    """Two symbols, the second with a gap."""
    return dataset.build(
        {"B": markets.candles(1500, 1).drop(index=range(700, 710)), "A": markets.candles(1500, 2)}, trailing=500
    )


def test_rows_are_pooled_by_symbol_and_time(data: dataset.Dataset) -> None:
    assert data.symbols == ("A", "B")
    assert np.bincount(data.symbol).tolist() == [1500, 1490]
    assert np.asarray(data.features).shape == (2990, len(features.NAMES))


@pytest.mark.parametrize("label", ["return_5m", "action", "abnormal"])
def test_no_label_reaches_over_a_boundary_and_the_embargo_is_kept(data: dataset.Dataset, label: str) -> None:
    rows = data.usable(NAMES, [label])
    parts = dataset.split(data, rows, label)
    starts = [int(data.opened_at[part].min()) for part in (parts.fit, parts.calibrate, parts.judge)]
    known = [int(labels.ends_at(data.opened_at[part], label).max()) for part in (parts.fit, parts.calibrate)]
    assert known[0] + dataset.EMBARGO * features.STEP_US <= starts[1]
    assert known[1] + dataset.EMBARGO * features.STEP_US <= starts[2]
    chosen = np.concatenate([parts.fit, parts.calibrate, parts.judge])
    assert len(np.unique(chosen)) == len(chosen)


def test_sequences_never_cross_a_gap_or_a_symbol(data: dataset.Dataset) -> None:
    rows = data.usable(NAMES, [], length=32)
    steps = rows[:, None] + np.arange(-31, 1)
    assert (np.ptp(data.symbol[steps], axis=1) == 0).all()
    assert (np.diff(data.opened_at[steps], axis=1) == features.STEP_US).all()
    windows = data.sequences(rows, NAMES, 32)
    assert windows.shape == (len(rows), 32, 2)
    assert np.isfinite(windows).all()
    assert np.array_equal(windows[:, -1], data.matrix(rows, NAMES))


def test_runs_count_known_rows_that_follow_each_other() -> None:
    known = np.array([True, True, False, True, True, True])
    follows = np.array([False, True, True, True, True, False])
    assert dataset.run_lengths(known, follows).tolist() == [1, 2, 0, 1, 2, 1]


def test_too_little_history_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataRejected, match="history_backfill"):
        dataset.build({})
    short = dataset.build({"A": markets.candles(320)})
    with pytest.raises(DataRejected, match="QUANTSTREAM_HISTORY_DAYS"):
        dataset.split(short, short.usable(features.NAMES, ["abnormal"]), "abnormal")
    with pytest.raises(DataRejected, match="too few"):
        dataset.split(short, short.usable(NAMES, ["action"])[:3], "action")


def test_thinning_is_repeatable_and_keeps_order() -> None:
    rows = np.arange(1000)
    kept = dataset.thin(rows, 100, seed=1)
    assert len(kept) == 100
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(kept, dataset.thin(rows, 100, seed=1))
    assert dataset.thin(rows, 1000, seed=1) is rows


@given(most=st.integers(0, 4000), known=st.lists(st.booleans(), min_size=2990, max_size=2990))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_of_some_symbols_all_rows_stay_and_of_the_others_none(
    data: dataset.Dataset, most: int, known: list[bool]
) -> None:
    rows = np.flatnonzero(known)
    kept = dataset.some_symbols(data, rows, most)
    assert len(kept) <= max(most, int(np.bincount(data.symbol[rows], minlength=2).max(initial=0)))
    symbols = np.unique(data.symbol[kept])
    assert np.array_equal(kept, rows[np.isin(data.symbol[rows], symbols)])
    assert len(symbols) > 0 or not len(rows)


def test_which_symbols_are_judged_hardly_changes_as_others_come() -> None:
    def chosen(count: int) -> set[str]:
        symbols = tuple(f"S{number:03d}" for number in range(count))
        empty = np.zeros(count * 10)
        at = np.arange(count * 10, dtype=np.int64)
        many = dataset.Dataset(symbols, np.repeat(np.arange(count), 10), at, empty, empty[:, None], {})
        return {symbols[i // 10] for i in dataset.some_symbols(many, np.arange(count * 10), 50).tolist()}

    few, more = chosen(100), chosen(101)
    assert len(few) == len(more) == 5
    assert len(few & more) >= 4


def test_a_calibration_part_that_knows_too_little_of_a_class_is_helped_out_by_what_was_fitted_on() -> None:
    split = dataset.Split(np.arange(1000), np.arange(1000, 2000), np.arange(2000, 2500))
    classes = np.zeros(2500)
    classes[:50] = classes[1000:1100] = 1.0
    assert dataset.calibrating(split, classes, 2) is split.calibrate
    classes[1050] = 0.0
    assert np.array_equal(dataset.calibrating(split, classes, 2), np.arange(2000))
    assert len(dataset.calibrating(split, classes * 2, 3)) == 2000  # the class between never came
