"""A judgement as one HTML page that begins with the verdict: no scripts, no files beside it, so that it can lie anywhere.

How it looks is in `evaluation_report.html.jinja`, how it is drawn in `evaluation_plots`; what is shown is here. Figures that are
not numbers are left out of plots and said to be unknown in tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ml.data.universe import UNKNOWN
from ml.evaluation import evaluation_plots as plots
from ml.metric_words import words

TITLES = {"forecast": "Forecast", "signal": "Signal", "risk": "Risk", "anomaly": "Anomaly"}
PRIMARY = {"forecast": "pinball_bp", "signal": "log_loss", "risk": "brier", "anomaly": "missed_fat_fingers"}
SHOWN = {
    "forecast": (
        "pinball_bp",
        "pinball_skill",
        "pinball_skill_1h",
        "coverage_90_5m",
        "coverage_90_15m",
        "coverage_90_1h",
        "rank_ic_1h",
    ),
    "signal": (
        *(
            "log_loss",
            "log_loss_base",
            "log_loss_logistic",
            "ece",
            "rank_ic_1h",
            "rank_ic_1h_tails",
            "rank_ic_action_tails",
        ),
        *("hold_share", "net_bp_per_trade", "round_trip_bp", "acts_below_bp"),
    ),
    "risk": ("brier", "brier_har", "brier_skill", "auc", "auc_har", "auc_gain", "ece", "rate"),
    "anomaly": ("fat_finger_recall", "missed_fat_fingers", "fat_fingers", "false_alarms_per_100k", "novel_share"),
}
BY_GROUP = {
    "forecast": ("pinball_bp", "pinball_skill", "coverage_90_1h", "rank_ic_1h"),
    "signal": ("log_loss", "log_loss_base", "ece", "rank_ic_1h", "rank_ic_1h_tails", "hold_share"),
    "risk": ("brier", "brier_har", "auc", "ece", "rate"),
    "anomaly": ("novel_share",),
}
GROUPS = {
    "by_hour": "hour of the day (UTC)",
    "by_volatility": "volatility of the day before, in thirds",
    "by_symbol": "symbol",
}
AGAINST = {
    "forecast": "loss saved against quantiles scaled by past volatility",
    "signal": "loss saved against the past's base rates",
    "risk": "squared error saved against the HAR regression",
}
CURVES = {
    "reliability": ("predicted probability of an abnormal hour", "hours that were abnormal"),
    "quantiles": ("share of returns that should lie below the quantile", "share that did, 1 hour ahead"),
    **{
        f"reliability {action}": (f"predicted probability that {of}", "candles on which it was so")
        for action, of in (
            ("Buy", "the upper barrier is touched first"),
            ("Sell", "the lower barrier is touched first"),
            ("Hold", "no barrier is touched"),
        )
    },
}
COVERED = 0.9


def page(evidence: Mapping[str, Any]) -> str:
    """Return the page of one version, as `ml.training.evidence.evaluation_of` tells of it."""
    return _render([_section(evidence["kind"], evidence)])


def pages(result: Mapping[str, Any]) -> str:
    """Return the page of what `trial.run` returned: models that were judged without a gate, and nothing else."""
    return _render([_section(kind, found) for kind, found in result.items() if kind in TITLES])


def _render(sections: Sequence[Mapping[str, Any]]) -> str:
    environment = Environment(
        loader=PackageLoader("ml.evaluation", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("evaluation_report.html.jinja").render(sections=sections)


def _section(kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    version, pooled = found.get("version", ""), found.get("pooled", {})
    bounds = found.get("deflated", {}).get("bounds", {})
    return {
        "title": f"{TITLES[kind]} model" + (f", version {version}" if version else ""),
        "outcome": found.get("outcome", ""),
        "verdict": found.get("verdict") or _verdict(kind, found),
        "checks": found.get("checks", []),
        "rows": found.get("rows", 0),
        "notes": found.get("notes") or [*_look(found), found.get("universe", UNKNOWN)],
        "tried": found.get("deflated", {}).get("tried", 1),
        "figures": [_figure(name, pooled, bounds) for name in SHOWN[kind] if name in pooled],
        "plots": [Markup(one) for one in _plots(kind, found)],  # drawn by us, and matplotlib escapes names
        "groups": [
            (
                along,
                [words(name) for name in BY_GROUP[kind]],
                [(key, [_value(name, row.get(name)) for name in BY_GROUP[kind]]) for key, row in rows.items()],
            )
            for along, rows in (
                (along, found.get({"by_symbol": "symbols"}.get(key, key))) for key, along in GROUPS.items()
            )
            if rows
        ],
        "rest": [
            _figure(name, pooled, bounds)
            for name in pooled
            if name not in SHOWN[kind] and not name.endswith(("_low", "_high"))
        ],
    }


def _verdict(kind: str, found: Mapping[str, Any]) -> str:
    """Say how a model did that went through no gate."""
    metric, compared = words(PRIMARY[kind]), found.get("baselines", {}).get(PRIMARY[kind], {})
    value = found.get("pooled", {}).get(PRIMARY[kind], float("nan"))
    told = " and ".join(f"{one['told']} that of {name}" for name, one in compared.items())
    return f"Judged without the gate: its {metric.words} is {_value(PRIMARY[kind], value)}" + (
        f", {told}." if told else "."
    )


def _look(found: Mapping[str, Any]) -> list[str]:
    return [found["looks"]["sentence"]] if "looks" in found else []


def _figure(
    name: str, pooled: Mapping[str, float], wider: Mapping[str, Sequence[float]]
) -> tuple[str, str, str, str, str]:
    """Return a row of the table: words, value, interval, the interval after all that was tried, which way is better."""
    alone, after = (
        _interval(name, [pooled.get(name + end) for end in ("_low", "_high")]),
        _interval(name, wider.get(name, ())),
    )
    return words(name).words, _value(name, pooled.get(name)), alone, after, str(words(name).better)


def _interval(name: str, bounds: Sequence[float | None]) -> str:
    known = [one for one in bounds if one is not None and isfinite(one)]
    return " to ".join(words(name).value(float(one)) for one in known) if len(known) == 2 else ""


def _value(name: str, value: float | None) -> str:
    return words(name).value(value) if value is not None and isfinite(value) else "unknown"


def _is_known(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _plots(kind: str, found: Mapping[str, Any]) -> list[str]:
    drawn = []
    if others := _others(kind, found):
        drawn.append(plots.against(others, words(PRIMARY[kind]).words))
    saved = found.get("skills", {})
    drawn += _by_group(saved, ("by_hour",), AGAINST.get(kind, ""))
    for name, points in found.get("curves", {}).items():
        if whole := [point for point in points if len(point) == 4 and all(map(_is_known, point))]:
            drawn.append(plots.reliability(whole, *CURVES.get(name, ("predicted", "came"))))
    drawn += _by_group(saved, ("by_volatility", "by_symbol"), AGAINST.get(kind, ""))
    if months := _months(saved.get("coverage_by_month", {})):
        drawn.append(plots.coverage(months, COVERED))
    return drawn


def _by_group(skills: Mapping[str, Any], keys: Sequence[str], saved: str) -> list[str]:
    """Draw what was saved in each of some groups; a single group says nothing."""
    known = {key: {name: one for name, one in skills.get(key, {}).items() if all(map(_is_known, one))} for key in keys}
    return [plots.by(groups, GROUPS[key], saved) for key, groups in known.items() if len(groups) > 1]


def _months(covered: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Sequence[float]]]:
    """Return {symbol: {month: figure}} of {"SYMBOL 2024-03": figure}."""
    found: dict[str, dict[str, Sequence[float]]] = {}
    for key, figure in covered.items():
        symbol, _, month = key.rpartition(" ")
        found.setdefault(symbol, {})[month] = figure
    return found


def _others(kind: str, found: Mapping[str, Any]) -> list[tuple[str, plots.Interval]]:
    """Return with what the loss that decides was compared: champion, reference, baselines."""
    rivals = {
        f"{one['role']}, version {one['version']}": one["compared"].get(PRIMARY[kind])
        for one in found.get("rivals", [])
    }
    everybody = {**rivals, **found.get("baselines", {}).get(PRIMARY[kind], {})}
    each = [(name, (one["excess"], one["low"], one["high"])) for name, one in everybody.items() if one]
    return [(name, figures) for name, figures in each if all(map(_is_known, figures))]
