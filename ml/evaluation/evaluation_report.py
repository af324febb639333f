"""A judgement as one HTML page with plots: no scripts, no files beside it, so that it can lie anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

SIDE, MARGIN = 260, 34  # pixels
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1d2733}
table{border-collapse:collapse;margin:.5em 0 1.5em;font-size:13px}
td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #dde3ea}
td:first-child,th:first-child{text-align:left}
figure{display:inline-block;margin:.5em 1em .5em 0}figcaption{font-size:13px;color:#566}
svg{background:#fafbfc;border:1px solid #dde3ea}"""
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
    parts = [_section(kind, found) for kind, found in result.items() if kind != "seconds"]
    head = f"<meta charset='utf-8'><title>Model report</title><style>{STYLE}</style>"
    note = "<p>Judged on candles after those learned from, corrected online as in service. Bounds: 95 %, bootstrap over days.</p>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><h1>Model report</h1>{note}{''.join(parts)}</body></html>"


def _section(kind: str, found: Mapping[str, Any]) -> str:
    columns = SHOWN[kind]
    rows = {"all": found["pooled"], **found["symbols"]}
    plots = [_curve(name, points) for name, points in found.get("curves", {}).items()]
    cuts = [(title, found[cut]) for cut, title in CUTS.items() if found.get(cut)]
    plots += [
        _bars(f"{title}: {BARS[kind]}", {key: one[BARS[kind]] for key, one in cut.items()}) for title, cut in cuts
    ]
    tables = [f"<h3>{title}</h3>{_table(cut, columns)}" for title, cut in cuts]
    if months := found.get("coverage_by_month"):
        names = sorted({month for one in months.values() for month in one})
        tables.append(f"<h3>Coverage of the 90 % interval at 1h, by month</h3>{_table(months, names)}")
    every = _table({"all": found["pooled"]}, list(found["pooled"]), turned=True)
    heading = f"<h2>{escape(kind)}</h2><p>{found['rows']:,} rows judged.</p>"
    return heading + _table(rows, columns) + "".join(plots) + "".join(tables) + f"<h3>All figures</h3>{every}"


def _table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str], turned: bool = False) -> str:
    if turned:
        lines = "".join(
            f"<tr><td>{escape(name)}</td><td>{_number(rows['all'].get(name))}</td></tr>" for name in columns
        )
        return f"<table>{lines}</table>"
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns))
    lines = "".join(
        f"<tr><td>{escape(key)}</td>{''.join(f'<td>{_number(row.get(name))}</td>' for name in columns)}</tr>"
        for key, row in rows.items()
    )
    return f"<table><tr>{head}</tr>{lines}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _curve(name: str, points: Sequence[Sequence[float]]) -> str:
    """Said on the x axis, came on the y axis; the diagonal is perfect."""
    top = max((max(point) for point in points), default=1.0) or 1.0
    inner = SIDE - 2 * MARGIN
    places = [(MARGIN + inner * x / top, SIDE - MARGIN - inner * y / top) for x, y in points]
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='#0b6bcb'/>" for x, y in places)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    near, far = MARGIN, SIDE - MARGIN
    diagonal = f"<line x1='{near}' y1='{far}' x2='{far}' y2='{near}' stroke='#b8c2cc' stroke-dasharray='4'/>"
    ends = f"<text x='{near}' y='{SIDE - 12}' font-size='11'>0</text>"
    ends += f"<text x='{far - 20}' y='{SIDE - 12}' font-size='11'>{top:.2f}</text>"
    drawn = f"{diagonal}<polyline points='{line}' fill='none' stroke='#0b6bcb'/>{dots}{ends}"
    caption = f"{escape(name)}: said against came"
    return _figure(drawn, caption, SIDE)


def _bars(name: str, values: Mapping[str, float]) -> str:
    width = max(SIDE, 24 * len(values) + 2 * MARGIN)
    low, high = min(0.0, *values.values()), max(0.0, *values.values())
    scale = (SIDE - 2 * MARGIN) / ((high - low) or 1.0)
    step = (width - 2 * MARGIN) / max(len(values), 1)
    zero = SIDE - MARGIN + low * scale
    drawn = f"<line x1='{MARGIN}' y1='{zero:.1f}' x2='{width - MARGIN}' y2='{zero:.1f}' stroke='#566'/>"
    for i, (key, value) in enumerate(values.items()):
        x, height = MARGIN + i * step, abs(value) * scale
        y = zero - height if value >= 0 else zero
        drawn += f"<rect x='{x:.1f}' y='{y:.1f}' width='{step * 0.8:.1f}' height='{height:.1f}' fill='#0b6bcb'/>"
        drawn += f"<text x='{x:.1f}' y='{SIDE - 10}' font-size='10'>{escape(key)}</text>"
    drawn += f"<text x='{MARGIN}' y='{MARGIN - 10}' font-size='11'>{high:.4g}</text>"
    return _figure(drawn, escape(name), width)


def _figure(drawn: str, caption: str, width: int) -> str:
    return f"<figure><svg width='{width}' height='{SIDE}' role='img'>{drawn}</svg><figcaption>{caption}</figcaption></figure>"
