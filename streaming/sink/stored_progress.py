"""How far the sink has come in each partition, and which ids it has stored: the lake's tables alone say it.

Each topic-partition is an application of its table, whose version is the next offset to read. What a table lacks that it had
is told: somebody removed it, or put an older table in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import Counter

from quantstream.core.errors import Misconfigured
from quantstream.kafka import Partition
from quantstream.lake.schemas import SHADOW_SCORES as SHADOW_TABLE
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep.deleted_trades import APPLICATION
from quantstream.messages.topics import ANOMALIES, CANDLES, SCORES, SHADOW_SCORES, TRADES
from streaming.sink.symbol_state import Kept, decoder

log = logging.getLogger(__name__)
TABLES = {
    TRADES.name: "trades",
    CANDLES.name: "candles",
    SCORES.name: "scores",
    SHADOW_SCORES.name: SHADOW_TABLE,
    ANOMALIES.name: "anomalies",
}


class StoredProgress:
    """The sink's progress in the partitions that it holds, and what it was in those that it held."""

    def __init__(self, lake: Lake, topic_prefix: str, gone: Counter) -> None:
        """`gone` counts records that the lake had and has no more.

        With a `topic_prefix` the progress is that in the log of this name: another log's says nothing of it.
        """
        self.lake, self.topic_prefix, self.gone = lake, topic_prefix, gone
        self.reached: dict[Partition, int | None] = {}
        self._known: dict[Partition, int] = {}  # as it was before, of partitions that are others' now as well
        self._has_told = False

    def application(self, part: Partition) -> str:
        """Return the name under which the lake keeps the progress in a partition."""
        return application(self.topic_prefix, part)

    def open(self, part: Partition, table: Any) -> None:
        """Take the progress in a partition from its open table; count and log what the table lacks that it had."""
        reached = self.reached[part] = self.lake.progress(TABLES[part[0]], self.application(part), table)
        known = self._known.pop(part, None)  # told once
        if known is not None and (reached or 0) < known:
            self.gone.inc(known - (reached or 0))
            log.error(
                "the lake holds less than it did; what its topic still has is stored again",
                extra={"table": TABLES[part[0]], "partition": f"{part[0]}-{part[1]}", "from": known, "to": reached},
            )
        if reached is not None:
            self._known[part] = reached

    def steps(self, offsets: Mapping[Partition, int]) -> dict[str, Step]:
        """Return the steps of a commit that reaches `offsets`, by application."""
        return {self.application(part): Step(self.reached.get(part), offset) for part, offset in offsets.items()}

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """Note that a commit reached `offsets`."""
        self.reached |= offsets
        self._known |= offsets

    def forget(self, part: Partition) -> None:
        """Drop a partition that is another's now."""
        self.reached.pop(part, None)

    def seen(self, part: Partition) -> dict[str, Kept]:
        """Return the ids that are stored of a partition of trades, by symbol.

        Raises: Misconfigured when the lake has the rows and not the ids; Unavailable.
        """
        reached = self.reached[part]
        if reached is None:
            return {}
        kept = self.lake.state("trades", self.application(part), reached)
        return decoder.decode(kept) if kept is not None else self._seen_before(part, reached)

    def _seen_before(self, part: Partition, reached: int) -> dict[str, Kept]:
        """Return the states that older lakes kept in their log, if nothing was added since.

        Raises: Misconfigured.
        """
        old = self.lake.metadata("trades", f"seen/{part[1]}")
        found = decoder.decode(old.encode()) if old else {}
        highest = self.lake.highest("trades", "last_trade_id") if found else {}
        if not found or any(sequence.last_id < highest.get(symbol, 0) for symbol, sequence in found.items()):
            raise Misconfigured(
                f"the lake at {self.lake.url} holds the trades of {part[0]}-{part[1]} up to record {reached}, but not which ids "
                "they have: its folder trades/_state lacks them; put that folder back, or begin with an empty lake"
            )
        return found

    def tell_of_other_logs(self, applications: Iterable[str]) -> None:
        """Log once that a lake has rows of a log of another name: what both logs hold comes twice, each has its own progress."""
        own = self.application((TRADES.name, 0)).removesuffix("0")
        others = sorted(
            {name.rpartition("/")[0] for name in applications if not name.startswith(own) and name != APPLICATION}
        )
        if others and not self._has_told:
            self._has_told = True
            log.warning(
                "the lake has rows of another log as well; what both logs hold is in it twice, as verify says",
                extra={"written_by": " ".join(others), "writes": own.removesuffix("/")},
            )


def application(topic_prefix: str, part: Partition) -> str:
    """Return the name under which the lake keeps the sink's progress in a partition."""
    return f"sink/{topic_prefix}{part[0]}/{part[1]}"
