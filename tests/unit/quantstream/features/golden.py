"""`python -m tests.unit.quantstream.features.golden`: write the values that the features' versions stand for anew.

It refuses to take a changed value over under an unchanged version: a model would read other numbers than it was fitted on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantstream import features
from tests.unit.ml import markets

FILE = Path(__file__).with_name("golden.json")
RENEW = "python -m tests.unit.quantstream.features.golden"
COUNT = features.WARMUP + 600
SPREAD = 12  # rows over the last two days, besides those in which a feature first differs from what it is in the last
NEAR = 1e-9  # relative: logarithms differ in their last bits from processor to processor


def computed() -> pd.DataFrame:
    """Return every feature of the made-up market that the file is of."""
    return features.compute(markets.candles(COUNT))


def kept() -> dict[str, Any]:
    """Return what the file holds: the hash, the rows it is of, and each feature's version and values in them."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def changed(golden: dict[str, Any], frame: pd.DataFrame) -> list[str]:
    """Return, a sentence each, the features whose values are not those that the file holds under the same version."""
    told = []
    for name, one in features.DEFINITIONS.items():
        before = golden["features"].get(name)
        if before is None or before["version"] != one.version:
            continue
        expected = np.array(before["values"], dtype=float)  # null: not known there
        found = frame[name].to_numpy()[golden["rows"]]
        is_same = np.isclose(found, expected, rtol=NEAR, atol=1e-12, equal_nan=True)
        if not is_same.all():
            row = int(np.argmin(is_same))
            told.append(
                f"{name}, version {one.version}, is {found[row]} and was {expected[row]} in row {golden['rows'][row]}: "
                f"raise its version in quantstream/features/definitions.py, then run {RENEW}"
            )
    return told


def outdated(golden: dict[str, Any]) -> list[str]:
    """Return, a sentence each, what the file says of features that is no longer so."""
    versions = {name: one.version for name, one in features.DEFINITIONS.items()}
    held = {name: one["version"] for name, one in golden["features"].items()}
    told = [
        f"{name} is of version {versions.get(name, 'none')} and of {held.get(name, 'none')} in the file; run {RENEW}"
        for name in versions.keys() | held.keys()
        if versions.get(name) != held.get(name)
    ]
    if golden["feature_hash"] != features.FEATURE_HASH and not told:
        told.append(f"the hash is {features.FEATURE_HASH} and {golden['feature_hash']} in the file; run {RENEW}")
    return sorted(told)


def _rows(frame: pd.DataFrame) -> list[int]:
    """Return rows that show every feature in two states at least, where the market has both."""
    last = len(frame) - 1
    rows = set(range(last, features.WARMUP, -((last - features.WARMUP) // SPREAD)))
    for name in features.NAMES:
        values = frame[name].to_numpy()
        others = np.flatnonzero(np.isfinite(values) & (values != values[last]))
        if not any(values[row] != values[last] for row in rows) and len(others):
            rows.add(int(others[-1]))
    return sorted(rows)


def main() -> int:
    """Write the file; 1 when a formula changed and its version did not."""
    frame = computed()
    if FILE.exists() and (told := changed(kept(), frame)):
        sys.stderr.write("\n".join(told) + "\n")
        return 1
    rows = _rows(frame)
    of = {
        name: {
            "version": one.version,
            "values": [value if np.isfinite(value) else None for value in frame[name].to_numpy()[rows].tolist()],
        }
        for name, one in features.DEFINITIONS.items()
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in of.items())
    head = f'"feature_hash": {json.dumps(features.FEATURE_HASH)}, "rows": {json.dumps(rows)}'
    FILE.write_text(f'{{{head}, "features": {{\n{lines}\n}}}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
