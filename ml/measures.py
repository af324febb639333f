"""Measures of forecasts and probabilities: pure functions of arrays, each a proper score or named for what it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from quantstream.core.rolling import Floats

SURE = 1.96  # standard errors of a 95 % interval
SMALLEST = 1e-7  # a probability of zero that comes true would cost infinitely much


def pinball(actual: Floats, quantiles: Floats, levels: Floats) -> float:
    """Return the mean quantile loss of (rows, levels) quantiles (Koenker & Bassett 1978), in the unit of `actual`."""
    return float(pinball_rows(actual, quantiles, levels).mean())


def pinball_rows(actual: Floats, quantiles: Floats, levels: Floats) -> Floats:
    """Return each row's quantile loss, the mean over its levels."""
    gap = actual[:, None] - quantiles
    losses: Floats = np.maximum(levels * gap, (levels - 1) * gap).mean(axis=1)
    return losses


def coverage(actual: Floats, low: Floats, high: Floats) -> float:
    """Return the share of values inside [low, high]."""
    return float(np.mean((actual >= low) & (actual <= high)))


def log_loss(actual: npt.NDArray[np.intp], probabilities: Floats) -> float:
    """Return the mean negative log probability of the actual class, from (rows, classes)."""
    return float(surprise(actual, probabilities).mean())


def surprise(actual: npt.NDArray[np.intp], probabilities: Floats) -> Floats:
    """Return each row's negative log probability of the actual class."""
    of_actual = probabilities[np.arange(len(actual)), actual]
    losses: Floats = -np.log(np.clip(of_actual, SMALLEST, 1))
    return losses


def brier(actual: Floats, probability: Floats) -> float:
    """Return the mean squared error of a probability against 0 or 1."""
    return float(np.mean((probability - actual) ** 2))


def auc(actual: Floats, score: Floats) -> float:
    """Return the chance that a positive outranks a negative; NaN when one of them is absent."""
    from sklearn.metrics import roc_auc_score  # here: the scorer imports this module and judges nothing

    return float(roc_auc_score(actual, score)) if 0 < actual.sum() < len(actual) else float("nan")


def rank_correlation(actual: Floats, score: Floats) -> float:
    """Return Spearman's rank correlation (the information coefficient); 0 when either is constant."""
    if len(actual) < 2 or np.ptp(actual) == 0 or np.ptp(score) == 0:
        return 0.0
    return float(spearmanr(actual, score).statistic)


def calibration_error(actual: Floats, probability: Floats, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal count: mean |frequency − probability|."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(actual[part].mean() - probability[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(actual))


def reliability(actual: Floats, probability: Floats, days: npt.NDArray[np.intp], bins: int = 15) -> list[list[float]]:
    """Return [mean probability, frequency of the outcome, its lower, its upper bound] of bins of equal count.

    Calibrated ones lie on the diagonal. Bounds are 95 %, from the spread of the days' own frequencies: rows of a day are alike.
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [[float(probability[part].mean()), *frequency(actual[part], days[part])] for part in parts]


def frequency(actual: Floats, days: npt.NDArray[np.intp]) -> list[float]:
    """Return a frequency and its bounds: the ratio of sums over days, by the delta method, within 0 and 1."""
    frequency = float(actual.mean())
    _, of_row = np.unique(days, return_inverse=True)
    count = int(of_row.max()) + 1
    rest = np.bincount(of_row, actual - frequency)
    error = float(np.sqrt((rest @ rest) * count / max(count - 1, 1))) / len(actual)
    return [frequency, max(frequency - SURE * error, 0.0), min(frequency + SURE * error, 1.0)]
