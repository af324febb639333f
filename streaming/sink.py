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
from quantstream.kafka import Message, Partition, Reader, Writer, contents, next_offsets
from quantstream.lake import Lake
from quantstream.market import Candle, Trade, units_decimal
from quantstream.metrics import Health, Metrics
from quantstream.sequence import Sequence
from quantstream.tables import PRICE, SCHEMAS, candle_rows
from quantstream.topics import (
    ANOMALIES,
    CANDLES,
    SCORES,
    TRADES,
    Anomaly,
    Score,
    decode,
)
from streaming.columns import Columns, Parser
from streaming.seen import Sequences, new_trades
from streaming.tradelog import put_aside
from streaming.traderows import trade_rows

log = logging.getLogger(__name__)
TABLES = {TRADES.name: "trades", CANDLES.name: "candles", SCORES.name: "scores", ANOMALIES.name: "anomalies"}
MAX_ROWS = 400_000  # rows that wait for a commit before it is made early
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
        self.seen: Sequences = {}
        self.parser = Parser()
        self.trades: list[pa.Table] = []
        self.rows: dict[str, list[Any]] = {table: [] for table in TABLES.values() if table != "trades"}
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
        self._take(self.reader.poll(min(self.commit_s, POLL)))
        is_due = time.monotonic() - self.committed_at >= self.commit_s
        if is_due or sum(map(self._waiting, TABLES.values())) >= MAX_ROWS:
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
        count = self._waiting(table)
        if not count:  # heartbeats and duplicates alone are not worth a file: a restart reads them again to no effect
            return
        started = time.monotonic()
        metadata = {}
        if table == "trades":
            for _, partition in offsets:
                metadata[_seen_key(partition)] = msgspec.json.encode(self.seen.setdefault(partition, {})).decode()
        progress = {_application(part): offset for part, offset in offsets.items()}
        rows = pa.concat_tables(self.trades) if table == "trades" else _table(table, self.rows[table])
        self.lake.append(table, rows, progress, metadata)
        self.commit_time.labels(table).observe(time.monotonic() - started)
        self.written[table].inc(count)
        (self.trades if table == "trades" else self.rows[table]).clear()
        offsets.clear()

    def _take(self, messages: list[Message]) -> None:
        by_topic: dict[str, list[Message]] = {}
        for message, topic in zip(messages, map(Message.topic, messages), strict=True):
            by_topic.setdefault(topic, []).append(message)
        for topic, some in by_topic.items():
            values, keys, partitions = contents(some)
            self.offsets[TABLES[topic]] |= next_offsets(some, partitions)
            if topic == TRADES.name:
                self._take_trades(some, self.parser.parse(values, keys, partitions))
            else:
                for message, raw in zip(some, values, strict=True):
                    self._take_row(TABLES[topic], message, raw)

    def _take_trades(self, messages: list[Message], columns: Columns) -> None:
        """Keep the trades that are new; what is wrong in their topic, aggregate has put aside."""
        names = self.parser.symbols.names
        is_new = new_trades(columns, names, self.seen)
        table = trade_rows(columns, is_new, names, messages)
        old = sum(isinstance(item, Trade) for _, item in columns.items.values()) + int((columns.at > 0).sum())
        self.duplicates.inc(old - table.num_rows)
        if table.num_rows:
            self.trades.append(table)

    def _take_row(self, table: str, message: Message, raw: bytes) -> None:
        try:
            row = self._row(table, raw)
        except BadRecord as error:
            self.metrics.dead.inc()
            source = f"sink {message.topic()}-{message.partition()}@{message.offset()}"
            put_aside(self.writer, source, str(error), raw, self.now())
            return
        self.rows[table].append(row)

    def _row(self, table: str, raw: bytes) -> Any:
        if table == "candles":
            return decode(raw, Candle)
        if table == "scores":
            return _score_row(decode(raw, Score))
        return _anomaly_row(decode(raw, Anomaly))

    def _waiting(self, table: str) -> int:
        return sum(part.num_rows for part in self.trades) if table == "trades" else len(self.rows[table])

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
