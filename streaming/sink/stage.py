"""Topics to the lake, exactly once: the offset of each topic-partition is in the same Delta transaction as its rows.

A restart begins where the tables say, whatever the group's offsets are. Duplicate trades (two ingest replicas, a restart
of ingest) are told by their ids; which ids were seen is kept beside the table, under the progress of the commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Several
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.accounts import NOWHERE, Account, Accounts
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Sequence
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.decode.tally import Tally
from quantstream.decode.trade_id_index import TradeIdIndex
from quantstream.kafka import (
    BATCH,
    Message,
    Partition,
    PartitionedStage,
    Reader,
    Writer,
    contents,
    next_offsets,
    sent_at,
)
from quantstream.kafka.dead_letters import dead_letter
from quantstream.lake.store import Lake
from quantstream.messages.topics import ANOMALIES, CANDLES, SCORES, SHADOW_SCORES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.sink.deleted_days import OF_A_DELETED_DAY, DeletedDays
from streaming.sink.stored_progress import TABLES, StoredProgress
from streaming.sink.symbol_state import Kept, stored_rows
from streaming.sink.table_rows import row_of, table_of
from streaming.sink.trade_rows import trade_rows

log = logging.getLogger(__name__)
MAX_ROWS = 400_000  # rows that wait for a commit before it is made early
PAUSES = 10  # times what the last commit took, from it to the next: thousands of symbols are thousands of files
LONGEST_PAUSE = 60.0  # seconds, where no more is asked for: nobody may be left waiting for minutes by one slow commit
LAKE_PATIENCE = 240.0  # seconds for one reading or writing of thousands of files; the group allows 300 without a poll
POLL = 0.5  # seconds: how long a stop waits at most
REFUSED = (
    "it cannot be told whether this trade is in the lake: it is older than the gaps remembered, or cuts across one"
)


class SinkStage(PartitionedStage):
    """Collects rows for one commit interval, then commits each table once."""

    first_limit = BATCH

    def __init__(
        self,
        lake: Lake,
        reader: Reader,
        writer: Writer,
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
        topic_prefix: str = "",
    ) -> None:
        """`writer` is for dead letters only; `commit_s` 0 commits with every turn; `now` is the wall clock, µs.

        With a `topic_prefix` the progress in the tables is that in the log of this name: another log's says nothing of it.
        """
        super().__init__(
            reader, [TRADES, CANDLES, SCORES, SHADOW_SCORES, ANOMALIES], min(commit_s, POLL), metrics, health
        )
        self.lake, self.writer, self.commit_s, self.now = lake, writer, commit_s, now
        self.progress = StoredProgress(lake, topic_prefix, self.gone)
        self.committed_at, self.took = time.monotonic(), 0.0  # seconds
        self.parser, self.deleted = Parser(), DeletedDays(lake)
        self.id_index = TradeIdIndex(self.parser.symbols.names)
        self.tally = Tally(self.parser.symbols)
        self.books = Accounts[Partition]()
        self.trades: list[pa.Table] = []
        self.rows: dict[str, list[Any]] = {table: [] for table in TABLES.values() if table != "trades"}
        self.offsets: dict[str, dict[Partition, int]] = {table: {} for table in TABLES.values()}
        self.commit_time = metrics.histogram("commit_seconds", "duration of one commit to the lake", "table")
        self.corrected = metrics.counter(
            "corrected_candles_total", "candles that were not the exchange's until they were corrected", "source"
        )
        for source in ("klines", "trades"):  # there from the start: the first is then an increase
            self.corrected.labels(source)
        self.written = {table: metrics.records.labels(table) for table in TABLES.values()}
        self.duplicates, self.refused = metrics.records.labels("duplicate"), metrics.records.labels("refused")

    def start(self) -> None:
        """Open the tables and join the group, so that replicas share the partitions."""
        for table in TABLES.values():
            self.lake.table(table)
        super().start()

    def is_due(self) -> bool:
        """Tell whether the interval is over, longer where commits take long, or much is waiting."""
        pause = max(self.commit_s, min(PAUSES * self.took, LONGEST_PAUSE)) if self.commit_s else 0.0
        if time.monotonic() - self.committed_at < pause and sum(map(self._waiting, TABLES.values())) < MAX_ROWS:
            return False
        self.committed_at = time.monotonic()
        return True

    def take(self, messages: list[Message]) -> None:
        """Make rows of records."""
        by_topic: dict[str, list[Message]] = {}
        for message, topic in zip(messages, map(Message.topic, messages), strict=True):
            by_topic.setdefault(topic, []).append(message)
        for topic, some in by_topic.items():
            values, keys, partitions = contents(some)
            self.offsets[TABLES[topic]] |= next_offsets(some, partitions)
            if topic == TRADES.name:
                columns = self.parser.parse(values, keys, partitions)
                self.tally.add("read", columns.partition, columns.code, keys)
                self._take_trades(some, columns, keys)
            else:
                for message, raw, key in zip(some, values, keys, strict=True):
                    symbol = (key or b"").decode(errors="replace")
                    self._take_row(TABLES[topic], message, raw, symbol)

    def flush(self) -> None:
        """Commit every table that has new rows or offsets, each with its progress."""
        self.writer.flush()  # dead letters are there before their offsets are
        started = time.monotonic()
        for table, offsets in self.offsets.items():
            if offsets:
                self._commit_table(table, offsets)
                self.health.beat()
        self.took = time.monotonic() - started

    def discard(self) -> None:
        """Drop the rows that wait for a commit."""
        self.trades.clear()
        for rows in self.rows.values():
            rows.clear()
        for offsets in self.offsets.values():
            offsets.clear()
        self.tally.clear()

    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Return the account of each symbol and topic, as it stands now."""
        self._settle()
        return iter(self.books)

    def restore(self, partitions: Several[Partition]) -> Mapping[Partition, int]:
        """Take progress and the ids seen from the tables: they alone say what they hold."""
        with self.health.patient(LAKE_PATIENCE):
            tables = {name: self.lake.table(name) for name in sorted({TABLES[topic] for topic, _ in partitions})}
            stored = stored_rows(self.lake, tables["trades"]) if "trades" in tables else None
            if stored is not None:
                self.deleted.open(tables["trades"])
                self.progress.tell_of_other_logs(self.lake.states("trades", tables["trades"]))
        for part in partitions:
            self.health.beat()
            table = TABLES[part[0]]
            self.progress.open(part, tables[table])
            if table == "trades" and stored is not None:
                self._open(part, stored)
        return self.resume({part: self.progress.reached[part] for part in partitions})

    def forget(self, partitions: Several[Partition]) -> None:
        """Drop what belongs to partitions."""
        self._settle()
        for part in partitions:
            self.progress.forget(part)
            self.offsets[TABLES[part[0]]].pop(part, None)
            self.books.forget(part)
            if part[0] == TRADES.name:
                self.id_index.forget(part[1])

    def _open(self, part: Partition, stored: Callable[[str, str], int | None]) -> None:
        """Take over the ids seen and the accounts of a partition; what is `stored`, the table itself says."""
        found = self.progress.seen(part)
        self.id_index.restore(part[1], found)
        for symbol, ids in found.items():
            account = ids.account or Account()
            rows = stored(self.progress.application(part), symbol)
            account.stored = account.stored if rows is None else rows
            account.duplicate, account.refused = ids.duplicates, ids.refused
            if ids.account is None:
                account.open()
            self.books.held.setdefault(part, {})[symbol] = account

    def _commit_table(self, table: str, offsets: dict[Partition, int]) -> None:
        count = self._waiting(table)
        if not count:  # heartbeats and duplicates alone are not worth a file: a restart reads them again to no effect
            return
        started = time.monotonic()
        rows = pa.concat_tables(self.trades) if table == "trades" else table_of(table, self.rows[table])
        self._settle()
        self._store(table, rows)
        states = {}
        if table == "trades":
            states = {self.progress.application(part): self._state(part) for part in offsets}
        with self.health.patient(LAKE_PATIENCE):
            self.lake.append(table, rows, self.progress.steps(offsets), states)
        self.progress.committed(offsets)
        self.commit_time.labels(table).observe(time.monotonic() - started)
        self.written[table].inc(count)
        if table == "candles":
            self._count_corrected()
        (self.trades if table == "trades" else self.rows[table]).clear()
        offsets.clear()

    def _count_corrected(self) -> None:
        for row in self.rows["candles"]:
            if row.candle.is_correction:
                self.corrected.labels(row.candle.source).inc()

    def _state(self, part: Partition) -> bytes:
        seen = self.id_index.of(part[1])
        for symbol in [*seen, *(self.books.held.get(part, {}).keys() - seen.keys())]:
            seen[symbol] = Kept.of(seen.get(symbol) or Sequence(), self.books.of(part, symbol))
        return msgspec.json.encode(seen)

    def _settle(self) -> None:
        """Put what was counted since the last time into the accounts; of duplicates the ids keep count."""
        seen = cache(self.id_index.of)
        for number, symbol, more in self.tally.drain():
            account = self.books.add((TRADES.name, number), symbol, more)
            if (ids := seen(number).get(symbol)) is not None:
                account.duplicate, account.refused = ids.duplicates, ids.refused

    def _store(self, table: str, rows: pa.Table) -> None:
        """Count as stored the records that wait for a table: as many as there are rows."""
        waiting: dict[str, list[Account]] = {}
        for part, held in self.books.held.items():
            for symbol, account in held.items() if TABLES[part[0]] == table else ():
                if account.waiting:
                    waiting.setdefault(symbol, []).append(account)
        for each in pc.value_counts(rows["symbol"]).to_pylist():
            symbol, left = each["values"], each["counts"]
            owners = waiting.pop(symbol, None) or [self.books.of((_topic(table), NOWHERE), symbol)]
            for account in owners[:-1]:  # of a symbol in several partitions
                account.stored += account.waiting
                left -= account.waiting
                account.waiting = 0
            owners[-1].stored += left
            owners[-1].waiting = 0
        for account in (account for owners in waiting.values() for account in owners):
            account.waiting = 0  # none of its rows is in the commit: its account does not close

    def _take_trades(self, messages: list[Message], columns: TradeColumns, keys: Several[bytes | None]) -> None:
        """Keep the new trades; aggregate writes dead letters for unreadable records of their topic."""
        names, refused = self.parser.symbols.names, list[int]()
        is_new = self.id_index.find_new(columns, refused)
        late = self.deleted.rows(columns, is_new, names)
        is_new[late] = False
        table = trade_rows(columns, is_new, names, messages)
        rows = np.flatnonzero(is_new)
        self.tally.add("waiting", columns.partition[rows], columns.code[rows], keys, rows)
        trades = int((columns.at > 0).sum())
        for row, (key, item) in columns.items.items():
            if isinstance(item, Trade):
                trades += 1
            else:
                outcome = "dead" if isinstance(item, BadRecord) else "passed"
                self.tally.add_one(outcome, int(columns.partition[row]), key)
        for row in late:
            self.tally.add_one("dead", int(columns.partition[row]), columns.item(row, names)[0])
        for row, why in [*((row, REFUSED) for row in refused), *((row, OF_A_DELETED_DAY) for row in late)]:
            self._dead_letter(messages[row], messages[row].value() or b"", why)
        self.refused.inc(len(refused) + len(late))
        self.duplicates.inc(trades - table.num_rows - len(refused) - len(late))
        if table.num_rows:
            self.trades.append(table)

    def _take_row(self, table: str, message: Message, raw: bytes, symbol: str) -> None:
        part = (message.topic(), message.partition())
        try:
            row = row_of(table, raw, symbol, sent_at(message) or self.now())
        except BadRecord as error:
            self.books.add(part, symbol, Account(read=1, dead=1))
            self._dead_letter(message, raw, str(error))
            return
        self.books.add(part, symbol, Account(read=1, waiting=1))
        self.rows[table].append(row)

    def _dead_letter(self, message: Message, raw: bytes, reason: str) -> None:
        self.metrics.dead.inc()
        source = f"sink {message.topic()}-{message.partition()}@{message.offset()}"
        dead_letter(self.writer, source, reason, raw, self.now())

    def _waiting(self, table: str) -> int:
        return sum(part.num_rows for part in self.trades) if table == "trades" else len(self.rows[table])


def _topic(table: str) -> str:
    return next(topic for topic, name in TABLES.items() if name == table)
