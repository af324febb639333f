"""What is asked of each kind of model: the loss that decides, figures that must lie within bounds, the shape of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantstream.messages.models import HORIZONS, LEVELS
from quantstream.setting_groups import Gate

Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Rule:
    """What is asked of one kind. `primary` is the loss that decides, lower is better; all others of a judgement are guarded."""

    primary: str
    shape: tuple[int, ...]  # of one prediction
    usual_time: float  # of a full-grown one for 64 rows, at most, in yardsticks (`ml.evaluation.timing.yardstick`)


RULES: dict[str, Rule] = {
    "forecast": Rule("pinball_bp", (len(HORIZONS), len(LEVELS)), 20.0),
    "signal": Rule("log_loss", (3,), 8.0),
    "risk": Rule("brier", (), 6.0),
    "anomaly": Rule("missed_fat_fingers", (), 2.0),
}


def bounds(kind: str, limits: Gate) -> Bounds:
    """Return within which bounds, (lowest, highest), which figures of a kind must lie: what it promises, it must hold."""
    coverage = (limits.coverage_low, limits.coverage_high)
    found: dict[str, Bounds] = {
        "forecast": {f"coverage_90_{horizon}": coverage for horizon in HORIZONS},
        "signal": {"ece": (0, limits.calibration_error), "hold_share": (limits.hold_share, 1)},
        "risk": {"ece": (0, limits.calibration_error)},
        "anomaly": {
            "fat_finger_recall": (limits.fat_finger_recall, 1),
            "false_alarms_per_100k": (0, limits.false_alarms_per_100k),
            "novel_share": (0, limits.novel_share),
        },
    }
    return found[kind]
