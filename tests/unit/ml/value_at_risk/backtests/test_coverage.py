"""Coverage: exceedances counted right, the textbook's tests as the textbook has them, and bounds that know of clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from ml.value_at_risk.backtests.coverage import christoffersen, joint_loss, judge, kupiec
from quantstream.core.time import DAY, HOUR

RNG = np.random.default_rng(7)
HOURS = 24 * 120
AT = np.arange(HOURS, dtype=np.int64) * HOUR
VALUE, SHORTFALL = stats.t(5).ppf(0.95), stats.t(5).expect(lb=stats.t(5).ppf(0.95), conditional=True)


def told(losses: np.ndarray, value: float = VALUE, shortfall: float = SHORTFALL, step: int = 1):
    return judge(losses, np.full(losses.shape, value), np.full(losses.shape, shortfall), 0.95, AT, step, DAY)


def test_what_is_right_holds_and_what_is_a_quarter_too_low_does_not() -> None:
    losses = RNG.standard_t(5, (2, HOURS))
    right, low = told(losses), told(losses, VALUE * 0.75, SHORTFALL * 0.75)
    assert right.holds(0.95)
    assert (right.windows, right.exceeded) == (2 * HOURS, int((losses > VALUE).sum()))
    assert right.kupiec_p > 0.01
    assert right.shortfall_low < 0 < right.shortfall_high
    assert low.low > 0.05
    assert low.kupiec_p < 0.001
    assert low.shortfall_low > 0


def test_in_a_market_of_clusters_the_bootstrap_is_wider_than_the_textbook_and_the_clusters_are_seen() -> None:
    size = np.repeat(np.exp(RNG.normal(0, 0.8, HOURS // 48)), 48)
    calm = told(RNG.standard_t(5, (1, HOURS)))
    common = RNG.standard_t(5, HOURS) * size
    losses = np.stack([common, common * 1.01])  # two symbols that move as one
    value = float(np.quantile(losses, 0.95))
    wild = told(losses, value, value * 1.5)
    assert wild.clustering > 1.5 > calm.clustering
    assert wild.christoffersen_p < 0.01 < calm.christoffersen_p
    textbook = 2 * 1.96 * np.sqrt(0.05 * 0.95 / wild.windows)
    assert wild.high - wild.low > 2 * textbook


def test_what_was_not_told_or_is_not_known_yet_does_not_count() -> None:
    losses = np.full((1, HOURS), np.nan)
    losses[0, : 24 * 10] = 1000.0
    found = told(losses)
    assert (found.windows, found.exceeded, found.share) == (240, 240, 1.0)
    none = judge(losses, np.full(losses.shape, np.nan), np.full(losses.shape, np.nan), 0.95, AT, 1, DAY)
    assert (none.windows, none.exceeded) == (0, 0)
    assert np.isnan(none.share)


def test_three_blocks_are_too_few_to_draw_bounds_from() -> None:
    losses = np.full((1, HOURS), np.nan)
    losses[0, : 24 * 3] = RNG.standard_t(5, 24 * 3)
    found = told(losses)
    assert np.isnan(found.low)
    assert not found.holds(0.95)


def test_windows_that_overlap_are_seen_once_by_the_textbook_s_tests() -> None:
    daily = np.repeat((RNG.random(HOURS // 24) < 0.05).astype(float), 24)[None, :] * 10
    assert told(daily, step=24).kupiec_p == kupiec(int((daily[0, ::24] > VALUE).sum()), HOURS // 24, 0.95)


@pytest.mark.parametrize(
    ("exceeded", "windows", "level"), [(7, 255, 0.99), (0, 255, 0.99), (30, 400, 0.95), (255, 255, 0.99)]
)
def test_kupiec_is_the_likelihood_ratio(exceeded: int, windows: int, level: float) -> None:
    own = stats.binom.logpmf(exceeded, windows, exceeded / windows)
    ratio = 2 * (own - stats.binom.logpmf(exceeded, windows, 1 - level))
    assert kupiec(exceeded, windows, level) == pytest.approx(float(stats.chi2(1).sf(ratio)), abs=1e-9)


def test_christoffersen_is_the_likelihood_ratio_of_what_follows_on_what() -> None:
    hits = RNG.random((1, 500)) < 0.1
    before, after = hits[0, :-1], hits[0, 1:]

    def likelihood(share: float, count: int, size: int) -> float:
        return count * np.log(share) + (size - count) * np.log(1 - share)

    counted = (before & after, before, ~before & after, ~before)
    n11, n1, n01, n0 = (int(one.sum()) for one in counted)
    apart = likelihood(n11 / n1, n11, n1) + likelihood(n01 / n0, n01, n0)
    ratio = 2 * (apart - likelihood((n11 + n01) / 499, n11 + n01, 499))
    assert christoffersen(hits, np.ones_like(hits)) == pytest.approx(float(stats.chi2(1).sf(ratio)), abs=1e-9)
    assert np.isnan(christoffersen(np.zeros((1, 50), dtype=bool), np.ones((1, 50), dtype=bool)))


def test_the_joint_loss_is_least_where_both_numbers_are_right() -> None:
    losses = RNG.standard_t(5, 400_000)
    mean = {
        (a, b): float(
            joint_loss(losses, np.full(losses.shape, VALUE * a), np.full(losses.shape, SHORTFALL * b), 0.95).mean()
        )
        for a, b in ((1, 1), (0.8, 1), (1.2, 1), (1, 0.85), (1, 1.2), (0.8, 0.8), (1.3, 1.3))
    }
    assert min(mean, key=mean.__getitem__) == (1, 1)
