"""Whether a challenger may leave the shadow: a pure decision from its realised losses and the champion's on the same candles.

The rule. It is judged after N closed windows, and after 2 N, 4 N … while the answer is open; not at every look, for whoever
looks often enough sees luck. Surely higher than the champion's, by a paired bootstrap over blocks of time: it expires. Else no
higher, or by no more than the gate tolerates: it is promoted, for of two that are as good the newer has seen more; a row of them
cannot walk down, for the gate holds each against a reference that does not move. Neither, until its days in the shadow are over:
it expires.

A model of probabilities is not judged before each outcome that it speaks of came in some hours: while nothing happens the one
that says a little less seems surely better, of any two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.evaluation import bootstrap
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, HOUR

BLOCKS = (
    (DAY, "days"),
    (6 * HOUR, "quarters of days"),
    (HOUR, "hours"),
)  # an outcome takes an hour: no block is shorter
FEWEST_BLOCKS = 10  # below it shorter ones are drawn
LEAST_BLOCKS = 6  # two that happen to be alike seem to prove anything
FEWEST_HOURS = (
    4  # in which an outcome came: all of four are left out of 1.8 % of the draws, less than an interval's tail
)


class Verdict(StrEnum):
    """What becomes of a challenger."""

    WAITS = "waits"
    PROMOTED = "promoted"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Rule:
    """After how many closed windows a challenger is judged, and how long it may stay."""

    windows: int
    longest: timedelta
    tolerance: float = 0.0  # of the champion's loss, by which its own may be higher in the mean


@dataclass(frozen=True)
class Paired:
    """Losses of two versions on the same candles: rows of one symbol and window each, in any order."""

    at: npt.NDArray[np.int64]  # opening times, µs
    ours: Floats  # the challenger's
    theirs: Floats  # the champion's
    measure: str  # what a loss is, in words
    came: npt.NDArray[np.int64] | None = None  # of each pair the place of what came among `outcomes`
    outcomes: tuple[str, ...] = ()  # in words, all that may come; none where what comes is a number

    @property
    def windows(self) -> int:
        """How many windows have a pair."""
        return len(np.unique(self.at))

    def first(self, windows: int) -> Paired:
        """Return the pairs of the first so many windows."""
        times = np.unique(self.at)[:windows]
        keep = self.at <= times[-1] if len(times) else np.zeros(len(self.at), dtype=bool)
        came = None if self.came is None else self.came[keep]
        return Paired(self.at[keep], self.ours[keep], self.theirs[keep], self.measure, came, self.outcomes)

    def rarest(self) -> tuple[str, int] | None:
        """Return the outcome that came in the fewest hours, and in how many; None where what comes is a number."""
        if self.came is None:
            return None
        hours = [len(np.unique(self.at[self.came == place] // HOUR)) for place in range(len(self.outcomes))]
        return min(zip(self.outcomes, hours, strict=True), key=lambda one: one[1])


@dataclass(frozen=True)
class Ruling:
    """A verdict with its reason in a sentence and its figures."""

    verdict: Verdict
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def rule_on(paired: Paired, rule: Rule, age: timedelta) -> Ruling:
    """Return what becomes of a challenger that came into the shadow so long ago."""
    looked_at = _look(paired.windows, rule.windows)
    if looked_at is not None:
        ruling = _compared(paired.first(looked_at), rule.tolerance)
        if ruling.verdict is not Verdict.WAITS:
            return ruling
    if age > rule.longest:
        return _too_old(paired, rule)
    if looked_at is not None:
        return ruling
    why = f"{paired.windows} of {rule.windows} closed windows with a realised loss of both"
    return Ruling(Verdict.WAITS, why, {"windows": paired.windows})


def _look(have: int, wanted: int) -> int | None:
    """Return how many windows the last look took: N, 2 N, 4 N …; None before the first."""
    if have < wanted or not have:
        return None
    look = max(wanted, 1)
    while 2 * look <= have:
        look *= 2
    return look


def _compared(paired: Paired, tolerance: float) -> Ruling:
    rarest = paired.rarest()
    if rarest is not None and rarest[1] < FEWEST_HOURS:
        why = (
            f"{rarest[0]} came in {rarest[1]} hours of {paired.windows} closed windows; "
            f"before it came in {FEWEST_HOURS} losses say nothing"
        )
        return Ruling(Verdict.WAITS, why, {"windows": paired.windows, "rarest": rarest[0], "hours": rarest[1]})
    ours, theirs = float(paired.ours.mean()), float(paired.theirs.mean())
    low, high, drawn = _bounds(paired)
    evidence = {
        "windows": paired.windows,
        "pairs": len(paired.at),
        "loss": ours,
        "champions_loss": theirs,
        "excess": ours - theirs,
        "excess_low": low,  # None where nothing is known
        "excess_high": high,
        "drawn": drawn,
        "measure": paired.measure,
        "tolerance": tolerance,
    }
    said = (
        f"{paired.measure} {ours:.6g} against the champion's {theirs:.6g} on {len(paired.at)} pairs of {paired.windows} closed "
        f"windows; difference {ours - theirs:+.3g}, {drawn}"
    )
    if low is not None and low > 0:
        return Ruling(Verdict.EXPIRED, f"surely worse in the shadow: {said}", evidence)
    if ours <= theirs * (1 + tolerance):
        return Ruling(Verdict.PROMOTED, f"no worse in the shadow: {said}", evidence)
    return Ruling(Verdict.WAITS, f"neither no worse nor surely worse: {said}", evidence)


def _too_old(paired: Paired, rule: Rule) -> Ruling:
    days = rule.longest / timedelta(days=1)
    why = f"it was in the shadow for {days:g} days and did not come to be no worse than the champion"
    if paired.windows < rule.windows:
        why = f"it was in the shadow for {days:g} days and has {paired.windows} of the {rule.windows} closed windows it needs"
    return Ruling(Verdict.EXPIRED, why, {"windows": paired.windows})


def _bounds(paired: Paired) -> tuple[float | None, float | None, str]:
    """Return the 95 % bounds of the mean difference, and them in words; of too few blocks nothing is known."""
    cuts = [(np.unique(paired.at // length, return_inverse=True)[1].astype(np.intp), name) for length, name in BLOCKS]
    blocks, name = next((cut for cut in cuts if cut[0].max() + 1 >= FEWEST_BLOCKS), cuts[-1])
    count = int(blocks.max()) + 1
    if count < LEAST_BLOCKS:
        return None, None, f"how sure that is cannot be said of so few {name}"
    excess, size = np.bincount(blocks, paired.ours - paired.theirs), np.bincount(blocks).astype(np.float64)
    low, high = bootstrap.interval(blocks, lambda weight: float(weight @ excess) / max(float(weight @ size), 1.0))
    return low, high, f"95 % from {low:+.3g} to {high:+.3g} by {count} {name}"
