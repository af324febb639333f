"""Watches the balance of every stage from outside while anything is done to the platform: it must close at every look.

What a stage says itself is read each second from its metrics; what the lake keeps is compared, at the end, with its own rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from quantstream.lake.store import Lake
from quantstream.observability.metrics_page import parse_metrics, total
from streaming.sink.symbol_state import sink_accounts

EVERY = 1.0  # seconds


@dataclass
class BalanceWatch:
    """Looks at each stage's metrics until told to stop; one that is down says nothing."""

    stages: Iterable[str]
    metrics: Callable[[str], bytes]
    looks: dict[str, int] = field(default_factory=dict)  # by stage: those at which it had read anything
    off: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="balance", daemon=True)

    def __enter__(self) -> BalanceWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Look at all of them once."""
        for stage in self.stages:
            values, name = parse_metrics(self.metrics(stage).decode()), f"quantstream_{stage.partition('/')[0]}"
            read = total(values, f"{name}_balance_records", outcome="read")
            off = total(values, f"{name}_unbalanced_symbols")
            if read and off is not None:
                self.looks[stage] = self.looks.get(stage, 0) + 1
                if off:
                    self.off.append(f"{stage}: {off:.0f} symbols do not add up")

    def unseen(self) -> list[str]:
        """Return the stages whose balance was never seen: nothing is known of them."""
        return [stage for stage in self.stages if not self.looks.get(stage)]

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self.look()


def lake_off(lake: Lake) -> list[str]:
    """Return what is wrong with the accounts that the sink keeps in the lake, in words."""
    accounts, rows = sink_accounts(lake)
    found = [f"{symbol}: {account}" for symbol, account in accounts.items() if not account.closes]
    for symbol in sorted(accounts.keys() | rows.keys()):
        stored = accounts[symbol].stored if symbol in accounts else 0
        if stored != rows.get(symbol, 0):
            found.append(f"{symbol}: the table holds {rows.get(symbol, 0)} rows, the sink has stored {stored}")
    return found
