"""What a version promised: its losses on what it was judged on when it was registered, and what its outputs were then.

Made once for each version, of the very rows of the table `features` that it names, and kept beside the version as the report
`promise`: nothing of it is taken from the live side.
"""

from __future__ import annotations

from math import exp, log, sqrt

import msgspec
import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from ml.data.feature_table.reading import load_some
from ml.models import online_correction
from ml.monitoring.drift import Reference, whole_blocks
from ml.monitoring.hindsight import OUTPUTS, Rescored, rescored, some
from ml.serving.registry import Registry
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import DAY, HOUR
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS, registered_name

TITLE = "promise"  # of the report
JUDGED, LINEAGE = "evaluation", "lineage"  # the reports that say what it was judged on, and what it learnt
QUARTER, IN_A_DAY = 6 * HOUR, 4  # µs: of a day, longer than any outcome takes
FEWEST = 10  # quarters that say how much a loss differs from one to the next
SURE = 0.999  # that a day as promised is not called worse
REACH = 30 * DAY  # µs: how far back the outputs are looked at
KINDS = {registered_name(kind): kind for kind in MODEL_KINDS}


class Promise(msgspec.Struct, frozen=True):
    """A version's mean loss over each quarter of a day that it was judged on, and its outputs: (days, OUTPUTS, levels)."""

    features_version: int
    symbols: list[str]
    rows: int
    losses: list[float]
    outputs: list[list[list[float]]]

    @property
    def loss(self) -> float:
        """The loss it promised: the mean of its quarters."""
        return float(np.mean(self.losses))

    @property
    def bound(self) -> float:
        """Return the mean loss that a day as promised exceeds once in a thousand; NaN where too few quarters tell.

        By Student's t for one more day of log-normal losses, which are skewed. How much days differ follows from how quarters do
        and how they resemble those before.
        """
        count, centred = len(self.losses), np.array(self.losses) - self.loss
        if count < FEWEST or self.loss <= 0:
            return float("nan")
        alike = [float(centred[step:] @ centred[: count - step]) / (count - 1) for step in range(IN_A_DAY)]
        resembling = sum((1 - step / IN_A_DAY) * alike[step] for step in range(1, IN_A_DAY))
        of_days = max(alike[0], alike[0] + 2 * resembling) / IN_A_DAY
        spread = sqrt(log(1 + of_days / self.loss**2))
        beyond = float(stats.t.ppf(SURE, count - 1)) * spread * sqrt(1 + IN_A_DAY / count)
        return self.loss * exp(beyond - spread**2 / 2)

    def reference(self, kind: str) -> Reference:
        """Return what was ordinary of its outputs."""
        return Reference(OUTPUTS[kind], np.array(self.outputs, dtype=np.float64))


def promise_of(lake: Lake, registry: Registry, name: str, version: str) -> Promise:
    """Return what a version promised, which is found out once.

    Raises: DataRejected when its features are not there any more or say too little, ModelRejected when it does not load here,
    Unavailable.
    """
    kept = registry.evidence(name, version, TITLE)
    if kept is not None:
        try:
            return msgspec.convert(kept, Promise)
        except msgspec.ValidationError:
            pass  # it is of another version of ours, and is found out anew
    found = _found(lake, registry, name, version)
    registry.add_evidence(name, version, TITLE, msgspec.to_builtins(found))
    return found


def _found(lake: Lake, registry: Registry, name: str, version: str) -> Promise:
    tags, judged = registry.tags(name, version), registry.evidence(name, version, JUDGED) or {}
    number, start, end = tags.get("features_version", ""), judged.get("judged_from_us"), judged.get("judged_to_us")
    learnt = (registry.evidence(name, version, LINEAGE) or {}).get("parts")
    if not (number.isdecimal() and start and end and learnt):
        raise DataRejected(f"{name} {version} does not say what it was judged on; a version that is trained now does")
    model, first = registry.load(name, version).model, min(start, end - REACH)
    lead = online_correction.REACH * features.STEP_US
    try:
        data = load_some(lake, int(number), some(learnt), first - lead, end + features.STEP_US)
    except Misconfigured as error:
        raise DataRejected(str(error)) from error
    again = rescored(KINDS[name], model, data, first, end + 1)
    if not (again.opened_at >= start).any():
        raise DataRejected(f"features version {number} has no rows that {name} {version} was judged on")
    ordinary = Reference.of(OUTPUTS[KINDS[name]], again.opened_at, again.outputs).days
    return Promise(int(number), list(data.symbols), len(again.loss), _losses(again, start), ordinary.tolist())


def _losses(again: Rescored, start: int) -> list[float]:
    """The mean loss of each quarter of a day from `start` on, in the order of time."""
    at, loss = again.opened_at[again.opened_at >= start], again.loss[again.opened_at >= start]
    quarters, of_row = whole_blocks(at, QUARTER)
    return [float(loss[of_row == one].mean()) for one in quarters.tolist()]
