"""The drift alarm: false no oftener than it says over months, of blocks that resemble each other, too; a change is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter  # type: ignore[import-untyped]

from ml.monitoring.blocks import martingale
from ml.monitoring.blocks.martingale import ALPHA, FEWEST, evidence, innovations, of_reference, p_values, strangeness
from quantstream.core.rolling import Floats

Make = Callable[[np.random.Generator, int], Floats]
REFERENCE, LIVE, RUNS = 60, 360, 150  # blocks: 15 days that a version was fitted on, 90 that it serves
SURE = 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)  # of a share of RUNS that is ALPHA


WILD = 0.45  # standard deviation of the log of real candles' strangeness
FOURFOLD = float(np.log(4))


def resembling(*slopes: float) -> Make:
    return lambda rng, count: lfilter([1.0], [1, *(-one for one in slopes)], rng.normal(size=count + 300))[300:]


MARKETS: dict[str, Make] = {
    "exchangeable": lambda rng, count: rng.normal(size=count),
    "alike by 0.6": resembling(0.6),
    "alike by 0.9": resembling(0.9),
    "alike over a day, as real candles' strangeness": resembling(0.4, 0.15, 0.05, 0.2),
    "heavy tails": lambda rng, count: lfilter([1.0], [1, -0.6], rng.standard_t(4, size=count)),
}


TOO_MUCH_ALIKE = ("alike by 0.9",)  # of them nothing is said


def logs(values: Floats) -> Floats:
    """Values as wild as the logs of real candles' strangeness."""
    return np.asarray(WILD * (values - values.mean()) / values.std())


def test_false_alarms_over_ninety_days_stay_within_the_bound() -> None:
    shares = {}
    for name, market in MARKETS.items():
        rng = np.random.default_rng(1)
        each = [evidence(logs(market(rng, REFERENCE + LIVE)), REFERENCE, seed) for seed in range(RUNS)]
        shares[name] = float(np.mean([(one >= 1 / ALPHA).any() for one in each]))
    assert max(shares.values()) <= ALPHA + SURE, shares
    assert np.mean(list(shares.values())) <= ALPHA, shares


@pytest.mark.parametrize("name", [name for name in MARKETS if name not in TOO_MUCH_ALIKE])
@pytest.mark.parametrize(("reference", "missed"), [(60, 0.6), (240, 0.35)])
def test_strangeness_that_grows_fourfold_is_found_within_a_day(name: str, reference: int, missed: float) -> None:
    rng, late = np.random.default_rng(2), []
    for seed in range(40):
        values = logs(MARKETS[name](rng, reference + 8))
        values[reference:] += FOURFOLD
        found = np.flatnonzero(evidence(values, reference, seed) >= 1 / ALPHA)
        late.append(not len(found) or found[0] >= martingale.IN_A_DAY)
    assert np.mean(late) <= missed


def test_p_values_of_exchangeable_values_are_uniform_and_repeatable() -> None:
    values = np.random.default_rng(3).integers(0, 20, 4000).astype(np.float64)  # with many ties
    found = p_values(values, 100, 7)
    assert np.array_equal(found, p_values(values, 100, 7))
    counts, _ = np.histogram(found, 10, (0, 1))
    assert np.abs(counts / len(found) - 0.1).max() < 0.02


def test_the_game_is_fair() -> None:
    """The mean capital after a bet on a uniform p is what it was before, a little less where p is cut; p = u¹⁰ for its tail."""
    u = (np.arange(4000) + 0.5) / 4000
    for before in ([], [0.01], [0.5, 0.9]):
        start = martingale.capital(np.array(before))[-1] if before else 1.0
        after = np.array([martingale.capital(np.array([*before, one**10]))[-1] for one in u])
        assert 0.9 * start < np.mean(after * 10 * u**9) <= 1.0005 * start


def test_a_reference_that_is_too_short_bets_nothing() -> None:
    values = np.concatenate([np.random.default_rng(1).normal(size=FEWEST - 1), np.full(20, 9.0)])
    assert evidence(values, FEWEST - 1, 0).tolist() == [1.0] * 20
    assert "knew 39 whole quarters of days, 40 are needed" in martingale.cannot_tell(values[: FEWEST - 1])
    assert "too much alike" in martingale.cannot_tell(np.arange(60.0))


def test_what_is_ranked_is_the_step_above_the_blocks_before() -> None:
    assert innovations(np.array([1.0, 2.0, 3.0, 2.0, 8.0, 1.0])).tolist() == pytest.approx([6.0, 1.0 - 15 / 4])
    assert len(innovations(np.array([1.0, 2.0]))) == 0


def test_strangeness_is_held_against_the_same_quarter_of_other_days() -> None:
    rng = np.random.default_rng(4)
    phases = np.arange(80, dtype=np.int64) % 4
    season = phases[:, None, None] * np.array([10.0, 0.0])[None, :, None]
    reference = season + rng.normal(size=(80, 2, 1)) + np.linspace(-1, 1, 25)[None, None, :]
    ordinary = np.exp(of_reference(reference, phases))
    assert 0.5 < ordinary.mean() < 1.5
    usual = strangeness(reference, phases, reference[1], 1)
    assert (usual < 4).all()
    assert strangeness(reference, phases, reference[1], 2)[0] > 5  # an hour later in the day that would be strange
    assert np.isnan(strangeness(reference, phases, np.full((2, 25), np.nan), 1)).all()
