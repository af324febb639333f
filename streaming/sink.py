"""Topics to the lake, exactly once: the offset of each topic-partition is in the same Delta transaction as its rows.

A restart begins where the tables say, whatever the group's offsets are. Duplicate trades (two ingest replicas, a restart
of ingest) are told by their ids; which ids were seen is kept in the commit as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from quantstream.errors import BadRecord
from quantstream.kafka import Message, Partition, Reader, Writer, header_texts
from quantstream.lake import Lake
from quantstream.market import Candle, Trade, units_decimal
from quantstream.metrics import Health, Metrics
from quantstream.sequence import Seen, Sequence
from quantstream.tables import PRICE, SCHEMAS, candle_rows
from quantstream.topics import (
    ANOMALIES,
    CANDLES,
    HEADER_ORIGIN,
    HEADER_RECEIVED_AT,
    SCORES,
    TRADES,
    Anomaly,
    Score,
    decode,
)
from streaming.binance import parse_record
from streaming.tradelog import put_aside

log = logging.getLogger(__name__)
TABLES = {TRADES.name: "trades", CANDLES.name: "candles", SCORES.name: "scores", ANOMALIES.name: "anomalies"}
MAX_ROWS = 200_000  # rows that wait for a commit before it is made early
POLL = 0.5  # seconds: how long a stop waits at most
Row = dict[str, Any]
_sequences = msgspec.json.Decoder(dict[str, Sequence])


class SinkStage:
    """Collects rows for one commit interval, then commits each table once."""

    def __init__(
        self,
        lake: Lake,
        reader: Reader,
        writer: Writer,
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
    ) -> None:
        """`writer` is for dead letters only; `now` is the wall clock, µs."""
        self.lake, self.reader, self.writer = lake, reader, writer
        self.metrics, self.health, self.commit_s, self.now = metrics, health, commit_s, now
        self.committed_at = time.monotonic()
        self.seen: dict[int, dict[str, Sequence]] = {}
        self.rows: dict[str, list[Any]] = {table: [] for table in TABLES.values()}
        self.offsets: dict[str, dict[Partition, int]] = {table: {} for table in TABLES.values()}
        self.commit_time = metrics.histogram("commit_seconds", "duration of one commit to the lake", "table")
        self.written = {table: metrics.records.labels(table) for table in TABLES.values()}
        self.duplicates = metrics.records.labels("duplicate")

    def start(self) -> None:
        """Open the tables and join the group, so that replicas share the partitions."""
        for table in TABLES.values():
            self.lake.table(table)
        self.reader.subscribe([TRADES, CANDLES, SCORES, ANOMALIES], self._assigned, self._revoked)

    def turn(self) -> None:
        """Read for a moment; commit when it is due.

        Raises: Unavailable.
        """
        for message in self.reader.poll(min(self.commit_s, POLL)):
            self._take(message)
        is_due = time.monotonic() - self.committed_at >= self.commit_s
        if is_due or sum(map(len, self.rows.values())) >= MAX_ROWS:
            self.commit()
            self.committed_at = time.monotonic()
            self.metrics.lag.set(self.reader.lag())
        self.health.beat()

    def commit(self) -> None:
        """Commit every table that has news."""
        for table, offsets in self.offsets.items():
            if offsets:
                self._commit_table(table, offsets)
                self.health.beat()
        self.writer.poll()

    def _commit_table(self, table: str, offsets: dict[Partition, int]) -> None:
        rows = self.rows[table]
        if rows:  # heartbeats and duplicates alone are not worth a file: a restart reads them again to no effect
            started = time.monotonic()
            metadata = {}
            if table == "trades":
                for _, partition in offsets:
                    metadata[_seen_key(partition)] = msgspec.json.encode(self.seen[partition]).decode()
            progress = {_application(part): offset for part, offset in offsets.items()}
            self.lake.append(table, _table(table, rows), progress, metadata)
            self.commit_time.labels(table).observe(time.monotonic() - started)
            self.written[table].inc(len(rows))
            rows.clear()
            offsets.clear()

    def _take(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        table = TABLES[topic]
        self.offsets[table][topic, partition] = offset + 1
        raw = message.value() or b""
        try:
            row = self._row(table, message, raw)
        except BadRecord as error:
            if table != "trades":  # what is wrong in the trades topic, aggregate has put aside
                self.metrics.dead.inc()
                put_aside(self.writer, f"sink {topic}-{partition}@{offset}", str(error), raw, self.now())
            return
        if row is not None:
            self.rows[table].append(row)

    def _row(self, table: str, message: Message, raw: bytes) -> Any:
        if table == "trades":
            return self._trade_row(message, raw)
        if table == "candles":
            return decode(raw, Candle)
        if table == "scores":
            return _score_row(decode(raw, Score))
        return _anomaly_row(decode(raw, Anomaly))

    def _trade_row(self, message: Message, raw: bytes) -> Row | None:
        symbol = (message.key() or b"").decode(errors="replace")
        trade = parse_record(raw, symbol)
        if not isinstance(trade, Trade):
            return None
        seen, _ = self.seen[message.partition()].setdefault(symbol, Sequence()).take(trade)
        if seen in (Seen.DUPLICATE, Seen.OVERLAP):
            self.duplicates.inc()
            return None
        headers = header_texts(message)
        received_at = headers.get(HEADER_RECEIVED_AT, "")
        return {
            "symbol": symbol,
            "id": trade.id,
            "first_trade_id": trade.first_trade_id,
            "last_trade_id": trade.last_trade_id,
            "price": units_decimal(trade.price),
            "quantity": units_decimal(trade.quantity),
            "traded_at": trade.traded_at,
            "buyer_is_maker": trade.buyer_is_maker,
            "received_at": int(received_at) if received_at.isdigit() else message.timestamp()[1] * 1000,
            "origin": headers.get(HEADER_ORIGIN, "live"),
        }

    def _assigned(self, partitions: list[Partition]) -> Mapping[Partition, int]:
        offsets: dict[Partition, int] = {}
        for topic, partition in partitions:
            self.health.beat()
            table = TABLES[topic]
            offset = self.lake.progress(table, _application((topic, partition)))
            offsets[topic, partition] = self.reader.ends(topic, partition)[0] if offset is None else offset
            if table == "trades":
                kept = self.lake.metadata(table, _seen_key(partition))
                self.seen[partition] = _sequences.decode(kept) if kept else {}
        log.info("partitions taken", extra={"count": len(partitions)})
        self.health.ready()
        return offsets

    def _revoked(self, partitions: list[Partition]) -> None:
        self.commit()
        for topic, partition in partitions:
            self.offsets[TABLES[topic]].pop((topic, partition), None)
            if topic == TRADES.name:
                self.seen.pop(partition, None)


def _application(part: Partition) -> str:
    return f"sink/{part[0]}/{part[1]}"


def _seen_key(partition: int) -> str:
    return f"seen/{partition}"


def _table(name: str, rows: list[Any]) -> pa.Table:
    if name == "candles":
        return candle_rows(rows)
    columns = {}
    for field in SCHEMAS[name]:
        if field.name == "date":
            continue
        values = [row[field.name] for row in rows]
        if pa.types.is_timestamp(field.type):
            columns[field.name] = pa.array(values, pa.int64()).cast(field.type)
        else:
            columns[field.name] = pa.array(values, field.type)
    return pa.table(columns)


def _score_row(score: Score) -> Row:
    signal = score.signal
    return {
        **msgspec.structs.asdict(score),
        "forecasts": [msgspec.structs.asdict(forecast) for forecast in score.forecasts],
        "action": signal.action if signal else None,
        "buy": signal.buy if signal else None,
        "hold": signal.hold if signal else None,
        "sell": signal.sell if signal else None,
        "models": list(score.models.items()),
    }


def _anomaly_row(anomaly: Anomaly) -> Row:
    exact = {name: units_decimal(getattr(anomaly, name), PRICE.scale) for name in ("price", "quantity")}
    return {**msgspec.structs.asdict(anomaly), **exact}
