"""What retention has deleted of the table of trades, by symbol: up to which day, and how many rows.

It is kept beside the table as its writers keep their states, and changes in the same commit as the files. Without it a sum over
the table would look like a loss, and a day that was deleted on purpose like one that is missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from quantstream.core.errors import Unavailable
from quantstream.core.time import DAY, utc
from quantstream.lake.store import Lake

APPLICATION = "retention"
TRADES = "trades"
TRIES = 10  # its state is there for one deletion more


class DeletedTrades(msgspec.Struct, frozen=True):
    """Days that began before `before` (µs) are deleted, `rows` in all."""

    before: int
    rows: int

    @property
    def last_day(self) -> str:
        """The last day that is deleted."""
        return f"{utc(self.before - DAY):%Y-%m-%d}"


_decoder = msgspec.json.Decoder(dict[str, DeletedTrades])


def deleted_trades(lake: Lake, table: Any = None) -> dict[str, DeletedTrades]:
    """Return what is deleted of each symbol, at the version of `table` if that is open. Raises: Unavailable."""
    for _ in range(TRIES):
        opened = table or lake.table(TRADES)
        reached = lake.progress(TRADES, APPLICATION, opened)
        if reached is None:
            return {}
        raw = lake.state(TRADES, APPLICATION, reached)
        if raw is not None:
            return _decoder.decode(raw)
        table = None
    raise Unavailable(f"the lake at {lake.url} says that trades were deleted, but not which: put trades/_state back")


def rows_ever(lake: Lake, table: Any) -> dict[str, int]:
    """Return how many rows of each symbol an open table of trades holds and held before retention. Raises: Unavailable."""
    rows = lake.rows(TRADES, table)
    for symbol, gone in deleted_trades(lake, table).items():
        rows[symbol] = rows.get(symbol, 0) + gone.rows
    return rows
