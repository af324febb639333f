"""Sums, extremes, means and quantiles over windows are right, and come from the window alone, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core import rolling
from quantstream.core.rolling import COVERAGE, STRICT_WINDOW

NAN = float("nan")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 60))
def test_window_sums_are_right_and_do_not_depend_on_where_the_array_starts(values: list[float], window: int) -> None:
    array = np.array(values)
    sums = rolling.window_sum(array, window)
    for i in range(len(array)):
        if i + 1 < window:
            assert np.isnan(sums[i])
        else:
            part = array[i + 1 - window : i + 1]
            assert sums[i] == pytest.approx(part.sum(), abs=1e-6)
            assert rolling.window_sum(part, window)[-1] == sums[i]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=90),
    st.integers(1, 60),
    st.integers(1, 90),
    st.integers(0, 2),
)
def test_the_last_rows_alone_and_side_by_side_equal_those_of_the_whole(
    values: list[float], window: int, rows: int, unknown: int
) -> None:
    array = np.array(values)
    array[:unknown] = np.nan
    both = np.stack([array, array[::-1]])
    rows = min(rows, len(array))
    for function in (rolling.window_sum, rolling.window_max):
        whole = np.stack([function(one, window) for one in both])
        assert np.array_equal(function(both, window, rows), whole[:, -rows:], equal_nan=True)
    whole = rolling.window_mean(array, window, unknown)
    assert np.array_equal(rolling.window_mean(array, window, unknown, rows), whole[-rows:], equal_nan=True)
    assert np.array_equal(rolling.lag(both, 2)[0], rolling.lag(array, 2), equal_nan=True)


def test_quantiles_of_the_last_rows_equal_those_of_all_rows() -> None:
    values = np.random.default_rng(1).normal(size=700)
    values[::17] = np.nan
    every = rolling.window_quantile(values, 500, 0.9)
    last = rolling.window_quantile(values, 500, 0.9, rows=40)
    assert last.shape == (40,)
    assert np.array_equal(every[-40:], last)
    whole = rolling.window_quantile(np.nan_to_num(values), 500, 0.9)
    both = rolling.window_quantile(np.stack([values, np.nan_to_num(values)]), 500, 0.9, rows=40)
    assert np.array_equal(both, np.stack([every, whole])[:, -40:])
    assert every[-1] == pytest.approx(np.nanquantile(values[-500:], 0.9), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 60))
def test_window_extremes_are_those_of_the_window(values: list[float], window: int) -> None:
    array = np.array(values)
    expected = [max(array[i + 1 - window : i + 1]) if i + 1 >= window else NAN for i in range(len(array))]
    assert np.array_equal(rolling.window_max(array, window), expected, equal_nan=True)


def test_a_lag_of_none_changes_nothing_and_of_some_begins_unknown() -> None:
    values = np.arange(4.0)
    assert rolling.lag(values, 0) is values
    assert np.array_equal(rolling.lag(values, 1), [NAN, 0.0, 1.0, 2.0], equal_nan=True)
    assert np.array_equal(rolling.lag(values, 3), [NAN, NAN, NAN, 0.0], equal_nan=True)


@pytest.mark.parametrize("window", [STRICT_WINDOW - 1, STRICT_WINDOW, STRICT_WINDOW + 2, 100])
def test_a_mean_is_known_where_enough_of_its_window_is(window: int) -> None:
    """Of four hours all, of more nine tenths."""
    fewest = window if window <= STRICT_WINDOW else int(np.ceil(COVERAGE * window))
    for unknown in range(window - fewest + 2):
        values = np.arange(1.0, window + 1)
        values[:unknown] = NAN
        mean = rolling.window_mean(values, window)
        assert np.isnan(mean[:-1]).all()
        assert mean[-1] == pytest.approx(np.nanmean(values)) if window - unknown >= fewest else np.isnan(mean[-1])


@pytest.mark.parametrize("unknown", [0, 1, 3])
def test_a_mean_over_what_is_undefined_at_the_start_is_unknown(unknown: int) -> None:
    values = np.arange(1.0, 201.0)
    values[:unknown] = NAN
    for rows in (None, 150, 60, 1, 500):
        mean = rolling.window_mean(values, 100, unknown, rows)
        whole = [NAN] * (99 + unknown) + [values[i - 99 : i + 1].mean() for i in range(99 + unknown, 200)]
        assert np.allclose(mean, whole[-len(mean) :], rtol=1e-12, atol=0, equal_nan=True)
        assert len(mean) == min(rows or 200, 200)


def test_quantiles_lie_linearly_between_the_known_values_and_need_enough_of_them() -> None:
    assert rolling.quantiles(np.array([4.0, 1.0, 3.0, 2.0]), 0.5) == 2.5
    assert rolling.quantiles(np.array([4.0, 1.0, 3.0, 2.0]), 1 / 3) == 2.0
    assert rolling.quantiles(np.array([4.0, 1.0]), 1.0) == 4.0
    ten = np.array([*range(1, 10), NAN])
    assert rolling.quantiles(ten, 0.25) == 3.0
    assert np.isnan(rolling.quantiles(np.array([*range(1, 9), NAN, NAN]), 0.5))
    both = rolling.quantiles(np.stack([ten, ten[::-1] + 1]), 0.25)
    assert np.array_equal(both, [3.0, 4.0])
    assert np.shape(rolling.quantiles(ten, 0.25)) == ()
    cube = np.stack([np.stack([ten, ten + 1]), np.stack([ten + 2, ten[::-1] + 3])])
    assert np.array_equal(rolling.quantiles(cube, 0.25), [[3.0, 4.0], [5.0, 6.0]])
    known = np.array([[4.0, 1.0, 3.0, 2.0], [90.0, 60.0, 70.0, 80.0]])
    assert np.array_equal(rolling.quantiles(known, 0.5), [2.5, 75.0])
    assert np.array_equal(rolling.quantiles(known, 1 / 3), [2.0, 70.0])


@pytest.mark.parametrize("rows", [None, 3, 20])
def test_quantiles_of_windows_begin_with_the_first_whole_one_that_is_defined(rows: int | None) -> None:
    values = np.arange(12.0)
    found = rolling.window_quantile(values, 10, 0.5, unknown=1, rows=rows)
    whole = [NAN] * 10 + [5.5, 6.5]
    whole[10] = 5.5
    assert np.array_equal(found, whole[-len(found) :], equal_nan=True)
    assert np.isnan(rolling.window_quantile(values, 13, 0.5, rows=rows)).all()
    assert rolling.window_quantile(values[:10], 10, 0.5, rows=rows)[-1] == 4.5


@pytest.mark.parametrize("unknown", [0, 1, 3])
@pytest.mark.parametrize("rows", [None, 60, 1])
def test_a_long_window_with_an_outage_in_it_has_a_mean_once_it_is_past_what_is_undefined(
    unknown: int, rows: int | None
) -> None:
    values = np.arange(1.0, 201.0)
    values[:unknown] = values[150] = NAN
    mean = rolling.window_mean(values, 100, unknown, rows)
    whole = [NAN] * (99 + unknown) + [np.nanmean(values[i - 99 : i + 1]) for i in range(99 + unknown, 200)]
    assert np.allclose(mean, whole[-len(mean) :], rtol=1e-12, atol=0, equal_nan=True)


def test_a_window_over_the_undefined_start_is_unknown_though_most_of_it_is_known() -> None:
    values = np.arange(1.0, 201.0)
    values[0] = values[50] = NAN
    mean = rolling.window_mean(values, 100, unknown=1)
    assert (np.isnan(mean[99]), mean[100]) == (True, pytest.approx(np.nanmean(values[1:101])))


def test_a_window_of_which_nothing_is_known_is_unknown_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(rolling.window_mean(np.full(60, NAN), 50)).all()


def test_a_quantile_over_all_rows_needs_as_much_of_its_window_as_that_of_one_row() -> None:
    values = np.arange(40.0)
    values[[20, 22]] = NAN  # two of ten are too many, one is not
    every, last = (rolling.window_quantile(values, 10, 0.5, rows=rows) for rows in (None, 31))
    assert np.array_equal(every[-31:], last, equal_nan=True)
    assert np.isnan(last).tolist() == [13 <= place <= 20 for place in range(31)]
