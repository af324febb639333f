"""Days whose trades retention deleted: a single late trade of one must not bring the day back, for a part of a day is no day.

Its candles are proved and kept, and with nothing to compare it with nobody could say whether it belongs to them. So it is refused
by name. Which days are deleted is read when partitions are opened and, as retention goes on in another process, whenever a trade
comes that is older than the day of the newest one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantstream.core.time import DAY
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Flags
from quantstream.decode.columns import TradeColumns
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.deleted_trades import APPLICATION, TRADES, DeletedTrades, deleted_trades

log = logging.getLogger(__name__)
OF_A_DELETED_DAY = (
    "trades of this day and symbol were deleted (QUANTSTREAM_TRADES_DAYS) after its candles were proved: a single one of them "
    "cannot be compared any more; its candle is corrected by `quantstream repair` if the exchange says otherwise"
)


class DeletedDays:
    """Up to when each symbol's trades are deleted, as the sink knows it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._before: Mapping[str, DeletedTrades] = {}
        self._number: int | None = None  # of the deletion that says so
        self._newest = 0  # µs: of all trades seen

    def open(self, table: Any) -> None:
        """Take what is deleted from the open table of trades. Raises: Unavailable."""
        self._number = self.lake.progress(TRADES, APPLICATION, table)
        self._before = deleted_trades(self.lake, table)

    def rows(self, columns: TradeColumns, is_new: Flags, names: Sequence[str]) -> list[int]:
        """Return which of the new trades of a batch are of days that are deleted. Raises: Unavailable."""
        at = columns.at[is_new & (columns.at > 0)]
        odd = {row: item for row, (_, item) in columns.items.items() if is_new[row] and isinstance(item, Trade)}
        times = [int(at.min()), int(at.max())] if len(at) else []
        times += [item.traded_at for item in odd.values()]
        if not times:
            return []
        if min(times) // DAY < self._newest // DAY:
            self._look_again()
        self._newest = max(self._newest, *times)
        if min(times) >= max((one.before for one in self._before.values()), default=0):
            return []
        return self._found(columns, is_new, names, odd)

    def _look_again(self) -> None:
        """Take what was deleted since; the table is opened only where a deletion was begun that is not known."""
        if self.lake.newest_state(TRADES, APPLICATION) != self._number:
            self.open(self.lake.table(TRADES))

    def _found(self, columns: TradeColumns, is_new: Flags, names: Sequence[str], odd: Mapping[int, Trade]) -> list[int]:
        before = np.array([self._until(name) for name in names], np.int64)
        plain = np.flatnonzero(is_new & (columns.at > 0))
        found = plain[columns.at[plain] < before[columns.code[plain]]].tolist()
        found += [row for row, item in odd.items() if item.traded_at < self._until(columns.items[row][0])]
        if found:
            log.warning(
                "late trades of days whose trades are deleted become dead letters",
                extra={
                    "trades": len(found),
                    "symbols": " ".join(sorted({columns.item(row, names)[0] for row in found})),
                },
            )
        return sorted(found)

    def _until(self, symbol: str) -> int:
        gone = self._before.get(symbol)
        return gone.before if gone is not None else 0
