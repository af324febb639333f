"""Predictions corrected by the outcomes of earlier ones: one correction for each model, the same code in judgement and live.

Markets drift; a model fitted months ago grows too wide, too narrow or too sure. So its newest outputs are corrected by the
outcomes of its own outputs over a trailing window of one symbol. Only outcomes known at the candle's close count. What a
correction learns is finite, the `Past` of the last `REACH` outputs, so a restart rebuilds it from the candles, and sums are
added as in `quantstream.core.rolling`: from a longer past the same bits come out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantstream.core.rolling import Floats, quantiles, window_quantile, window_sum

WINDOW = 4032  # candles: two weeks; a shorter one is noise, a longer one comes too late
LATEST = 12  # candles until an outcome is known, at most: an hour
REACH = WINDOW + LATEST  # candles before a row whose outputs count
SIZE = REACH + 1  # candles of a past, the newest included
UNKNOWN = LATEST + 1  # of the newest candles, whose outcomes may still come
ROOM = 512  # candles to append before a past is moved back to its start
TOGETHER = 16  # symbols corrected at once: more do not fit a core's cache
NARROWEST, WIDEST = 0.5, 2.0  # of the stretch: beyond that the model is wrong, not its calibration
TRUST = 0.7  # power of the stretch: a quantile of two weeks is partly noise, which costs more than it fixes
CAUTION = 150.0  # weight of the belief that probabilities are right already, in units of p (1 − p)
FARTHEST = 1.0  # of the shift, in logits


class Past:
    """What one model's outputs of one symbol's last candles, and their outcomes, say of the next."""

    def __init__(self, predicted: Floats, evidence: Floats) -> None:
        """Both are of the last `SIZE` candles: (SIZE, …) and (…, SIZE)."""
        self.predicted = predicted[-UNKNOWN:].copy()
        self._evidence = np.empty((*evidence.shape[:-1], SIZE + ROOM))
        self._evidence[..., :SIZE] = evidence
        self._end = SIZE

    @property
    def evidence(self) -> Floats:
        """(…, SIZE): what outcomes say of each output."""
        return self._evidence[..., self._end - SIZE : self._end]

    def append(self, predicted: Floats) -> None:
        """Add the next candle's output; the evidence of the last `UNKNOWN` has then to be written anew."""
        self.predicted[:-1] = self.predicted[1:]
        self.predicted[-1] = predicted
        if self._end == self._evidence.shape[-1]:
            self._evidence[..., :SIZE] = self.evidence.copy()
            self._end = SIZE
        self._end += 1

    def copy(self) -> Past:
        """Return one that goes its own way."""
        return Past(self.predicted, self.evidence)


class Correction(ABC):
    """A model's correction. Live, pasts are updated and applied candle by candle; a series in judgement is the same at once."""

    @abstractmethod
    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return what outcomes (candles, outcomes) say of predictions (candles, …), each by itself: (…, candles).

        Both are NaN where there is none, or none known yet.
        """

    @abstractmethod
    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        """Return the last `rows` predictions of each symbol, one after the other, corrected by each symbol's evidence."""

    def series(self, predicted: Floats, outcomes: Floats, rows: int | None = None) -> Floats:
        """Return the last `rows` predictions (all without it) of consecutive candles of one symbol, each corrected."""
        count = len(predicted) if rows is None else rows
        return self.correct(predicted[len(predicted) - count :], [self.evidence(predicted, outcomes)], count)

    def begin(self, predicted: Floats, outcomes: Floats) -> Past:
        """Return the past of a symbol's last `SIZE` candles."""
        return Past(predicted, self.evidence(predicted, outcomes))

    def update(self, pasts: Sequence[Past], predicted: Floats, outcomes: Floats) -> None:
        """Add a candle to each past: its prediction, (pasts, …), and outcomes of the last as known now, (pasts, UNKNOWN, …)."""
        for past, newest in zip(pasts, predicted, strict=True):
            past.append(newest)
        found = self.evidence(
            np.concatenate([past.predicted for past in pasts]), outcomes.reshape(-1, outcomes.shape[-1])
        )
        for i, past in enumerate(pasts):
            past.evidence[..., -UNKNOWN:] = found[..., i * UNKNOWN : (i + 1) * UNKNOWN]

    def apply(self, pasts: Sequence[Past], predicted: Floats) -> Floats:
        """Return the newest prediction of each past, (pasts, …), corrected."""
        if len(pasts) <= TOGETHER:
            return self.correct(predicted, [past.evidence for past in pasts], 1)
        starts = range(0, len(pasts), TOGETHER)
        parts = [(pasts[start : start + TOGETHER], predicted[start : start + TOGETHER]) for start in starts]
        return np.concatenate([self.correct(newest, [past.evidence for past in some], 1) for some, newest in parts])


def known(evidence: Sequence[Floats], ahead: int, rows: int, otherwise: float) -> Floats:
    """Return what can be known at the last `rows` candles of each symbol, of a window before each: (symbols, …, candles).

    Each outcome is known `ahead` candles later; before the evidence begins there is `otherwise`.
    """
    return np.stack([_known(one, ahead, WINDOW - 1 + rows, otherwise) for one in evidence])


def _known(evidence: Floats, ahead: int, size: int, otherwise: float) -> Floats:
    end = max(evidence.shape[-1] - ahead, 0)
    part = evidence[..., max(end - size, 0) : end]
    if part.shape[-1] == size:
        return part
    return np.concatenate([np.full((*part.shape[:-1], size - part.shape[-1]), otherwise), part], axis=-1)


def sums(evidence: Sequence[Floats], ahead: int, rows: int) -> Floats:
    """Return the sums of the evidence known at each row: (symbols × rows, …)."""
    found = window_sum(known(evidence, ahead, rows, 0.0), WINDOW, rows)
    if rows == 1:
        return found[..., 0]
    return np.moveaxis(found, -1, 1).reshape(-1, *found.shape[1:-1])


@dataclass(frozen=True)
class Stretch(Correction):
    """Quantiles, (…, horizons, levels), stretched about their median until they would have held what they promise.

    Conformal prediction over a moving window (Gibbs & Candès 2021 motivate it), each side of each interval by itself. With less
    than 90 % of a window nothing is stretched.
    """

    levels: tuple[float, ...]
    ahead: tuple[int, ...]  # candles until the outcome of each horizon is known

    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return how far outcomes lay from the median, in units of each quantile's own distance: (horizons, levels, candles).

        NaN where the outcome is not known, and for the median itself.
        """
        median = predicted[:, :, predicted.shape[2] // 2]
        width = np.moveaxis(predicted - median[:, :, None], 0, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(width == 0, np.nan, (outcomes - median).T[:, None] / width)

    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        """Return them stretched."""
        middle = len(self.levels) // 2
        factors = np.ones(predicted.shape)
        for h, ahead in enumerate(self.ahead):
            for level, wanted in enumerate(self.levels):
                if level != middle:
                    windows = known([one[h, level] for one in evidence], ahead, rows, np.nan)
                    factors[:, h, level] = _quantile(windows, max(wanted, 1 - wanted), rows)
        median = predicted[:, :, middle : middle + 1]
        factor = np.clip(np.where(np.isnan(factors), 1.0, factors), NARROWEST, WIDEST) ** TRUST
        result = median + factor * (predicted - median)
        result[:, :, middle] = median[:, :, 0]
        return np.sort(result, axis=2)


def _quantile(windows: Floats, share: float, rows: int) -> Floats:
    """The quantile at each row of each symbol: (symbols × rows,); of a series by a skip list, to the same bits."""
    if rows == 1:
        return quantiles(windows, share)
    return np.concatenate([window_quantile(one, WINDOW, share)[one.shape[-1] - rows :] for one in windows])


@dataclass(frozen=True)
class Shift(Correction):
    """Probabilities, (…, classes), each class's logit shifted so that the window's mean is that of the outcomes, class numbers.

    One Newton step of a logistic regression on the constant, held back by `CAUTION`.
    """

    ahead: int  # candles until an outcome is known

    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return by how much each probability missed the outcome, and its weight p (1 − p): (2, classes, candles).

        Both are 0 where the outcome is not known.
        """
        p = predicted.T
        missed = np.where(np.isnan(outcomes[:, 0]), np.nan, outcomes[:, 0] == np.arange(len(p))[:, None]) - p
        is_known = np.isfinite(missed)
        return np.stack([np.where(is_known, missed, 0.0), np.where(is_known, p * (1 - p), 0.0)])

    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        """Return them shifted."""
        classes, found = predicted.shape[1], sums(evidence, self.ahead, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.log(np.clip(predicted, 1e-9, 1))
        logits += np.clip(found[:, 0] / (found[:, 1] + CAUTION), -FARTHEST, FARTHEST) * (classes - 1) / classes
        raised = np.exp(logits)
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares
