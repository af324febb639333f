"""A judgement as one HTML page with plots: no scripts, no files beside it, so that it can lie anywhere.

How it looks is in `evaluation_report.html.jinja`; what is shown, and where the points of a plot lie, is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ml.data.universe import UNKNOWN

SIDE, MARGIN = 260, 34  # pixels
INNER = SIDE - 2 * MARGIN
CUTS = {"by_hour": "By hour of the day (UTC)", "by_volatility": "By the day's volatility"}
SHOWN = {
    "risk": ("auc", "auc_har", "auc_gain", "brier", "brier_har", "brier_skill", "ece", "rate"),
    "signal": ("log_loss", "log_loss_base", "log_loss_logistic", "ece", "rank_ic_1h", "trades", "net_bp_per_trade"),
    "forecast": ("pinball_skill_5m", "pinball_skill_15m", "pinball_skill_1h", "coverage_90", "rank_ic_1h"),
    "anomaly": ("novel_share",),
}
BARS = {"risk": "auc_gain", "signal": "log_loss", "forecast": "pinball_skill_1h", "anomaly": "novel_share"}


def page(result: Mapping[str, Any]) -> str:
    """Return the page of what `trial.run` returned, or of `{kind: Report.fields()}`."""
    pages = Environment(
        loader=PackageLoader("ml.evaluation", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pages.filters["number"] = _number
    sections = [_section(kind, found) for kind, found in result.items() if kind != "seconds"]
    template = pages.get_template("evaluation_report.html.jinja")
    return template.render(sections=sections, side=SIDE, near=MARGIN, far=SIDE - MARGIN)


def _section(kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    cuts = [(title, found[cut]) for cut, title in CUTS.items() if found.get(cut)]
    months = found.get("coverage_by_month") or {}
    return {
        "kind": kind,
        "rows": found["rows"],
        "universe": found.get("universe", UNKNOWN),
        "columns": SHOWN[kind],
        "figures": {"all": found["pooled"], **found["symbols"]},
        "pooled": found["pooled"],
        "curves": [_curve(name, points) for name, points in found.get("curves", {}).items()],
        "bars": [
            _bars(f"{title}: {BARS[kind]}", {key: one[BARS[kind]] for key, one in cut.items()}) for title, cut in cuts
        ],
        "cuts": cuts,
        "months": months,
        "month_names": sorted({month for one in months.values() for month in one}),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _curve(name: str, points: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Predictions on the x axis, outcomes on the y axis; the diagonal is perfect."""
    top = max((max(point) for point in points), default=1.0) or 1.0
    places = [(MARGIN + INNER * x / top, SIDE - MARGIN - INNER * y / top) for x, y in points]
    return {"name": name, "top": top, "places": places}


def _bars(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    width = max(SIDE, 24 * len(values) + 2 * MARGIN)
    low, high = min(0.0, *values.values()), max(0.0, *values.values())
    scale, step = INNER / ((high - low) or 1.0), (width - 2 * MARGIN) / max(len(values), 1)
    zero = SIDE - MARGIN + low * scale
    places = [
        (key, MARGIN + turn * step, zero - max(value, 0.0) * scale, abs(value) * scale)
        for turn, (key, value) in enumerate(values.items())
    ]
    return {"name": name, "width": width, "zero": zero, "high": high, "places": places, "thickness": step * 0.8}
