"""What counts as another look at the same rows, and what is left of an edge after many."""

from __future__ import annotations

import json
from math import sqrt

import msgspec
import numpy as np
import pytest

from ml.data.dataset import Dataset
from ml.looks.counting import counted, deflation, sharpes_of
from ml.looks.deflation import deflated, deflated_sharpe, expected_best, stretch
from ml.looks.look import came_out, of_rows
from ml.looks.table import Record, Written
from quantstream import features
from tests.unit.ml.looks.lines import look


def count(before: list, now) -> tuple[int, int]:  # type: ignore[no-untyped-def,type-arg]
    found = counted(Written([now], Record(before)), now)
    return found["number"], found["tried"]


def test_looks_at_some_of_the_same_candles_by_the_same_kind_count() -> None:
    assert count([], look()) == (1, 1)
    assert count([look("a"), look("b")], look("c")) == (3, 3)
    assert count([look("a"), look("b"), look("a")], look("b")) == (4, 2)
    assert count([look("a", days=(30, 60))], look("b", days=(0, 30))) == (2, 2)  # they share the last candle
    assert count([look("a", days=(31, 60))], look("b", days=(0, 30))) == (1, 1)
    assert count([look("a", symbols="ETHUSDT")], look("b")) == (1, 1)
    assert count([look("a", symbols="ETHUSDT BTCUSDT")], look("b")) == (2, 2)
    assert count([look("a", kind="signal")], look("b")) == (1, 1)


def test_a_candidate_is_told_by_what_came_of_it() -> None:
    losses = np.random.default_rng(3).random(1000)
    assert came_out({"brier": losses}) == came_out({"brier": losses * (1 + 1e-15)})
    assert came_out({"brier": losses}) != came_out({"brier": losses * (1 + 1e-6)})
    assert came_out({"brier": losses}) != came_out({"log_loss": losses})


def test_rows_are_told_by_symbol_time_and_price_whatever_else_is_in_the_data() -> None:
    at = np.tile(np.arange(10, dtype=np.int64) * features.STEP_US, 2)
    close = np.arange(20, dtype=np.float64) + 1
    nothing = np.zeros((20, len(features.NAMES)))
    both = Dataset(("A", "B"), np.repeat([0, 1], 10), at, close, nothing, {})
    alone = Dataset(("B",), np.zeros(10, dtype=np.intp), at[10:], close[10:], nothing[10:], {})
    found, again = of_rows(both, np.array([15, 12], dtype=np.intp)), of_rows(alone, np.array([2, 5], dtype=np.intp))
    assert found == again
    assert (found["symbols"], found["rows"]) == (("B",), 2)
    assert of_rows(both, np.array([5, 2], dtype=np.intp))["data_hash"] != found["data_hash"]


def test_bounds_widen_by_bonferroni() -> None:
    pooled = {
        "auc_gain": 0.03,
        "auc_gain_low": 0.02,
        "auc_gain_high": 0.05,
        "auc": 0.9,
        "x": 1.0,
        "x_low": np.nan,
        "x_high": 2.0,
    }
    assert stretch(1) == 1
    assert deflated(pooled, 1) == {"auc_gain": [pytest.approx(0.02), pytest.approx(0.05)]}
    found = deflated(pooled, 100)["auc_gain"]
    assert found == [pytest.approx(0.03 - 0.01 * 1.77596, abs=1e-6), pytest.approx(0.03 + 0.02 * 1.77596, abs=1e-6)]


def test_the_best_of_many_worthless_candidates_seems_to_have_an_edge_only_before_deflation() -> None:
    rng, tried, rows = np.random.default_rng(5), 40, 2000
    alone = after = 0
    for _ in range(rows):
        best = float(rng.standard_normal(tried).max())
        alone += best - 1.96 > 0
        after += deflated({"x": best, "x_low": best - 1.96, "x_high": best + 1.96}, tried)["x"][0] > 0
    assert alone / rows > 0.5
    assert after / rows <= 0.05


def test_the_deflated_sharpe_ratio_is_that_of_the_paper() -> None:
    """Bailey & López de Prado 2014: an annual 2.5 of 1,250 days, best of 100 whose variance is 1/2, is 0.9004 sure."""
    luck = expected_best(100, sqrt(0.5 / 250))
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(2.5 / sqrt(250), 1250, 100, sqrt(0.5 / 250), -3, 10) == pytest.approx(0.9004, abs=5e-4)
    assert deflated_sharpe(0.1, 1250, 1) > deflated_sharpe(0.1, 1250, 10) > deflated_sharpe(0.1, 1250, 100)


def test_sharpe_ratios_are_deflated_by_the_spread_of_those_tried() -> None:
    def with_sharpe(candidate: str, sharpe: float):  # type: ignore[no-untyped-def]
        return msgspec.structs.replace(look(candidate), figures=json.dumps({"sharpe": sharpe}))

    now = with_sharpe("c", 0.1)
    written = Written([now], Record([with_sharpe("a", -0.05), with_sharpe("b", 0.0), look("d")]))
    sharpes = sharpes_of(written, now)
    assert sharpes == [-0.05, 0.0, 0.1]
    pooled = {"sharpe": 0.1, "sharpe_periods": 300.0}
    found = deflation(pooled, counted(written, now), sharpes)
    assert found["tried"] == 4
    assert found["deflated_sharpe"] == pytest.approx(deflated_sharpe(0.1, 300, 4, float(np.std(sharpes, ddof=1))))
