"""Predictions corrected by the outcomes of earlier ones: the same code in judgement and live.

Markets drift; a model fitted months ago grows too wide, too narrow or too sure. So its newest outputs are corrected by the
outcomes of its own outputs over a trailing window of one symbol: intervals are stretched until they held what they promised
(conformal prediction over a moving window), probabilities are shifted until their mean is the frequency that came. Only
outcomes known at the candle's close count. The state is finite, the last `REACH` outputs and outcomes, so a restart rebuilds it
from the candles, and sums are added as in `quantstream.core.rolling`: from a longer past the same bits come out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantstream.core.rolling import Floats, lag, quantiles, window_quantile, window_sum

WINDOW = 4032  # candles: two weeks; a shorter one is noise, a longer one comes too late
REACH = WINDOW + 12  # candles before a row whose outputs count: the longest outcome takes an hour to be known
NARROWEST, WIDEST = 0.5, 2.0  # of the stretch: beyond that the model is wrong, not its calibration
TRUST = 0.7  # power of the stretch: a quantile of two weeks is partly noise, which costs more than it fixes
CAUTION = 150.0  # weight of the belief that probabilities are right already, in units of p (1 − p)
FARTHEST = 1.0  # of the shift, in logits


def stretched(
    predicted: Floats, outcomes: Floats, levels: Floats, ahead: tuple[int, ...], rows: int | None = None
) -> Floats:
    """Return quantiles (rows, horizons, levels) stretched about their median by what held over the window.

    `predicted` lie on consecutive candles of one symbol, NaN where there was none, as `outcomes` (candles, horizons), each
    known `ahead` candles later. The last `rows` are returned, all without it. Moving-window conformal prediction: Gibbs
    & Candès 2021 motivate it, each side of each interval by itself. With less than 90 % of a window nothing is stretched.
    """
    count = len(predicted) if rows is None else rows
    scores = distances(predicted, outcomes)
    factors = np.ones((count, *predicted.shape[1:]))
    for h, level, share in _sides(levels, ahead):
        factors[:, h, level] = window_quantile(lag(scores[h, level], ahead[h]), WINDOW, share, rows=rows)
    return _stretch(predicted[len(predicted) - count :], factors)


def stretched_now(predicted: Floats, scores: Sequence[Floats], levels: Floats, ahead: tuple[int, ...]) -> Floats:
    """Return the newest quantiles of many symbols, (symbols, horizons, levels), as `stretched` would.

    `scores` are the `distances` of each symbol's last `REACH + 1` candles, the newest last.
    """
    factors = np.ones(predicted.shape)
    for h, level, share in _sides(levels, ahead):
        factors[:, h, level] = quantiles(np.stack([_known(one[h, level], ahead[h]) for one in scores]), share)
    return _stretch(predicted, factors)


def distances(predicted: Floats, outcomes: Floats) -> Floats:
    """Return how far each outcome lay from the median, in units of each quantile's own distance: (horizons, levels, candles).

    NaN where the outcome is not known, and for the median itself.
    """
    median = predicted[:, :, predicted.shape[2] // 2]
    width = np.moveaxis(predicted - median[:, :, None], 0, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(width == 0, np.nan, (outcomes - median).T[:, None] / width)


def _sides(levels: Floats, ahead: tuple[int, ...]) -> list[tuple[int, int, float]]:
    """Each horizon's and level's place, but for medians, and the share of outcomes that it promises to hold."""
    return [
        (h, level, max(wanted, 1 - wanted))
        for h in range(len(ahead))
        for level, wanted in enumerate(levels.tolist())
        if level != len(levels) // 2
    ]


def _stretch(predicted: Floats, factors: Floats) -> Floats:
    middle = predicted.shape[2] // 2
    median = predicted[:, :, middle : middle + 1]
    factor = np.clip(np.where(np.isnan(factors), 1.0, factors), NARROWEST, WIDEST) ** TRUST
    result = median + factor * (predicted - median)
    result[:, :, middle] = median[:, :, 0]
    return np.sort(result, axis=2)


def shifted(predicted: Floats, outcomes: Floats, ahead: int, rows: int | None = None) -> Floats:
    """Return probabilities (rows, classes), each class's logit shifted so that the window's mean is that of the outcomes.

    `predicted` lie on consecutive candles of one symbol, NaN where there was none, as `outcomes` (candles,), the class's number,
    known `ahead` candles later. One Newton step of a logistic regression on the constant, held back by `CAUTION`.
    """
    count = len(predicted) if rows is None else rows
    found = misses(predicted, outcomes)
    before = np.zeros((*found.shape[:-1], ahead))
    sums = _trailing(np.concatenate([before, found[..., : found.shape[-1] - ahead]], axis=-1), count)
    return _shift(predicted[len(predicted) - count :], np.moveaxis(sums, -1, 0))


def shifted_now(predicted: Floats, found: Sequence[Floats], ahead: int) -> Floats:
    """Return the newest probabilities of many symbols, (symbols, classes), as `shifted` would.

    `found` are the `misses` of each symbol's last `REACH + 1` candles, the newest last.
    """
    return _shift(predicted, window_sum(np.stack([_known(one, ahead) for one in found]), WINDOW, 1)[..., 0])


def misses(predicted: Floats, outcomes: Floats) -> Floats:
    """Return by how much each probability missed the outcome, and its weight p (1 − p): (2, classes, candles).

    Both are 0 where the outcome is not known.
    """
    p = predicted.T
    missed = np.where(np.isnan(outcomes), np.nan, outcomes == np.arange(len(p))[:, None]) - p
    known = np.isfinite(missed)
    return np.stack([np.where(known, missed, 0.0), np.where(known, p * (1 - p), 0.0)])


def _known(evidence: Floats, ahead: int) -> Floats:
    """The window of those that can be known at the newest candle."""
    size = evidence.shape[-1]
    return evidence[..., size - ahead - WINDOW : size - ahead]


def _shift(predicted: Floats, sums: Floats) -> Floats:
    """`sums` of misses and of weights: (rows, 2, classes)."""
    classes = predicted.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(np.clip(predicted, 1e-9, 1))
    logits += np.clip(sums[:, 0] / (sums[:, 1] + CAUTION), -FARTHEST, FARTHEST) * (classes - 1) / classes
    raised = np.exp(logits)
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _trailing(values: Floats, count: int) -> Floats:
    """Sums over the window, of what there is of it at the array's start."""
    needed = count + WINDOW - 1
    size = values.shape[-1]
    before = np.zeros((*values.shape[:-1], max(needed - size, 0)))
    padded = np.concatenate([before, values[..., max(size - needed, 0) :]], axis=-1)
    return window_sum(padded, WINDOW, count)
