"""A regression of the log of a variance that is fitted by the loss it is judged by (QLIKE: Patton 2011).

QLIKE is half the deviance of a gamma distribution, so this is the generalised linear model of the gamma family with a log link,
by Fisher scoring. A history of weeks does not tell its slopes, so they are held to usual ones unless it says otherwise, as
Bollerslev et al. (2018) hold all assets to the same. Sums are added in one order whatever the number of threads, so that the
same rows give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantstream.core.rolling import Floats

PENALTY = 2.0  # of a squared distance from the usual weight, as a share of the rows
STEPS = 25  # of the fit; it is done in six to ten
DONE = 1e-9
FAR = 4.0  # standard deviations: what lies farther off than anything fitted on counts as so far
MOST = 100.0  # times the expected variance: a flash crash counts as so much, or it would be all that a month teaches


@dataclass(frozen=True)
class GammaRegression:
    """Weights of standardised columns, the intercept first; columns are standardised by `mean` and `scale`."""

    mean: Floats  # (columns,)
    scale: Floats  # (columns,)
    weights: Floats  # (1 + columns,)

    def predict(self, rows: Floats) -> Floats:
        """Return the expected variance of (rows, columns): (rows,). A row's answer depends on no other row."""
        return np.asarray(np.exp(_line(_standard(rows, self.mean, self.scale), self.weights)))


def fit(rows: Floats, actual: Floats, usual: Floats) -> GammaRegression:
    """Fit on (rows, columns), all finite, and the variances that came, (rows,), above zero.

    `usual` are the slopes of the log variance, (columns,), that hold where the rows do not say otherwise.
    """
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    design = _standard(rows, mean, scale)
    prior = np.concatenate([[0.0], usual * scale])
    weights = prior.copy()
    weights[0] = np.log(np.mean(actual * np.exp(-_line(design, prior))))
    penalty = np.full(len(weights), PENALTY * len(rows))
    penalty[0] = 0.0
    expected = np.einsum("ij,ik->jk", design, design) + np.diag(penalty)
    for _ in range(STEPS):
        ratio = np.minimum(actual * np.exp(-_line(design, weights)), MOST)
        slope = np.einsum("ij,i->j", design, 1 - ratio) + penalty * (weights - prior)
        curve = np.einsum("ij,ik->jk", design * ratio[:, None], design) + np.diag(penalty)
        step = np.linalg.solve((expected + curve) / 2, slope)
        weights = weights - step
        if np.abs(step).max() < DONE:
            break
    return GammaRegression(mean, scale, weights)


def qlike(actual: Floats, expected: Floats) -> Floats:
    """Return each row's QLIKE loss of an expected variance: 0 where it is right, more for one too low than for one too high."""
    ratio = actual / expected
    return np.asarray(ratio - np.log(ratio) - 1)


def _standard(rows: Floats, mean: Floats, scale: Floats) -> Floats:
    standard = np.clip((rows - mean) / scale, -FAR, FAR)
    return np.concatenate([np.ones((len(rows), 1)), standard], axis=1)


def _line(design: Floats, weights: Floats) -> Floats:
    return np.asarray((design * weights).sum(axis=1))
