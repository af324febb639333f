"""One symbol's closed candles as arrays: what the live scorer holds, and what a frame is read into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED_LENGTH

STEP_US = SCORED_LENGTH  # window lengths count candles of this length
PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume", "taker_buy_volume")
REQUIRED = ("opened_at", *PRICES, "volume")


@dataclass(frozen=True)
class Series:
    """Candles in time order. The arrays may be views of a history that goes on: valid until it takes its next candle.

    `edits` is raised by whoever changes anything but appending at the end; rows computed before are then void.
    """

    at: npt.NDArray[np.int64]  # opening times, µs
    columns: Mapping[str, Floats] = field(repr=False)  # those of `COLUMNS` that there are
    revision: int = 0  # of the newest candle
    edits: int = 0
    sound: int = 0  # of the newest candles: known to be sound and without a gap between them
    digest: int | None = None  # as `history_digests.history_digest`, where whoever holds the candles keeps it up

    def __len__(self) -> int:
        """How many candles."""
        return len(self.at)

    def tail(self, count: int) -> Series:
        """Return the last candles only."""
        start = max(len(self.at) - count, 0)
        columns = {name: one[start:] for name, one in self.columns.items()}
        return Series(self.at[start:], columns, self.revision, self.edits, min(self.sound, count))

    def is_whole(self, count: int) -> bool:
        """Whether the last `count` candles are sound and follow one another without a gap."""
        return 0 < count <= len(self) and (self.sound >= count or run_of(self.at, self.columns) >= count)


def run_of(at: npt.NDArray[np.int64], columns: Mapping[str, Floats]) -> int:
    """Return how many of the newest candles are sound and follow one another without a gap."""
    if not len(at) or at[-1] % STEP_US:
        return 0
    good = is_sound([columns[name] for name in PRICES], columns["volume"])
    follows = np.diff(at, prepend=at[0] - STEP_US) == STEP_US
    broken = np.flatnonzero(~good)
    begins = np.flatnonzero(~follows)
    return len(at) - max(int(broken[-1]) + 1 if len(broken) else 0, int(begins[-1]) if len(begins) else 0)


def is_sound(prices: Sequence[Floats], volume: Floats) -> npt.NDArray[np.bool_]:
    """Return which candles have finite prices above zero and a finite volume; the others count as missing."""
    stacked = np.stack(prices)
    good = np.all(np.isfinite(stacked) & (stacked > 0), axis=0) & (volume >= 0) & (volume < np.inf)
    return np.asarray(good, dtype=np.bool_)


def series_of(candles: pd.DataFrame) -> Series:
    """Return a frame's candles as arrays. Raises: DataRejected for missing columns."""
    if absent := [name for name in REQUIRED if name not in candles.columns]:
        raise DataRejected(f"candles lack {', '.join(absent)}")
    columns = {
        name: candles[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in COLUMNS if name in candles.columns
    }
    revision = int(candles["revision"].iloc[-1]) if "revision" in candles.columns and len(candles) else 0
    return Series(opened_at_us(candles), columns, revision)


def opened_at_us(candles: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the opening times as µs since the epoch; times without a zone are taken as UTC."""
    if str(candles["opened_at"].dtype) == "datetime64[us, UTC]":  # as the lake has it: nothing to convert
        return np.asarray(candles["opened_at"].array.asi8, dtype=np.int64)
    times = pd.DatetimeIndex(pd.to_datetime(candles["opened_at"], utc=True)).as_unit("us")
    return times.asi8.astype(np.int64)
