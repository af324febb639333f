"""RESULTS.md and its chart from what the benchmarks printed; benchmarks not run this time keep their last figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

KEPT = "results.json"
SIGNS = {"aim": "✔ aim", "target": "✔", "no": "✘", "none set": "–"}
BAR, ROW, LEFT, RIGHT = 14, 46, 430, 480  # px
COLOURS = {"ours": "#2a78d6", "floor": "#b5b9c0", "peer": "#e3a04f"}


def update(folder: Path, found: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> None:
    """Write `results.json`, `RESULTS.md` and `results.svg` into the folder."""
    kept = folder / KEPT
    every: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    every |= dict(found)
    kept.write_text(json.dumps(every, indent=1, sort_keys=True) + "\n")
    (folder / "RESULTS.md").write_text(markdown(every, failed))
    (folder / "results.svg").write_text(chart(every))


def markdown(every: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """Return the table of all rows, and where each benchmark was run."""
    lines = [
        "# Results",
        "Written by `make bench`. How each figure is taken and what limits it: [README.md](README.md). A target counts as",
        "reached by the figure itself or, where it is given as a share of a floor measured in the same run, by that share:",
        "the machine is shared, its load stands below.",
        "",
        "![ours beside floors and peers](results.svg)",
        "",
        "| what | ours | floor, peers | of the floor | at least | aim | reached |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row) for found in every.values() for row in found["rows"]]
    lines += [
        "",
        "| benchmark | when | Python | processor | load before and after 1, 5, 15 min |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_place(name, found["machine"]) for name, found in every.items()]
    if failed:
        lines += [
            "",
            *(f"`{name}` failed in the last run: {reason.splitlines()[0]}" for name, reason in failed.items()),
        ]
    places: list[Mapping[str, Any]] = [found["machine"] for found in every.values()]
    newest: Mapping[str, Any] = max(places, key=lambda place: str(place["measured_at"]), default={})
    versions = ", ".join(f"{name} {version}" for name, version in newest.get("versions", {}).items())
    return "\n".join([*lines, "", f"Versions: {versions}."]) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    beside = [f"{row['floor_name']} {_number(row['floor'])}"] if row["floor"] else []
    beside += [f"{name} {_number(value)}" for name, value in row["peers"].items()]
    share = f"{row['ratio']:.2f}" if row["ratio"] else "–"
    return (
        f"| {row['what']} | {_number(row['ours'])} {row['unit']} | {'; '.join(beside) or '–'} | {share} "
        f"| {_bound(row, 'target')} | {_bound(row, 'aim')} | {SIGNS[row['reached']]} |"
    )


def _bound(row: Mapping[str, Any], name: str) -> str:
    parts = [_number(row[name])] if row[name] is not None else []
    parts += [f"{row[name + '_ratio']:.2f} of the floor"] if row[name + "_ratio"] is not None else []
    return ("≤ " if row["better"] == "lower" else "≥ ") + " or ".join(parts) if parts else "–"


def _place(name: str, place: Mapping[str, Any]) -> str:
    load = " / ".join(str(load) for load in place["load"])
    return f"| `{name}` | {place['measured_at']} | {place['python']} | {place['cores']} × {place['cpu']} | {load} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def chart(every: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG of bars, every row scaled to its own longest: ours, then the floor, then peers."""
    rows = [row for found in every.values() for row in found["rows"]]
    parts, top = [], 30
    for row in rows:
        bars = [("ours", "ours", row["ours"])]
        bars += [("floor", row["floor_name"], row["floor"])] if row["floor"] else []
        bars += [("peer", name, value) for name, value in row["peers"].items()]
        parts.append(_text(LEFT - 10, top + BAR, row["what"], "end"))
        longest = max(value for _, _, value in bars) or 1
        for kind, name, value in bars:
            width = max(1, round(360 * value / longest))
            parts.append(f'<rect x="{LEFT}" y="{top}" width="{width}" height="{BAR}" fill="{COLOURS[kind]}"/>')
            parts.append(_text(LEFT + width + 6, top + BAR - 3, f"{_number(value)} {row['unit']} · {name}", "start"))
            top += BAR + 3
        top += ROW - 2 * BAR
    size = f'width="{LEFT + 360 + RIGHT}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def _text(x: int, y: int, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#222">{escape(text)}</text>'
