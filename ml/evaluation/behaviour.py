"""What a model of each kind must do whatever it learnt: tests of its behaviour, beside all figures of how well it predicts.

Invariance (to the price's scale, to the other rows, to being asked again), direction (wilder moves mean more risk) and bounds
(probabilities, quantiles in order), after Ribeiro et al. 2020, *Beyond Accuracy: Behavioral Testing*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml.data import labels, trade_features
from ml.evaluation.live_windows import LiveWindows
from ml.models.anomaly import AnomalyModel
from ml.models.base import Model
from quantstream.core.rolling import Floats

SAME = 1e-6  # predictions in one call and in another may differ by rounding
SCALE = 1e-3  # relative: features of other prices are rounded otherwise, and a tree's edge may lie there
LESS = 0.95  # a model of a market without memory says the same of all; it may turn by a little
RARER = 0.8  # the signal's barriers grow with the day's volatility: its answer may fall somewhat
ALONE = 4  # rows that are asked one by one


@dataclass(frozen=True)
class Trait:
    """One thing a model must do, whether it does, and what was seen of it."""

    passed: bool
    sentence: str


def traits(model: Model, windows: Floats, live: LiveWindows | None = None) -> list[Trait]:
    """Return how a model behaves on windows (rows, length, names), and on changed candles where candles are at hand."""
    said = model.predict(windows)
    found = [*_always(model, windows, said), *_in_bounds(model, said)]
    if live is not None:
        plain, dearer, wilder = (
            model.predict(live.of(each, model.names, model.length)) for each in (live.plain, live.dearer, live.wilder)
        )
        found += [_scale(plain, dearer), *_direction(model.kind, plain, wilder)]
    if isinstance(model, AnomalyModel):
        found += _trades(model)
    return found


def _always(model: Model, windows: Floats, said: Floats) -> Iterator[Trait]:
    again = model.predict(windows)
    yield Trait(bool(np.array_equal(said, again)), "asked again, it says the same")
    alone = np.concatenate([model.predict(windows[i : i + 1]) for i in range(min(ALONE, len(windows)))])
    off = float(np.abs(alone - said[: len(alone)]).max(initial=0.0))
    yield Trait(off <= SAME, f"a row alone is predicted as among others (largest difference {off:.2g})")


def _in_bounds(model: Model, said: Floats) -> Iterator[Trait]:
    if model.kind == "forecast":
        crossed = int((np.diff(said, axis=-1) < 0).any(axis=(1, 2)).sum())
        yield Trait(crossed == 0, f"quantiles rise over their levels ({crossed} of {len(said)} rows cross)")
        return
    outside = int(((said < 0) | (said > 1)).reshape(len(said), -1).any(axis=1).sum())
    yield Trait(outside == 0, f"probabilities lie within 0 and 1 ({outside} of {len(said)} rows do not)")
    if model.kind == "signal":
        off = float(np.abs(said.sum(axis=1) - 1).max(initial=0.0))
        yield Trait(off <= SAME, f"the three probabilities sum to 1 (largest difference {off:.2g})")


def _scale(plain: Floats, dearer: Floats) -> Trait:
    """At eight times the price a market is the same market; one place may lie on the edge of a tree."""
    far = ~np.isclose(plain, dearer, rtol=SCALE, atol=SAME).reshape(len(plain), -1).all(axis=1)
    return Trait(
        int(far.sum()) <= 1, f"at eight times the price it says the same ({int(far.sum())} of {len(plain)} rows differ)"
    )


def _direction(kind: str, plain: Floats, wilder: Floats) -> Iterator[Trait]:
    """After six hours of moves three times as large, in the mean over the places."""
    if kind == "forecast":
        before, after = (float((each[:, -1, -1] - each[:, -1, 0]).mean()) for each in (plain, wilder))
        yield Trait(after > before, f"wilder moves widen the interval of the hour (to {after / before:.2f} times)")
    elif kind == "risk":
        before, after = float(plain.mean()), float(wilder.mean())
        yield Trait(after >= LESS * before, f"wilder moves do not lower the risk ({before:.1%} to {after:.1%})")
    elif kind == "signal":
        before, after = (float(each[:, labels.BUY].mean() + each[:, labels.SELL].mean()) for each in (plain, wilder))
        yield Trait(
            after >= RARER * before, f"wilder moves do not calm it (a barrier is touched: {before:.1%} to {after:.1%})"
        )


def _trades(model: AnomalyModel) -> Iterator[Trait]:
    """Trades ever farther from the market: the score never falls, begins below the threshold and ends above it."""
    far = np.zeros((7, len(trade_features.NAMES)))
    far[:, :2] = np.array([0, 2, 5, 10, 20, 40, 80])[:, None]  # σ from the VWAP and from the trade before
    scores = model.score_trades(far)
    falls = int((np.diff(scores) < -SAME).sum())
    yield Trait(falls == 0, f"a trade farther from the market is no less strange ({falls} of 6 steps fall)")
    ends = f"{scores[0]:.2f} and {scores[-1]:.2f}, threshold {model.threshold:.2f}"
    flagged = bool(scores[0] < model.threshold <= scores[-1])
    yield Trait(flagged, f"a trade at the market is not flagged, one 80 σ off is ({ends})")
