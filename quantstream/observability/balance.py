"""The balance of every stage as metrics, and a word in the log when an account does not close (`quantstream.core.accounts`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from quantstream.core.accounts import Account
from quantstream.observability.metrics import Metrics

log = logging.getLogger(__name__)
MOST_TOLD = 20  # symbols at a look: the metric has them all
EVERY = 1.0  # seconds between two looks at all accounts: thousands of them take a millisecond


class BalanceSheet:
    """Shows accounts as metrics, and tells once of each that does not close."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.records, self.unbalanced = metrics.balance_records, metrics.unbalanced_symbols
        self.off: dict[str, Account] = {}
        self.tell: Callable[[str, str], None] = lambda text, symbol: None  # tells the operators, beside the log
        self._clock, self._shown_at = clock, float("-inf")

    def is_due(self) -> bool:
        """Tell whether it is time for another look."""
        return self._clock() - self._shown_at >= EVERY

    def show(self, accounts: Iterable[tuple[str, Account]]) -> None:
        """Set the gauges, and log the accounts that have ceased to close."""
        self._shown_at = self._clock()
        found = list(accounts)
        rows = [msgspec.structs.astuple(account) for _, account in found]
        totals = map(sum, zip(*rows, strict=True)) if rows else [0] * len(Account.__struct_fields__)
        for name, total in zip(Account.__struct_fields__, totals, strict=True):
            self.records.labels(name).set(total)
        off = {symbol: account for (symbol, account), row in zip(found, rows, strict=True) if 2 * row[0] != sum(row)}
        self.unbalanced.set(len(off))
        for symbol in sorted(off.keys() - self.off.keys())[:MOST_TOLD]:
            log.error("the balance does not close", extra={"symbol": symbol, "account": str(off[symbol])})
            self.tell(f"the records of {symbol} do not add up: {off[symbol]}", symbol)
        self.off = off
