"""What became of the records of each symbol: counted by the batch, told apart when somebody asks.

A count for each trade would cost as much as a part of its parsing. A symbol has one partition as long as nobody writes with
another rule, so one array over the symbols' numbers does, with a dictionary for those that are found in a second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantstream.core.accounts import Account
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.symbol_index import SymbolTable

NOWHERE = -1
PLACES = {name: place for place, name in enumerate(Account.__struct_fields__)}
Key = tuple[int, str]  # partition and symbol


class Tally:
    """Counts records by partition and symbol, those without a number by their key."""

    def __init__(self, symbols: SymbolTable) -> None:
        self.symbols = symbols
        self._home = np.full(0, NOWHERE)  # the partition that each symbol was first seen in
        self._counts = np.zeros((len(PLACES), 0), np.int64)
        self._beside: dict[Key, Account] = {}

    def add(
        self, what: str, partition: Ints, code: Ints, keys: Sequence[bytes | None] = (), rows: Ints | None = None
    ) -> None:
        """Count records; `keys` are the whole batch's, and `rows` the places in it when these are only some of them."""
        if not len(code):
            return
        if int(code.min()) < 0:
            for place in np.flatnonzero(code < 0).tolist():
                key = keys[place if rows is None else int(rows[place])]
                self.add_one(what, int(partition[place]), (key or b"").decode(errors="replace"))
            partition, code = partition[code >= 0], code[code >= 0]
        self._grow()
        is_strange = self._home[code] != partition
        if is_strange.any():
            code = self._settle(what, partition, code, is_strange)
        if len(code):
            self._counts[PLACES[what]] += np.bincount(code, minlength=len(self._home))

    def add_one(self, what: str, partition: int, symbol: str, count: int = 1) -> None:
        """Count some records of a symbol."""
        account = self._beside.get((partition, symbol))
        if account is None:
            account = self._beside[partition, symbol] = Account()
        setattr(account, what, getattr(account, what) + count)

    def move(self, what: str, to: str) -> None:
        """Count as something else what was counted as `what` since the last time."""
        self._counts[PLACES[to]] += self._counts[PLACES[what]]
        self._counts[PLACES[what]] = 0
        for account in self._beside.values():
            setattr(account, to, getattr(account, to) + getattr(account, what))
            setattr(account, what, 0)

    def drain(self) -> Iterator[tuple[int, str, Account]]:
        """Yield partition, symbol and what came since the last time."""
        rows = np.flatnonzero(self._counts.any(axis=0))
        counted = zip(rows.tolist(), self._home[rows].tolist(), self._counts[:, rows].T.tolist(), strict=True)
        found = {(partition, self.symbols.names[row]): Account(*counts) for row, partition, counts in counted}
        self._counts[:, rows] = 0
        beside, self._beside = self._beside, {}
        for key, account in beside.items():
            found.setdefault(key, Account()).add(account)
        for (partition, symbol), account in found.items():
            yield partition, symbol, account

    def clear(self) -> None:
        """Forget what was counted since the last time, and where symbols are: partitions have moved."""
        self._counts[:], self._home[:] = 0, NOWHERE
        self._beside.clear()

    def _settle(self, what: str, partition: Ints, code: Ints, is_strange: Flags) -> Ints:
        """Give symbols that have none a partition, count those found in a second one apart, and return the others."""
        homeless = is_strange & (self._home[code] == NOWHERE)
        self._home[code[homeless]] = partition[homeless]
        is_strange = self._home[code] != partition
        width = len(self._home)
        pairs, counts = np.unique(partition[is_strange] * width + code[is_strange], return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.add_one(what, pair // width, self.symbols.names[pair % width], count)
        return np.asarray(code[~is_strange], np.int64)

    def _grow(self) -> None:
        more = len(self.symbols.names) - len(self._home)
        if more > 0:
            self._home = np.concatenate([self._home, np.full(more, NOWHERE)])
            self._counts = np.concatenate([self._counts, np.zeros((len(PLACES), more), np.int64)], axis=1)
