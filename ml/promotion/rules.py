"""Whether a new model may go live: a pure decision from its figures and the champion's, with its reasons in words.

The rule. A model must be sane: finite figures, calibrated within bounds, detectors that detect. A model that is not sane is
refused whatever else it is. The first sane model becomes champion even without an edge over the baselines, so that there is
something to serve and to beat; its reasons say that it has none. After that a model must be better than the baselines, or at
least no worse than the champion is against them, and on the same held-out data not worse than the champion by more than the
noise of such figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

NOISE = 0.02  # relative: fits a few candles apart were seen to differ by 0.6 % to 1.8 % on the same held-out data
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """What is asked of one kind. `primary` is lower-is-better; bounds are (lowest, highest)."""

    primary: str
    baselines: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]


RULES: dict[str, Rule] = {
    "forecast": Rule(
        "pinball_1h_bp",
        (),
        {"coverage_90_5m": (0.8, 0.97), "coverage_90_15m": (0.8, 0.97), "coverage_90_1h": (0.8, 0.97)},
    ),
    "signal": Rule("log_loss", ("log_loss_base", "log_loss_logistic"), {"ece": (0, 0.1), "hold_share": (0.5, 1)}),
    "risk": Rule("brier", ("brier_base", "brier_har"), {"ece": (0, 0.1)}),
    "anomaly": Rule(
        "missed_fat_fingers",
        (),
        {"fat_finger_recall": (0.9, 1), "false_alarms_per_100k": (0, 500), "novel_share": (0, 0.2)},
    ),
}


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why."""

    promoted: bool
    reasons: list[str]


def decide(kind: str, challenger: Figures, champion: Figures | None = None) -> Decision:
    """Return the decision on a challenger; `champion` holds the champion's figures on the same data, None when there is none."""
    rule = RULES[kind]
    reasons = [text for text in (_insane(challenger, name, bounds) for name, bounds in rule.bounds.items()) if text]
    if not isfinite(challenger.get(rule.primary, float("nan"))):
        reasons.append(f"{rule.primary} is not a number")
    if reasons:
        return Decision(False, ["not sane: " + reason for reason in reasons])
    edges, beaten = against_baselines(kind, challenger)
    if champion is None:
        first = "first sane model: it becomes champion" + (
            "" if beaten else " although it has no edge over the baselines"
        )
        return Decision(True, [first, *edges])
    ours, theirs = challenger[rule.primary], champion.get(rule.primary, float("inf"))
    compared = f"{rule.primary} {ours:.4g} against the champion's {theirs:.4g} on the same held-out data"
    if isfinite(theirs) and ours > theirs * (1 + NOISE):
        return Decision(False, [f"worse than the champion: {compared}", *edges])
    if not beaten and against_baselines(kind, champion)[1]:
        return Decision(False, [f"no edge over the baselines, which the champion has: {compared}", *edges])
    return Decision(True, [f"not worse than the champion: {compared}", *edges])


def against_baselines(kind: str, figures: Figures) -> tuple[list[str], bool]:
    """Return what the figures say against each baseline, and whether all are beaten."""
    rule = RULES[kind]
    if kind == "forecast":
        skill = figures.get("pinball_skill_1h", float("nan"))
        verdict = "better" if skill > 0 else "not better"
        return [f"{verdict} than HAR-scaled empirical quantiles: pinball skill {skill:+.2%} at 1h"], skill > 0
    if kind == "anomaly":
        found, alarms = figures["fat_finger_recall"], figures["false_alarms_per_100k"]
        return [f"finds {found:.1%} of the fat fingers put in, {alarms:.1f} alarms in 100,000 ordinary trades"], True
    reasons, beaten = [], True
    for name in rule.baselines:
        skill = 1 - figures[rule.primary] / figures[name] if figures[name] > 0 else 0.0
        beaten &= skill > 0
        words = name.removeprefix(f"{rule.primary}_").replace("base", "base rates").replace("har", "HAR logit")
        reasons.append(f"{'better' if skill > 0 else 'not better'} than {words}: {rule.primary} skill {skill:+.2%}")
    if kind == "signal":
        took, earned = figures.get("trades", 0.0), figures.get("net_bp_per_trade", 0.0)
        acted = f"{took:.0f} actions on held-out data, {earned:+.1f} bp each after costs"
        reasons.append(acted if took else "no expected move paid after costs on later data: it always says Hold")
    return reasons, beaten


def _insane(figures: Figures, name: str, bounds: tuple[float, float]) -> str:
    value = figures.get(name, float("nan"))
    low, high = bounds
    return "" if low <= value <= high else f"{name} is {value:.3g}, outside {low:g} to {high:g}"
