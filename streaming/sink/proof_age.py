"""How old the last proof is, as a number that somebody is alarmed by: a proof runs for minutes a day and is gone when asked.

The sink tells it, because the proof's rows are in the lake that it serves, and it is always there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from quantstream.lake.store import Lake
from quantstream.observability.metrics import Metrics
from streaming.sink.lake_look import LakeLook

LOOK_BACK = timedelta(days=14)  # a symbol whose last proof is older counts as never proved


class ProofAge(LakeLook):
    """Keeps `proved_at_seconds` at the moment up to which every symbol that is followed was proved; 0 while one never was."""

    def __init__(self, lake: Lake, symbols: Sequence[str], metrics: Metrics) -> None:
        super().__init__("proof-age")
        self.lake, self.symbols = lake, tuple(symbols)
        self.proved_at = metrics.gauge(
            "proved_at_seconds",
            "when the symbol proved longest ago was last compared with the exchange; 0: one never was",
        )

    def look(self, now: datetime) -> None:
        """Read the newest proofs once.

        Raises: Unavailable, OSError.
        """
        columns = ["symbol", "verified_at", "not_compared"]
        rows = self.lake.read("proofs", list(self.symbols), start=now - LOOK_BACK, columns=columns).to_pylist()
        newest = dict.fromkeys(self.symbols, 0.0)
        for row in rows:
            if not row["not_compared"]:  # a proof that could not ask the exchange proves nothing
                newest[row["symbol"]] = max(newest[row["symbol"]], row["verified_at"].timestamp())
        self.proved_at.set(min(newest.values()))
