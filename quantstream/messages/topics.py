"""Every topic, declared once: name, key, writer, partitions, retention, clean-up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from quantstream.core.time import DAY
from quantstream.settings import PARTITIONS

DAY_MS = DAY // 1000


@dataclass(frozen=True)
class Topic:
    """What the broker must know of a topic. `key` is what the record is partitioned by."""

    name: str
    key: Literal["symbol", "source", "model"]
    writer: str
    partitions: int = PARTITIONS
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = 7 * DAY_MS  # longer than the longest recovery: a week's holiday
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, str]:
        """The broker's own settings for it."""
        retention = {"retention.ms": str(self.retention_ms)} if self.cleanup == "delete" else {}
        return {"cleanup.policy": self.cleanup, **retention, **self.extra}


TRADES = Topic("market.trades.v1", "symbol", "ingest")
CANDLES = Topic("market.candles.v1", "symbol", "aggregate", retention_ms=90 * DAY_MS)
OPEN_CANDLES = Topic(
    "market.candles.open.v1",
    "symbol",
    "aggregate",
    cleanup="compact",
    extra={
        "segment.ms": "60000",
        "min.cleanable.dirty.ratio": "0.1",
    },  # a restart reads O(symbols), not a day of snapshots
)
SCORES = Topic("market.scores.v1", "symbol", "score", retention_ms=90 * DAY_MS)
SHADOW_SCORES = Topic("market.scores.shadow.v1", "symbol", "score", retention_ms=90 * DAY_MS)  # challengers'
ANOMALIES = Topic("market.anomalies.v1", "symbol", "detect", retention_ms=90 * DAY_MS)
DEAD = Topic("market.dead.v1", "source", "any", partitions=1, retention_ms=30 * DAY_MS)
EVENTS = Topic("ops.events.v1", "source", "any", partitions=1, retention_ms=30 * DAY_MS)
MODELS = Topic(
    "ops.models.v1", "model", "any", partitions=1, cleanup="compact"
)  # the last decision that moved an alias
TOPICS = (TRADES, CANDLES, OPEN_CANDLES, SCORES, SHADOW_SCORES, ANOMALIES, DEAD, EVENTS, MODELS)
CO_PARTITIONED = (
    TRADES,
    CANDLES,
    OPEN_CANDLES,
)  # what comes of a partition's trades goes to the same partition's number

# Headers of market.trades.v1. `kind` tells how to read the value; the value itself is the exchange's own bytes.
HEADER_KIND = "kind"  # trade | aggTrade (stream events), restTrade | restAggTrade (REST rows), heartbeat
HEADER_RECEIVED_AT = "received_at"  # µs, the receiver's clock
HEADER_ORIGIN = "origin"  # live | repaired | split (an aggregate less the trades of it that the log had before)
