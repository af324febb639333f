"""How much an action must promise at somebody's costs, by what following the model earned on later data than it was fitted on.

No cost is in what is kept: returns are before costs, for each threshold that an expected return might have to pass. So whoever
serves a model decides by the costs of whom it is served to, and a change of them needs no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR

NEVER = 1.0  # an expected return of 100 % within an hour: always Hold
MARGINS = (
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
)  # times the costs that an expected return must reach; few, for who tries many sees luck
LADDER = np.concatenate(
    [[0.0], np.geomspace(1e-5, 0.03, 80)]
)  # thresholds that are looked at: 0.1 bp to 3 %, a tenth apart
FEWEST_TAKEN = 50  # actions before their earnings say anything
FEWEST_BLOCKS = 10  # spans of time that they lie in
BLOCK = 6 * HOUR  # µs; actions of one span, of all symbols, count as one draw: hours overlap, and symbols move together
SURE = 1.64  # standard errors above the costs, one-sided 5 %
COST_OF_BEFORE = 0.001  # the costs of entering and leaving that models of before were fitted for


class Thresholds(Protocol):
    """What says how much an action must promise."""

    def needed(self, cost: float) -> float:
        """Return the expected log return that an action must exceed where entering and leaving cost `cost`; `NEVER` at times."""
        ...

    @property
    def pays_below(self) -> float | None:
        """The highest costs of entering and leaving at which it lets anybody act: 0 for none; None where it is not known."""
        ...

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


@dataclass(frozen=True)
class Fixed:
    """One threshold, fitted for costs of 10 bp, as models of before have it: only higher costs move it."""

    at: float = NEVER

    def needed(self, cost: float) -> float:
        """Return it, in proportion where costs are higher."""
        return self.at * max(1.0, cost / COST_OF_BEFORE)

    @property
    def pays_below(self) -> None:
        """Nobody noted it."""

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"needed": self.at}


@dataclass(frozen=True)
class Earned:
    """What following each threshold would have earned: (thresholds,) each, in log returns before costs."""

    at: Floats
    count: Floats  # actions taken
    mean: Floats  # of an action
    error: Floats  # standard error of the mean

    def needed(self, cost: float) -> float:
        """Return the smallest margin over the costs that surely paid them; `NEVER` where none did."""
        for margin in MARGINS:
            place = int(np.searchsorted(self.at, margin * cost))
            if place == len(self.at):
                break
            if self._surely(place) > cost:
                return float(self.at[place])
        return NEVER

    @property
    def pays_below(self) -> float:
        """The highest costs of entering and leaving at which some margin surely paid; 0 where none did."""
        best = 0.0
        for place in range(len(self.at)):
            for margin in MARGINS:
                most = min(float(self.at[place]) / margin, self._surely(place))
                least = float(self.at[place - 1]) / margin if place else -1.0
                if most > least:
                    best = max(best, most)
        return best

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"earned": {name: getattr(self, name).tolist() for name in ("at", "count", "mean", "error")}}

    def _surely(self, place: int) -> float:
        return float(self.mean[place] - SURE * self.error[place])


def read(state: dict[str, Any]) -> Thresholds:
    """Return what `state` of either printed.

    Raises: KeyError, TypeError or ValueError when it is damaged.
    """
    if "earned" not in state:
        return Fixed(float(state["needed"]))
    names: Sequence[str] = ("at", "count", "mean", "error")
    return Earned(**{name: np.array(state["earned"][name], dtype=np.float64) for name in names})


def earned(expected: Floats, moved: Floats, opened_at: npt.NDArray[np.int64]) -> Earned:
    """Return what following each threshold earned on rows that moved by `moved` (NaN where unknown), of candles opened then.

    Thresholds that were passed too seldom to say anything are left out. The error is that of a ratio of sums over spans of time.
    """
    known = np.isfinite(moved)
    size, came = np.abs(expected[known]), np.sign(expected[known]) * moved[known]
    block = np.unique(opened_at[known] // BLOCK, return_inverse=True)[1]
    found = []
    for at in LADDER:
        taken = size > at
        total, count = np.bincount(block[taken], came[taken]), np.bincount(block[taken])
        blocks = int((count > 0).sum())
        if count.sum() < FEWEST_TAKEN or blocks < FEWEST_BLOCKS:
            break
        mean = float(total.sum() / count.sum())
        rest = total - mean * count
        error = np.sqrt(float(rest @ rest) * blocks / (blocks - 1)) / count.sum()
        found.append((float(at), float(count.sum()), mean, float(error)))
    table = np.array(found, dtype=np.float64).reshape(-1, 4)
    return Earned(*(np.ascontiguousarray(column) for column in table.T))
