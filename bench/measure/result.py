"""What every benchmark prints: one JSON object of rows, each with ours, its floor and the ratio, and where it was measured."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.measure import machine


@dataclass(frozen=True)
class Row:
    """One line of the table in RESULTS.md.

    `floor` is the least work without which nobody gets there (a bare library), measured in the same run; None where a
    target is absolute. `target` must be reached, `aim` would be better. `target_ratio` and `aim_ratio` say the same as a
    share of the floor: what counts on a machine that is slower or busier than the one the targets were set on.
    """

    what: str
    unit: str
    ours: float
    target: float | None = None
    aim: float | None = None
    floor: float | None = None
    floor_name: str = ""
    target_ratio: float | None = None
    aim_ratio: float | None = None
    better: Literal["higher", "lower"] = "higher"
    peers: Mapping[str, float] = field(default_factory=dict)  # other engines in the same run, in the same unit

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        return round(self.ours / self.floor, 4) if self.floor else None

    @property
    def reached(self) -> Literal["aim", "target", "no", "none set"]:
        """How far this run came, by the figure itself or by its share of the floor."""
        if self.target is None and self.target_ratio is None:
            return "none set"
        if self._passes(self.aim, self.aim_ratio):
            return "aim"
        return "target" if self._passes(self.target, self.target_ratio) else "no"

    def _passes(self, bound: float | None, share: float | None) -> bool:
        if bound is not None and (self.ours >= bound if self.better == "higher" else self.ours <= bound):
            return True
        return share is not None and self.ratio is not None and self.ratio >= share


def parser(what: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has: `--json` and `--quick`."""
    options = argparse.ArgumentParser(description=what)
    options.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    options.add_argument("--quick", action="store_true", help="a few seconds: shows that it runs, measures nothing")
    return options


def report(bench: str, rows: Sequence[Row], quick: bool, **details: Any) -> dict[str, Any]:
    """Return a benchmark's JSON object. The first row's figures are repeated at the top; `details` are its own."""
    first = rows[0]
    return {
        "bench": bench,
        "quick": quick,
        "ours": first.ours,
        "floor": first.floor,
        "ratio": first.ratio,
        "unit": first.unit,
        **details,
        "rows": [asdict(row) | {"ratio": row.ratio, "reached": row.reached} for row in rows],
        "machine": machine.describe(),
    }


def show(found: Mapping[str, Any], as_json: bool) -> int:
    """Print a report for a program or for a person, and return the exit code."""
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    for row in found["rows"]:
        floor = f", {row['floor_name']} {row['floor']:,.6g}, ratio {row['ratio']:.2f}" if row["floor"] else ""
        peers = "".join(f", {name} {value:,.6g}" for name, value in row["peers"].items())
        sys.stdout.write(f"{row['what']}: {row['ours']:,.6g} {row['unit']}{floor}{peers} ({row['reached']})\n")
    return 0
