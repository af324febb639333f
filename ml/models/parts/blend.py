"""An ensemble of straight lines and trees that predict the same classes: mixed as far as each proved itself, then calibrated.

Boosted trees see interactions but overfit a short history; a logistic regression is hard to beat and never wild. The mix and
the calibration are chosen on later data than either was fitted on, so that none can flatter itself; after that the models
are fitted anew on all of it, for the newest months are the most like those to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml.measures import log_loss
from ml.models.parts import logistic, trees
from quantstream.core.rolling import Floats

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
OUTERMOST = 4.0  # standard deviations: farther out lines see no more, or a crash would be called calm for its unheard-of momentum


@dataclass(frozen=True)
class Member:
    """Trees whose margin, times `slope` plus `offset`, is a logit: 1 and 0 for those fitted on the classes themselves."""

    trees: trees.Trees
    slope: float = 1.0
    offset: float = 0.0

    def logits(self, rows: Floats) -> Floats:
        """Return (rows, classes), centred over the classes."""
        return _centred(_classes(self.slope * self.trees.margins(rows) + self.offset, axis=1))

    def contributions(self, rows: Floats) -> Floats:
        """Return (rows, classes, names)."""
        shares = self.slope * self.trees.contributions(rows)
        return np.stack([-shares / 2, shares / 2], axis=1) if shares.ndim == 2 else shares


@dataclass(frozen=True)
class Ensemble:
    """The models that are mixed: one of lines and some of trees."""

    lines: logistic.Logistic
    members: tuple[Member, ...]

    def logits(self, rows: Floats) -> list[Floats]:
        """Return each one's (rows, classes), the lines first."""
        return [_centred(self.lines.logits(self.within(rows))), *(member.logits(rows) for member in self.members)]

    def within(self, rows: Floats) -> Floats:
        """Return the rows as the lines see them: nothing farther out than `OUTERMOST`."""
        return within(self.lines, rows)


@dataclass(frozen=True)
class Mix:
    """An ensemble mixed: the weighted mean of their logits, `shares` with the lines first."""

    ensemble: Ensemble
    shares: tuple[float, ...]

    def mixed(self, rows: Floats) -> Floats:
        """Return the ensemble's mixed logits, (rows, classes), centred over the classes."""
        return mix(self.ensemble.logits(rows), self.shares)

    def contributions(self, rows: Floats) -> Floats:
        """Return each feature's part in each class's mixed logit, (rows, classes, names): SHAP values, exact for the lines."""
        lines = self.ensemble.lines
        standard = (self.ensemble.within(rows) - lines.mean) / lines.scale
        parts = [standard[:, None, :] * (lines.weights - lines.weights.mean(axis=0))]
        parts += [member.contributions(rows) for member in self.ensemble.members]
        return mix(parts, self.shares)

    def write(self, folder: Path, mark: str = "") -> dict[str, Any]:
        """Write the trees and return the rest; `mark` tells the files of one mix from those of another."""
        scales = []
        for i, member in enumerate(self.ensemble.members):
            member.trees.save(folder / _file(mark, i))
            scales.append([member.slope, member.offset])
        return {"lines": self.ensemble.lines.state(), "members": scales, "shares": list(self.shares)}


@dataclass(frozen=True)
class Blend(Mix):
    """A mix whose logits a logistic regression turns into probabilities."""

    calibrator: logistic.Logistic

    def probabilities(self, rows: Floats) -> Floats:
        """Return (rows, classes)."""
        return self.calibrator.probabilities(self.mixed(rows))

    def write(self, folder: Path, mark: str = "") -> dict[str, Any]:
        """Write the trees and return the rest."""
        return {**super().write(folder, mark), "calibrator": self.calibrator.state()}


def read_mix(folder: Path, state: dict[str, Any], names: tuple[str, ...], mark: str = "") -> Mix:
    """Return what `Mix.write` wrote.

    Raises: ValueError, KeyError or TypeError when it is damaged.
    """
    members = tuple(
        Member(trees.load(folder / _file(mark, i), names), float(slope), float(offset))
        for i, (slope, offset) in enumerate(state["members"])
    )
    return Mix(Ensemble(logistic.from_state(state["lines"]), members), tuple(map(float, state["shares"])))


def read(folder: Path, state: dict[str, Any], names: tuple[str, ...]) -> Blend:
    """Return what `Blend.write` wrote. Raises: as `read_mix`."""
    found = read_mix(folder, state, names)
    return Blend(found.ensemble, found.shares, logistic.from_state(state["calibrator"]))


def fit(
    ensemble: Ensemble, rows: Floats, classes: Floats, count: int, choices: Sequence[tuple[float, ...]] | None = None
) -> Blend:
    """Choose the shares by log loss on later rows than the ensemble was fitted on, and calibrate on them.

    Without `choices` all mixes in quarters are tried.
    """
    actual = classes.astype(int)
    logits = ensemble.logits(rows)
    best: tuple[float, Blend] | None = None
    for shares in choices or _simplex(len(logits)):
        mixed = mix(logits, shares)
        calibrator = logistic.fit(mixed, actual, count)
        loss = log_loss(actual, calibrator.probabilities(mixed))
        if best is None or loss < best[0]:
            best = loss, Blend(ensemble, shares, calibrator)
    assert best is not None
    return best[1]


def within(lines: logistic.Logistic, rows: Floats) -> Floats:
    """Return rows as lines see them that `straight` fitted: nothing farther out than `OUTERMOST`."""
    reach = OUTERMOST * lines.scale
    return np.clip(rows, lines.mean - reach, lines.mean + reach)


def straight(rows: Floats, classes: Floats, count: int, strength: float) -> logistic.Logistic:
    """Fit the lines on rows as they will see them: `within` cuts at the same places."""
    mean, scale, standard = seen(rows)
    fitted = logistic.fit(standard, classes, count, strength=strength)
    weights = fitted.weights / fitted.scale
    return logistic.Logistic(mean, scale, weights, fitted.intercept - weights @ fitted.mean)


def seen(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean and scale of the columns, and the rows in these units as lines see them, no farther out than `OUTERMOST`.

    The scale is that of all there is: what is rare, as the hour before a release, is cut, and weighed as it was cut.
    """
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return mean, scale, np.clip((rows - mean) / scale, -OUTERMOST, OUTERMOST)


def settle(chosen: Blend, fit_anew: Callable[[], Ensemble]) -> Blend:
    """Return the blend with its ensemble fitted anew, on more rows; scales of members, shares and calibration stay."""
    anew = fit_anew()
    members = tuple(
        replace(member, slope=old.slope, offset=old.offset)
        for member, old in zip(anew.members, chosen.ensemble.members, strict=True)
    )
    return replace(chosen, ensemble=Ensemble(anew.lines, members))


def mix(parts: Sequence[Floats], shares: Sequence[float]) -> Floats:
    """Return the weighted sum; a part without a share is not even looked at."""
    mixed = np.zeros_like(parts[0])
    for part, share in zip(parts, shares, strict=True):
        if share:
            mixed = mixed + share * part
    return mixed


def _simplex(count: int) -> list[tuple[float, ...]]:
    return [shares for shares in product(QUARTERS, repeat=count) if sum(shares) == 1]


def _classes(margins: Floats, axis: int) -> Floats:
    return np.stack([-margins / 2, margins / 2], axis=axis) if margins.ndim == 1 else margins


def _centred(logits: Floats) -> Floats:
    centred: Floats = logits - logits.mean(axis=1, keepdims=True)
    return centred


def _file(mark: str, place: int) -> str:
    return f"trees_{mark}{place}.ubj"
