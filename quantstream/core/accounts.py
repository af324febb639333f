"""The balance sheet: every record that a stage read of a symbol has an outcome.

The two sides are counted apart, or they could not differ: what was read by the keys of the messages, what became of it where
that is decided (by ids, by rows that a table took, by what was sent), what waits from the buffers. A stage that drops, doubles
or invents a record without a word therefore shows here, by symbol, within a second.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

OUTCOMES = ("stored", "duplicate", "dead", "refused", "passed", "waiting")
NO_SYMBOL = "(none)"  # records without a key, and those of the dead keys beyond the most that are told apart
NOWHERE = -1  # the partition of what was stored, but read by nobody
Part = TypeVar("Part", bound=Hashable)  # what names a partition
MOST_STRANGERS = 100  # keys of a partition that had nothing but dead records: they must fill neither memory nor states


class Account(msgspec.Struct, array_like=True, gc=False):
    """The records of one symbol in one stage. `passed` are those that leave nothing there: heartbeats, revisions …"""

    read: int = 0
    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    refused: int = 0
    passed: int = 0
    waiting: int = 0

    @property
    def explained(self) -> int:
        """How many records are accounted for."""
        return self.stored + self.duplicate + self.dead + self.refused + self.passed + self.waiting

    @property
    def closes(self) -> bool:
        """Whether both sides are the same."""
        return self.read == self.explained

    def open(self) -> None:
        """Count what is stored as read: for states that were stored before there were accounts."""
        self.read = self.explained

    def add(self, other: Account) -> None:
        """Add another account of the symbol."""
        self.read += other.read
        self.stored += other.stored
        self.duplicate += other.duplicate
        self.dead += other.dead
        self.refused += other.refused
        self.passed += other.passed
        self.waiting += other.waiting

    def __str__(self) -> str:
        """Return both sides as a sentence."""
        sides = ", ".join(f"{getattr(self, name)} {name}" for name in OUTCOMES)
        return f"{self.read} read = {sides}" if self.closes else f"{self.read} read, but {sides}"


class Accounts(Generic[Part]):
    """The accounts of the symbols of some partitions."""

    def __init__(self) -> None:
        self.held: dict[Part, dict[str, Account]] = {}
        self._strangers: dict[Part, int] = {}

    def of(self, part: Part, symbol: str) -> Account:
        """Return the account of a symbol, opened when there is none."""
        held = self.held.setdefault(part, {})
        account = held.get(symbol or NO_SYMBOL)
        if account is None:
            account = held[symbol or NO_SYMBOL] = Account()
        return account

    def add(self, part: Part, symbol: str, more: Account) -> Account:
        """Add to a symbol's account, and return it."""
        held = self.held.get(part, {})
        if more.read == more.dead and symbol not in held:
            count = self._strangers.setdefault(part, sum(account.read == account.dead for account in held.values()))
            symbol = symbol if count < MOST_STRANGERS else NO_SYMBOL
            self._strangers[part] += symbol != NO_SYMBOL
        account = self.of(part, symbol)
        account.add(more)
        return account

    def forget(self, part: Part) -> None:
        """Drop a partition's accounts: its next owner keeps them."""
        self.held.pop(part, None)
        self._strangers.pop(part, None)

    def __iter__(self) -> Iterator[tuple[str, Account]]:
        """Yield every account with its symbol."""
        for held in self.held.values():
            yield from held.items()


def newest_of_each(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest row of each symbol and day among rows of the lake's table `accounts`, in order."""
    found = {(row["symbol"], row["day"]): row for row in sorted(rows, key=lambda row: row["made_at"])}
    return [found[key] for key in sorted(found)]
