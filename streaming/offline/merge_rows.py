"""Sorted rows to one account of each: told once, told again, told otherwise, or dated where it cannot be.

A row that says the same as another is a duplicate. Rows that say different things of one id cannot be told right from wrong: none
counts, and each is named. What is left is in order of id, without overlap, ready for the candle builder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from quantstream.decode.arrays import Flags
from streaming.offline.external_sort import CONTENT, ROW, Rows
from streaming.offline.plausible import Segments
from streaming.offline.row_account import Account, clock

READ = 1 << 16  # rows read back at once
VOTERS = 8  # rows after one that reaches over them which are asked whether it can be


@dataclass
class _Told:
    """What has been kept of one symbol: the row that reaches furthest, and when its trades were."""

    row: np.void | None = None
    reach: int = -1
    segments: Segments = field(default_factory=Segments)


class Reconciler:
    """Reads sorted batches once, keeps what counts in a file, and gives that back without what is misdated."""

    def __init__(self, file: BinaryIO, account: Account, symbols: Sequence[str], sources: Sequence[str]) -> None:
        self.file, self.account, self.symbols, self.sources = file, account, symbols, sources
        self.told: dict[int, _Told] = {}

    def take(self, batch: Rows) -> None:
        """Take the next batch in: all rows of a first id are in one."""
        repeated = _repeated(batch)
        self.account.duplicates += int(np.count_nonzero(repeated & ~batch["is_void"]))
        batch = batch[~repeated]
        for symbol, rows in by_symbol(batch):
            told = self.told.setdefault(symbol, _Told())
            kept = rows[self._sweep(rows, told)]
            trades = kept[~kept["is_void"]]
            told.segments.add(trades["at"], trades["first"], trades["last"])
            self.file.write(np.ascontiguousarray(kept).data)

    def _sweep(self, rows: Rows, told: _Told) -> Flags:
        """Return which rows do not overlap with others."""
        keep = np.ones(len(rows), np.bool_)
        reach = np.maximum.accumulate(np.concatenate([[told.reach], rows["last"]]))[:-1]
        clashes, done = rows["first"] <= reach, 0
        if clashes.any():
            begins = np.flatnonzero(~clashes)
            bounds = [*([0] if clashes[0] else []), *begins.tolist(), len(rows)]
            for start, end in pairwise(bounds):
                if end - start > 1 or clashes[start]:
                    self._reach(told, rows[done:start], keep[done:start])
                    self._judge(rows[start:end], keep[start:end], told)
                    done = end
        self._reach(told, rows[done:], keep[done:])
        return keep

    @staticmethod
    def _reach(told: _Told, rows: Rows, keep: Flags) -> None:
        kept = np.flatnonzero(keep)
        if len(kept):
            told.row, told.reach = rows[kept[-1]], max(told.reach, int(rows["last"][kept[-1]]))

    def _judge(self, rows: Rows, keep: Flags, told: _Told) -> None:
        """Judge rows that overlap, one by one, against the last one that was kept."""
        same_ids = (rows["first"][1:] == rows["first"][:-1]) & (rows["last"][1:] == rows["last"][:-1])
        both = same_ids & ~rows["is_void"][1:] & ~rows["is_void"][:-1]
        contradicted = np.append(both, False) | np.append(False, both)
        for number, row in enumerate(rows):
            if contradicted[number]:
                keep[number] = False
                self._refuse(row, "which another row tells otherwise; neither counts")
            elif int(row["first"]) <= told.reach:
                keep[number] = False
                if row["is_void"]:
                    continue
                if told.row is not None and _is_part(row, told.row):
                    self.account.duplicates += 1
                else:
                    self._refuse(row, f"whose ids up to {told.reach} another row tells otherwise")
            elif _is_outvoted(row, rows[number + 1 : number + 1 + VOTERS]):
                keep[number] = False
                self._refuse(row, "whose ids several other rows tell otherwise")
            else:
                told.row, told.reach = row, int(row["last"])

    def _refuse(self, row: np.void, reason: str) -> None:
        ids = f"trade {row['first']}" if row["first"] == row["last"] else f"trades {row['first']} to {row['last']}"
        place = f"{self.sources[int(row['source'])]}, line {row['line']}"
        self.account.refuse(place, f"{ids} of {self.symbols[int(row['symbol'])]} at {clock(int(row['at']))}, {reason}")

    def ordered(self) -> Iterator[tuple[int, Rows]]:
        """Yield each symbol's rows in order of id, a piece at a time, when all batches were taken in."""
        refused = {symbol: told.segments.refused() for symbol, told in self.told.items() if told.segments.trades}
        passed: dict[int, int] = dict.fromkeys(self.told, 0)
        self.file.seek(0)
        while raw := self.file.read(READ * ROW.itemsize):
            for symbol, rows in by_symbol(np.frombuffer(raw, ROW)):
                bounds = refused.get(symbol)
                is_trade = ~rows["is_void"]
                if bounds is not None:
                    numbers = passed[symbol] + np.cumsum(is_trade) - 1
                    segment = np.searchsorted(bounds[:, 0], numbers, "right") - 1
                    is_far = is_trade & (bounds[np.maximum(segment, 0), 2] == 1)
                    for row in rows[is_far]:
                        self._refuse(row, "a time that is far from those of the trades before and after it by id")
                    rows_left = rows[~is_far]
                else:
                    rows_left = rows
                passed[symbol] += int(np.count_nonzero(is_trade))
                yield symbol, rows_left


def _repeated(rows: Rows) -> Flags:
    """Return which rows say no more than the one after them; of a time in ms and the same in µs the latter is kept."""
    same = np.zeros(len(rows), np.bool_)
    if len(rows) < 2:
        return same
    now, then = rows[:-1], rows[1:]
    found = now["first"] == then["first"]
    if found.any():
        for name in ("symbol", "last", *CONTENT):
            found &= now[name] == then[name]
        found &= (now["at"] == then["at"]) | ((now["at"] % 1000 == 0) & (now["at"] // 1000 == then["at"] // 1000))
    same[:-1] = found
    return same


def _is_part(row: np.void, kept: np.void) -> bool:
    """Tell whether a row may be one of the trades, or a part of those, that an aggregate stands for."""
    is_inside = kept["first"] <= row["first"] and row["last"] <= kept["last"] and not kept["is_void"]
    names = ("price", "price_high", "maker")
    is_same = all(row[name] == kept[name] for name in names) and row["at"] // 1000 == kept["at"] // 1000
    return bool(is_inside and is_same)


def _is_outvoted(row: np.void, following: Rows) -> bool:
    """Tell whether an aggregate reaches over more rows that contradict it than go with it, and not only over one."""
    inside = [other for other in following if other["first"] <= row["last"]]
    against = sum(not _is_part(other, row) for other in inside)
    return against > 1 and 2 * against > len(inside)


def by_symbol(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield each symbol with its rows, which lie together."""
    if len(rows):
        edges = np.flatnonzero(np.diff(rows["symbol"])) + 1
        for part in np.split(rows, edges):
            yield int(part["symbol"][0]), part
