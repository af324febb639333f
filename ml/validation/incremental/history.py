"""The candles as they were at one moment, and of each symbol's month a digest of all that its check depends on.

A digest goes by the table's log (rows and highest revision of each partition), so nothing is read to tell what need not be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ml.validation import engine
from ml.validation.incremental.month_findings import MONTH
from ml.validation.incremental.month_spans import around
from ml.validation.outages import Outage
from quantstream import features
from quantstream.lake.snapshots import Snapshot, snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

CODE = Path(__file__).resolve().parents[1]  # all that decides what is found
Pieces = Mapping[
    str, tuple[int, int]
]  # of each partition (2026-01, or 2026-01-31 as lakes of before have it) rows, revision


@dataclass(frozen=True)
class History:
    """The candles' table opened once for many symbols; `now` (µs) is when, by the exchange's clock."""

    lake: Snapshot
    now: int
    pieces: Mapping[str, Pieces]  # by symbol
    references: Sequence[str]  # symbols that stand for the market
    outages: Sequence[Outage]
    _market: dict[str, str] = field(default_factory=dict)  # of each month, a digest

    @classmethod
    def at(cls, lake: Lake, now: Callable[[], int], references: Sequence[str], outages: Sequence[Outage]) -> History:
        """Open the table; what was due before that must be there. Raises: Unavailable."""
        begun = now()
        opened = snapshot(lake, ["candles"])
        return cls(opened, begun, contents(opened.opened["candles"]), references, outages)

    @property
    def version(self) -> int:
        """The table's version."""
        return int(self.lake.opened["candles"].version())

    def months(self, symbol: str) -> list[str]:
        """Return the months that a symbol has candles of, in order."""
        return sorted({period[:MONTH] for period in self.pieces.get(symbol, {})})

    def seen(self, table: str, symbol: str, month: str, held: Sequence[str]) -> str:
        """Return a digest of what the check of a month depends on; `held` are the days whose candles are in quarantine."""
        pieces, near = self.pieces[symbol], around(month)
        mine = [(period, *facts) for period, facts in sorted(pieces.items()) if period[:MONTH] in near]
        first = before = min(pieces)
        if not any(min(near) <= period[:MONTH] < month for period in pieces):  # a pause: the candle before it counts
            before = max((period for period in pieces if period[:MONTH] < month), default=first)
        edges = [(period, *pieces[period]) for period in (first, before)]
        code = code_of(table), repr(self.outages), self.lake.opened["candles"].metadata().id
        others: object = [day for day in held if day[:MONTH] <= month]
        if table == "candles":
            others = self.market(month)
        return hashlib.blake2b(repr((code, mine, edges, others)).encode(), digest_size=16).hexdigest()

    def market(self, month: str) -> str:
        """Return a digest of the candles that stand for the market around a month."""
        if month not in self._market:
            near = around(month, 1)
            facts = [
                (symbol, period, *facts)
                for symbol in self.references
                for period, facts in sorted(self.pieces.get(symbol, {}).items())
                if period[:MONTH] in near
            ]
            self._market[month] = hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
        return self._market[month]


def code_of(table: str) -> str:
    """Return a digest of a table's suite and of all that decides what it finds."""
    suite = json.dumps(engine.suite_of(table), sort_keys=True)
    return hashlib.blake2b(f"{_code()}{suite}{features.FEATURE_HASH}".encode(), digest_size=16).hexdigest()


@cache
def _code() -> str:
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(CODE.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()
