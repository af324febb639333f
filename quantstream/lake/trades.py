"""Reads stored trades exactly, in bounded memory: some blocks of each symbol's days.

A busy week does not fit into memory. A block of consecutive trades is read file by file and left at its last row, so that what
is read, and what memory it takes, goes by what is asked for and not by what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote
from zlib import crc32

import numpy as np
import pyarrow as pa

from quantstream.core.errors import Unavailable
from quantstream.core.trade import Trade
from quantstream.lake.store import UNREADABLE, Lake

COLUMNS = ("symbol", "id", "first_trade_id", "last_trade_id", "price", "quantity", "traded_at", "buyer_is_maker")
AT_ONCE = 16_384  # rows of a file that are decoded at once
Day = tuple[str, date]  # a symbol and a day: one partition of the table


def trades_of(rows: pa.Table, skips: bool = False) -> Iterator[Trade]:
    """Yield the trades of rows of the lake's table; of aggregates whose trades' ids skip, the own ids count."""
    names = ("symbol", "id", "first_trade_id", "last_trade_id")
    plain = [rows[name].to_pylist() for name in names]
    exact = [units(rows[name]) for name in ("price", "quantity")]
    at = rows["traded_at"].cast(pa.int64()).to_pylist()
    for values in zip(*plain, *exact, at, rows["buyer_is_maker"].to_pylist(), [skips] * len(at), strict=True):
        yield Trade(*values)


def units(column: pa.ChunkedArray) -> list[int]:
    """Return a column of decimal128 as scaled integers, exactly: the column's own 16 bytes, not text."""
    found: list[int] = []
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], dtype=np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
        low, high = words[0::2].view(np.uint64).tolist(), words[1::2].tolist()
        found += [below + (above << 64) for below, above in zip(low, high, strict=True)]
    return found


@dataclass(frozen=True)
class StoredDay:
    """The files of one symbol's day in the order of their trades, and how many rows each has."""

    symbol: str
    day: date
    files: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        """Rows of the day, as the table's log says."""
        return sum(count for _, count in self.files)


class StoredTrades:
    """The trades table at one version, as its log describes it: data is read only when it is asked for."""

    def __init__(
        self, lake: Lake, symbols: Iterable[str], first: date, last: date, with_quarantined: bool = False
    ) -> None:
        """Look at some symbols over the days `[first, last]`, those in quarantine left out unless one asks for them.

        Raises: Unavailable.
        """
        self.url, table = lake.url, lake.table("trades")
        held = frozenset() if with_quarantined else lake.held("trades")
        wanted = set(symbols)
        log = pa.table(table.get_add_actions(flatten=True))
        rows = log.select(["path", "num_records", "partition.symbol", "partition.date", "min.traded_at"]).to_pylist()
        found: dict[Day, list[tuple[object, str, int]]] = {}
        for row in rows:
            key = row["partition.symbol"], _date(row["partition.date"])
            if key[0] in wanted and first <= key[1] <= last and key not in held:
                found.setdefault(key, []).append((row["min.traded_at"], unquote(row["path"]), row["num_records"]))
        self.days = [
            StoredDay(symbol, day, tuple((path, count) for _, path, count in sorted(files, key=_order)))
            for (symbol, day), files in sorted(found.items())
        ]
        self._files = {fragment.path: fragment for fragment in table.to_pyarrow_dataset().get_fragments()}

    def sample(self, most: int, seed: int) -> list[Trade]:
        """Return about `most` trades, an even share of each symbol and day, one block each that begins where `seed` says.

        All of a day that has no more than its share; all of everything when there are no more than `most`. In order of time.
        Raises: Unavailable.
        """
        shares = even_shares({(one.symbol, one.day): one.count for one in self.days}, most)
        trades: list[Trade] = []
        for one in self.days:
            share = shares[one.symbol, one.day]
            rng = np.random.default_rng([seed, crc32(f"{one.symbol} {one.day}".encode())])
            trades += self.stretch(one, int(rng.integers(0, one.count - share + 1)), share)
        return sorted(trades, key=lambda trade: (trade.traded_at, trade.symbol, trade.id))

    def stretch(self, day: StoredDay, skip: int, count: int) -> Iterator[Trade]:
        """Yield `count` trades of a day after the first `skip`, as they lie in its files.

        Raises: Unavailable.
        """
        for path, rows in day.files:
            if skip >= rows:
                skip -= rows
                continue
            try:
                for batch in self._batches(path):
                    part = batch.slice(skip, count)
                    skip = max(0, skip - batch.num_rows)
                    count -= part.num_rows
                    yield from trades_of(self._whole(part, day.symbol))
                    if not count:
                        return
            except UNREADABLE as error:
                raise Unavailable(f"the lake table trades at {self.url} cannot be read: {error}") from error
            skip = 0

    def _batches(self, path: str) -> Iterator[pa.Table]:
        columns = [name for name in COLUMNS if name != "symbol"]
        fragment = self._files[path]
        for batch in fragment.to_batches(columns=columns, batch_size=AT_ONCE, batch_readahead=1, fragment_readahead=1):
            yield pa.Table.from_batches([batch])

    def _whole(self, rows: pa.Table, symbol: str) -> pa.Table:
        return rows.append_column("symbol", pa.array([symbol] * rows.num_rows, pa.string()))


def even_shares(counts: Mapping[Day, int], most: int) -> dict[Day, int]:
    """Return how many trades to take of each day: at most `most` together, shared as evenly as the days allow."""
    shares: dict[Day, int] = {}
    left = most
    ordered: Sequence[Day] = sorted(counts, key=lambda key: (counts[key], key))
    for place, key in enumerate(ordered):
        shares[key] = min(counts[key], left // (len(ordered) - place))
        left -= shares[key]
    return shares


def _date(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _order(file: tuple[object, str, int]) -> tuple[bool, str, str]:
    at, path, _ = file
    return at is None, str(at), path
