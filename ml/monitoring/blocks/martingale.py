"""A drift alarm that is false with a bounded chance, however long and however often one looks: a conformal test martingale.

Each quarter of a day, of all symbols at once, is one *block* with one number: how far its distributions lie from those that were
ordinary (`strangeness`). The share of blocks so far that came as unexpected is uniform and independent of all before, if blocks
are exchangeable (Vovk, Gammerman & Shafer 2005, *Algorithmic Learning in a Random World*, ch. 7). We bet against that: the
capital of a fair game is a martingale, and by Ville's inequality it ever comes to 1/α with a chance of α at most. So an alarm at
1/α needs no correction for the number of looks.

**What is taken as exchangeable** are not the blocks: neighbours resemble each other, and the level of volatility wanders. It is
by how much a block is stranger than the mean of the `BEFORE` blocks before it (`innovations`), in the reference and live.
No parameter is fitted: what is fitted on two weeks errs, and bets on its errors. So an abrupt change is found, and one that
creeps over days is not; losses tell that. Where neighbours correlate by more than `ALIKE` (real candles: 0.56) nothing is bet.

Bets are p^(ε−1) for some ε, between which the capital jumps (Vovk et al. 2021, *Retrain or not retrain*, COPA: the Simple
Jumper), one-sided, for a day that is calmer than expected asks for no training. The library crepes has martingales with
two-sided and stepwise bets, and none of blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.monitoring.drift import SMALLEST
from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR

BLOCK = 6 * HOUR  # µs: longer than any outcome takes
BEFORE = (
    4  # blocks, a day: fewer, and a change is over before it is believed; more, and a market's memory is taken for one
)
ALIKE = 0.65  # correlation of neighbours in the reference above which nothing is bet: the bound does not hold there
IN_A_DAY = 4
ALPHA = 0.05  # that a version is ever falsely said to have drifted
FEWEST = 40  # blocks of the reference: with fewer no bet is made
EPSILONS = np.array([0.1, 0.2, 0.4, 0.7, 1.0])  # 1 bets nothing
JUMPING = 0.01  # of the capital, between the bets, at each block
LEAST_P = 1e-6


def strangeness(reference: Floats, phases: npt.NDArray[np.int64], block: Floats, phase: int) -> Floats:
    """Return how far a block lies off those of its phase (the quarter of the day), in ordinary distances: (names,).

    `reference` is (blocks, names, levels), `block` (names, levels); NaN where either is not known. A distance is the mean one of
    the quantiles from the mean of the others'.
    """
    same = reference[phases == phase]
    total, count = same.sum(axis=0), len(same)
    if count < 2:
        return np.full(len(block), np.nan)
    usual = np.abs(same - (total - same) / (count - 1)).mean(axis=2)
    ordinary = np.maximum(np.sqrt((usual**2).mean(axis=0)), SMALLEST)
    widened = np.sqrt((1 + 1 / (count - 1)) / (1 + 1 / count))  # its mean is of one block more than those of the others
    return np.asarray(widened * np.abs(block - total / count).mean(axis=1) / ordinary, dtype=np.float64)


def of_reference(reference: Floats, phases: npt.NDArray[np.int64]) -> Floats:
    """Return the strangeness of each block of the reference among the others, as a logarithm: (blocks,)."""
    found = np.full(len(reference), np.nan)
    for i in range(len(reference)):
        others = np.arange(len(reference)) != i
        found[i] = pooled(strangeness(reference[others], phases[others], reference[i], int(phases[i])))
    return found


def pooled(each: Floats) -> float:
    """Return one number of what is known of all names; NaN where nothing is."""
    known = each[np.isfinite(each)]
    return float(np.log(max(float(known.mean()), SMALLEST))) if len(known) else float("nan")


def innovations(values: Floats) -> Floats:
    """Return by how much each value lies above the mean of the `BEFORE` before it: (values − BEFORE,)."""
    before = np.convolve(values, np.full(BEFORE, 1 / BEFORE), "valid")[:-1] if len(values) > BEFORE else values[:0]
    return np.asarray(values[BEFORE:] - before, dtype=np.float64)


def p_values(values: Floats, reference: int, seed: int) -> Floats:
    """Return for each value after the first `reference` the share of it and those before that are as large: (rest,).

    Ties are broken by chance, whose `seed` makes a repetition the same.
    """
    chance, found = np.random.default_rng(seed), []
    for i in range(reference, len(values)):
        larger, same = (values[:i] > values[i]).sum(), (values[: i + 1] == values[i]).sum()
        found.append((larger + chance.uniform() * same) / (i + 1))
    return np.array(found)


def capital(p: Floats) -> Floats:
    """Return what betting 1 came to after each p-value: (values,)."""
    shares, found = np.full(len(EPSILONS), 1 / len(EPSILONS)), []
    for one in np.maximum(p, LEAST_P):
        shares = (1 - JUMPING) * shares + JUMPING * shares.sum() / len(EPSILONS)
        shares = shares * EPSILONS * one ** (EPSILONS - 1)
        found.append(shares.sum())
    return np.array(found)


def evidence(values: Floats, reference: int, seed: int) -> Floats:
    """Return the capital after each block that follows the first `reference`: (rest,); `values` are logs of strangeness.

    It stays 1 where nothing can be bet on.
    """
    if cannot_tell(values[:reference]):
        return np.ones(max(len(values) - reference, 0))
    return capital(p_values(innovations(np.exp(values)), reference - BEFORE, seed))


def cannot_tell(reference: Floats) -> str:
    """Say why nothing is bet on what follows such a reference, or nothing."""
    if len(reference) < FEWEST:
        return f"drift cannot be told: the version knew {len(reference)} whole quarters of days, {FEWEST} are needed"
    alike = likeness(reference)
    if alike > ALIKE:
        return f"drift cannot be told: quarters of days that the version knew are too much alike ({alike:.2f}, at most {ALIKE})"
    return ""


def likeness(values: Floats) -> float:
    """Return how much neighbours correlate."""
    off = values - values.mean()
    spread = float(off @ off)
    return float(off[1:] @ off[:-1]) / spread if spread > 0 else 0.0
