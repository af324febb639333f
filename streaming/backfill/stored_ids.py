"""Which trades of an archive's file the lake has already, day by day, whoever brought them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from quantstream.binance.archive import ArchiveFile
from quantstream.core.time import DAY, utc
from quantstream.decode.arrays import Flags, Ints
from quantstream.lake.store import Lake
from streaming.backfill.imports import midnight
from streaming.offline.row_account import Account


class StoredIds:
    """The trades that the lake has already of a file's days, day by day."""

    def __init__(self, lake: Lake, file: ArchiveFile) -> None:
        self.lake, self.symbol = lake, file.series.symbol
        days = {str(part["date"]) for part in lake.table("trades").partitions() if part["symbol"] == self.symbol}
        self.days = {midnight(day.first) for day in file.days() if str(day.first) in days}
        self._day, self._spans = -1, (np.empty(0, np.int64), np.empty(0, np.int64))

    def without(self, rows: pa.Table, account: Account) -> pa.Table:
        """Return the rows that the lake does not have; one that it has in part is refused."""
        if not self.days or not rows.num_rows:
            return rows
        day = rows["traded_at"].cast(pa.int64()).to_numpy() // DAY * DAY
        parts = list[pa.Table]()
        for at in np.unique(day).tolist():
            part = rows.filter(pa.array(day == at))
            parts.append(part.filter(pa.array(self._is_new(part, at, account))) if at in self.days else part)
        return pa.concat_tables(parts)

    def _is_new(self, rows: pa.Table, at: int, account: Account) -> Flags:
        first, last = (rows[name].to_numpy() for name in ("first_trade_id", "last_trade_id"))
        begins, ends = self._stored(at)
        following = np.searchsorted(
            begins, last, side="right"
        )  # how many stored spans begin at or before the row's end
        reached = np.where(following > 0, ends[np.maximum(following - 1, 0)] if len(ends) else -1, -1)
        is_new: Flags = reached < first
        covering = np.where(following > 0, begins[np.maximum(following - 1, 0)] if len(begins) else 0, 0)
        torn = ~is_new & ~((covering <= first) & (last <= reached))
        for row in np.flatnonzero(torn).tolist():
            account.refuse(self.symbol, f"of the trades {first[row]} to {last[row]} the lake has some already")
        return is_new

    def _stored(self, at: int) -> tuple[Ints, Ints]:
        """Return the spans of ids that the lake has of the day that begins at `at`, joined, in order."""
        if self._day != at:
            names = ["first_trade_id", "last_trade_id"]
            rows = self.lake.read("trades", [self.symbol], utc(at), utc(at + DAY), columns=names)
            rows = rows.sort_by("first_trade_id")
            first, last = (rows[name].to_numpy() for name in names)
            begins = np.flatnonzero(np.concatenate([[True], first[1:] > np.maximum.accumulate(last)[:-1] + 1]))
            ends = np.maximum.accumulate(last)[np.append(begins[1:], len(last)) - 1]
            self._day, self._spans = at, (first[begins], ends)
        return self._spans
