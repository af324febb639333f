"""What a model says, corrected by how its last sayings came out: the same code in judgement and live.

Markets drift; a model fitted months ago grows too wide, too narrow or too sure. So its newest outputs are corrected by the
outcomes of its own outputs over a trailing window of one symbol: intervals are stretched until they held what they promised
(conformal prediction over a moving window), probabilities are shifted until their mean is the frequency that came. Only
outcomes known at the candle's close count. The state is finite, the last `REACH` outputs and outcomes, so a restart rebuilds it
from the candles, and sums are added as in `quantstream.windows`: from a longer past the same bits come out.
"""

from __future__ import annotations

import numpy as np

from quantstream.windows import Floats, lag, window_quantile, window_sum

WINDOW = 4032  # candles: two weeks; a shorter one is noise, a longer one comes too late
REACH = WINDOW + 12  # candles before a row whose outputs count: the longest outcome takes an hour to be known
NARROWEST, WIDEST = 0.5, 2.0  # of the stretch: beyond that the model is wrong, not its calibration
TRUST = 0.7  # power of the stretch: a quantile of two weeks is partly noise, which costs more than it mends
CAUTION = 150.0  # weight of the belief that probabilities are right already, in units of p (1 − p)
FARTHEST = 1.0  # of the shift, in logits


def stretched(
    quantiles: Floats, came: Floats, levels: Floats, ahead: tuple[int, ...], rows: int | None = None
) -> Floats:
    """Return quantiles (rows, horizons, levels) stretched about their median by what held over the window.

    `quantiles` lie on consecutive candles of one symbol, NaN where there was none, as `came` (candles, horizons), the outcomes,
    each known `ahead` candles later. The last `rows` are returned, all without it. Moving-window conformal prediction: Gibbs
    & Candès 2021 motivate it, each side of each interval by itself. With less than 90 % of a window nothing is stretched.
    """
    count = len(quantiles) if rows is None else rows
    result = quantiles[len(quantiles) - count :].copy()
    middle = quantiles.shape[2] // 2
    for h, steps in enumerate(ahead):
        median = quantiles[:, h, middle]
        for level, wanted in enumerate(levels):
            if level == middle:
                continue
            width = quantiles[:, h, level] - median
            with np.errstate(invalid="ignore", divide="ignore"):
                score = lag(np.where(width == 0, np.nan, (came[:, h] - median) / width), steps)
            factor = window_quantile(score, WINDOW, max(wanted, 1 - wanted), rows=count)[len(score) - count :]
            factor = np.clip(np.where(np.isnan(factor), 1.0, factor), NARROWEST, WIDEST) ** TRUST
            result[:, h, level] = median[len(median) - count :] + factor * width[len(width) - count :]
    return np.sort(result, axis=2)


def shifted(probabilities: Floats, came: Floats, ahead: int, rows: int | None = None) -> Floats:
    """Return probabilities (rows, classes), each class's logit shifted so that the window's mean is what came.

    `probabilities` lie on consecutive candles of one symbol, NaN where there was none, as `came` (candles,), the class's number,
    known `ahead` candles later. One Newton step of a logistic regression on the constant, held back by `CAUTION`.
    """
    classes = probabilities.shape[1]
    count = len(probabilities) if rows is None else rows
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(np.clip(probabilities[len(probabilities) - count :], 1e-9, 1))
    for k in range(classes):
        p = lag(probabilities[:, k], ahead)
        missed = np.where(np.isnan(came), np.nan, came == k)
        missed = lag(missed, ahead) - p
        known = np.isfinite(missed)
        error = _trailing(np.where(known, missed, 0.0), count)
        weight = _trailing(np.where(known, p * (1 - p), 0.0), count)
        logits[:, k] += np.clip(error / (weight + CAUTION), -FARTHEST, FARTHEST) * (classes - 1) / classes
    raised = np.exp(logits)
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _trailing(values: Floats, count: int) -> Floats:
    """Sums over the window, of what there is of it at the array's start."""
    needed = count + WINDOW - 1
    padded = np.concatenate([np.zeros(max(needed - len(values), 0)), values[max(len(values) - needed, 0) :]])
    return window_sum(padded, WINDOW)[len(padded) - count :]
