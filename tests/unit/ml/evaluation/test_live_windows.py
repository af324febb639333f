"""What a model would have read live: equal to the table to the last bit, and changed only as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.data.dataset import Dataset
from ml.evaluation import live_windows
from ml.evaluation.live_windows import LiveWindows
from quantstream import features
from tests.unit.ml.training import planted

LENGTH = 3


@pytest.fixture(scope="module")
def rows(dataset_of_two: Dataset) -> np.ndarray:
    usable = dataset_of_two.usable(features.NAMES, (), LENGTH)
    return live_windows.choose(dataset_of_two, usable)


@pytest.fixture(scope="module")
def live(dataset_of_two: Dataset, rows: np.ndarray, candles: dict[str, pd.DataFrame]) -> LiveWindows:
    return live_windows.look(dataset_of_two, rows, candles, LENGTH)


def test_what_is_computed_from_the_past_alone_is_what_the_table_has(
    dataset_of_two: Dataset, rows: np.ndarray, live: LiveWindows
) -> None:
    assert len(rows) == live_windows.PLACES
    assert np.array_equal(live.plain, dataset_of_two.sequences(rows, features.NAMES, LENGTH))
    assert live_windows.differing(dataset_of_two, live, features.NAMES) == {}


def test_a_feature_that_saw_the_future_differs_and_is_named_with_both_numbers(
    dataset_of_two: Dataset, live: LiveWindows
) -> None:
    found = live_windows.differing(planted.leaky(dataset_of_two), live, features.NAMES)
    assert list(found) == [planted.LEAKY]
    assert " was learnt from, " in found[planted.LEAKY]
    assert live_windows.differing(planted.leaky(dataset_of_two), live, ("momentum_5m",)) == {}


def test_what_32_bits_keep_of_a_number_is_the_same_number(dataset_of_two: Dataset, live: LiveWindows) -> None:
    rounded = replace(
        dataset_of_two, features=np.asarray(dataset_of_two.features).astype(np.float32).astype(np.float64)
    )
    assert live_windows.differing(rounded, live, features.NAMES) == {}


def test_other_prices_leave_the_features_and_wilder_moves_raise_the_volatility(live: LiveWindows) -> None:
    assert np.allclose(live.dearer, live.plain, rtol=1e-6, atol=1e-9)
    volatility = features.NAMES.index("log_rms_6h")
    assert (live.wilder[:, -1, volatility] > live.plain[:, -1, volatility] + 0.5 * np.log(live_windows.WILDER)).all()
