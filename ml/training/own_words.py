"""What a training says of itself in words: of what it learnt, and whom and when it was judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.data.dataset import Dataset, Split


def told(data: Dataset, split: Split, trades: int) -> dict[str, str]:
    """Say in words what was learnt from, `trades` among it, and what it is judged on: tags of a version."""
    at = data.opened_at
    seen = np.concatenate([split.fit, split.calibrate])
    when = {
        name: f"{_day(int(at[rows].min()))} to {_day(int(at[rows].max()))}"
        for name, rows in (("t", seen), ("j", split.judge))
    }
    trained = f"{len(seen):,} candles of {len(data.symbols)} symbols from {when['t']}"
    if trades:
        trained += f", and {trades:,} trades"
    later = (
        f"On {len(split.judge):,} later candles, from {when['j']}, that it never saw; corrected online as in service"
    )
    return {"trained": trained, "judged": later}


def judged(data: Dataset, split: Split) -> list[str]:
    """Say of whom a model was judged where that is not everybody."""
    found = [name for name, (start, end) in zip(data.symbols, data.spans, strict=True) if start < end]
    low, high = (np.searchsorted(split.judge, edge) for edge in zip(*data.spans, strict=True))
    count = int((low < high).sum())
    return [] if count == len(found) else [f"judged on {count} of {len(found)} symbols, which their names chose"]


def sentences(notes: Sequence[str]) -> str:
    """Return notes as sentences."""
    return " ".join(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes)


def _day(at: int) -> str:
    return str(pd.Timestamp(at, unit="us").date())
