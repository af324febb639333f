"""Fat fingers and other strange trades: every trade's features, one batched verdict of the Isolation Forest, reasons in words.

Features have finite memory, so a restart reads a stretch of committed records again to fill it and then goes on exactly
where it stopped; anomalies and offsets are one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from msgspec.structs import replace

from quantstream.core.accounts import Account, Accounts
from quantstream.core.errors import BadRecord
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import TradeColumns
from quantstream.decode.tally import Tally
from quantstream.kafka import (
    BATCH,
    Message,
    Partition,
    PartitionedStage,
    Reader,
    Writer,
    contents,
    header_texts,
    next_offsets,
)
from quantstream.kafka.operator_events import Tell
from quantstream.messages.models import past_its_age
from quantstream.messages.payloads import Anomaly, EventKind, encode
from quantstream.messages.topics import ANOMALIES, HEADER_RECEIVED_AT, TRADES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.detect.detector import Detector, TradeModel

log = logging.getLogger(__name__)
REWIND = 10_000  # committed records of a partition that are read again to fill the features' windows
DEEPER = 4  # times as many when they held too few trades of a symbol
DEEPEST = 64 * REWIND  # records: some seconds of reading; what is still missing then is told
LINGER = 0.02  # seconds to collect what comes when little is waiting
BUSY = 0.5  # seconds of work in one transaction when much is waiting


class DetectStage(PartitionedStage):
    """Moves a `Detector` over Kafka. Without a champion yet, trades pass by and only fill the windows."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        model: Callable[[], TradeModel | None],
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
        topics: tuple[Topic, Topic] = (TRADES, ANOMALIES),
        tell: Tell = lambda kind, text, symbol: None,
        is_stale: Callable[[TradeModel], bool] = lambda model: False,
    ) -> None:
        """`now` is the wall clock, µs; operators are told by `tell` of symbols whose trades cannot be judged.

        A model that `is_stale` judges on; they are told so once, and what it flags is marked.
        """
        super().__init__(reader, topics[:1], commit_s, metrics, health)
        self.detector = Detector()
        self.writer, self.model, self.topics, self.now = writer, model, topics, now
        self.handled, self.flagged = metrics.records.labels("handled"), metrics.records.labels("flagged")
        self.unscored, self.failed = metrics.records.labels("without_model"), metrics.records.labels("failed")
        self.tell, self.told = tell, dict[str, str]()  # by symbol: the reason that was told
        self.is_stale, self.stale = is_stale, set[str]()  # versions that were told to be past their age limit
        self.shallow = metrics.counter(
            "shallow_windows_total", "symbols whose windows could not be filled up after a restart"
        )
        self.new_from: dict[Partition, int] = {}  # of partitions whose windows are being filled again
        self.begun: dict[Partition, int] = {}  # where that filling began, of partitions that hold more before it
        self.offsets: dict[Partition, int] = {}
        self.tally, self.books = Tally(self.detector.parser.symbols), Accounts[int]()
        self.awaiting: list[Account] = []  # accounts of judged trades that are not committed
        self.found: list[Anomaly] = []
        self.in_transaction = False
        self.received_at = ""  # of the last record, as its header says

    def start(self) -> None:
        """Join the group."""
        self.writer.release(self.reader, self.topics[0])
        super().start()

    def linger(self, count: int, elapsed: float) -> float:
        """Wait a moment for what comes with the first; go on while much is waiting."""
        return LINGER if count >= BATCH and elapsed < BUSY else LINGER - elapsed

    def take(self, messages: list[Message]) -> None:
        """Judge the trades of a batch; records that only fill the windows again after a restart come before them."""
        if self.new_from:
            messages = self._fill_windows(messages)
        if messages:
            self._take(messages)
        self.health.beat()

    def _take(self, messages: list[Message]) -> None:
        values, keys, partitions = contents(messages)
        columns = self.detector.parser.parse(values, keys, partitions)
        known = {part: self.detector.id_index.count(part[1]) for part in self.begun}
        new, features = self.detector.rows(columns)
        self._count(columns, keys)
        if known and (back := self._goes_back(known, messages)):
            ours, kept = ~np.isin(partitions, back), ~np.isin(columns.partition[new], back)
            new, features = new[kept], features[kept]
            messages, partitions = [messages[row] for row in np.flatnonzero(ours).tolist()], partitions[ours]
            if not messages:
                return
        self.offsets |= next_offsets(messages, partitions)
        self.received_at = header_texts(messages[-1]).get(HEADER_RECEIVED_AT, "")
        model, odd = self.model(), list[Ints]()

        def failed(symbol: str, rows: Ints, reason: str) -> None:
            odd.append(rows)
            self._not_judged(symbol, reason)

        if model and len(new):
            self.found += self._marked(model, self.detector.judge(model, columns, new, features, self.now(), failed))
        for rows in odd:
            self.failed.inc(len(rows))
            self.tally.add("refused", columns.partition[rows], columns.code[rows], keys, rows)
            new = np.setdiff1d(new, rows)
        (self.handled if model else self.unscored).inc(len(new))
        self.tally.add("waiting" if model else "passed", columns.partition[new], columns.code[new], keys, new)

    def _fill_windows(self, messages: list[Message]) -> list[Message]:
        """Take in what was committed before; return the records after it, of partitions whose windows are full."""
        old, fresh = list[Message](), dict[Partition, list[Message]]()
        for message in messages:
            part = (message.topic(), message.partition())
            if message.offset() < self.new_from.get(part, 0):
                old.append(message)
            else:
                fresh.setdefault(part, []).append(message)
        if old:
            values, keys, partitions = contents(old)
            columns = self.detector.parser.parse(values, keys, partitions)
            new, _ = self.detector.rows(columns)
            self._count(columns, keys)
            self.tally.add("passed", columns.partition[new], columns.code[new], keys, new)
        for part in [part for part in fresh if part in self.new_from]:
            if self._goes_deeper(part, self.detector.short(part[1])):
                del fresh[part]  # they come again
            else:
                del self.new_from[part]
        return [message for of_part in fresh.values() for message in of_part]

    def _goes_back(self, known: Mapping[Partition, int], messages: Sequence[Message]) -> list[int]:
        """Return the partitions that are read again because a symbol came that had no trade in what was read of them.

        `known` is how many symbols each had before these messages.
        """
        back = list[int]()
        for part, count in known.items():
            if self.detector.id_index.count(part[1]) > count:
                self.new_from[part] = next(message.offset() for message in messages if message.partition() == part[1])
                if self._goes_deeper(part, list(self.detector.id_index.of(part[1]))[count:]):
                    back.append(part[1])
                else:
                    del self.new_from[part]
        return back

    def _goes_deeper(self, part: Partition, short: Sequence[str]) -> bool:
        """Read a partition again from further back where its records held too few trades of a symbol; tell what stays short."""
        begun, new_from = self.begun.get(part, 0), self.new_from[part]
        low, _ = self.reader.ends(*part)
        if begun <= low:  # all that there is has been read: what is missing never was, or is gone
            self.begun.pop(part, None)
            return False
        if not short:
            return False
        if new_from - begun >= DEEPEST:
            self.shallow.inc(len(short))
            log.warning(
                "windows are not full after a restart: trades are judged against fewer than the model was made with",
                extra={"partition": f"{part[0]}-{part[1]}", "count": len(short), "symbols": short[:10]},
            )
            return False
        self.forget([part])
        self.new_from[part], self.begun[part] = new_from, max(low, new_from - DEEPER * (new_from - begun))
        self.reader.seek({part: self.begun[part]})  # one that left meanwhile is no longer ours to fill
        return True

    def flush(self) -> None:
        """Commit anomalies and offsets together."""
        if not self.offsets:
            return
        self.writer.begin()
        self.in_transaction = True
        for anomaly in self.found:
            self.writer.send(self.topics[1], anomaly.symbol, encode(anomaly))
        self.writer.commit(self.reader, self.offsets)
        self.in_transaction = False
        self.tally.move("waiting", "stored")
        for account in self.awaiting:
            account.stored, account.waiting = account.stored + account.waiting, 0
        self.awaiting.clear()
        for anomaly in self.found:
            log.info("anomaly", extra={"symbol": anomaly.symbol, "trade": anomaly.trade_id, "why": anomaly.reasons})
        self.flagged.inc(len(self.found))
        self.offsets.clear()
        self.found.clear()
        if self.received_at.isdigit():
            self.metrics.delay.observe(max(0.0, (self.now() - int(self.received_at)) / SECOND))

    def discard(self) -> None:
        """Drop what is not committed."""
        if self.in_transaction:
            self.writer.abort()
        self.in_transaction = False
        self.offsets.clear()
        self.found.clear()
        self.tally.clear()
        self.awaiting.clear()

    def _marked(self, model: TradeModel, found: list[Anomaly]) -> list[Anomaly]:
        """Return anomalies, marked where their model is past its age limit, which operators are told once of each version."""
        if not self.is_stale(model):
            return found
        if model.version not in self.stale:
            self.stale.add(model.version)
            self.tell(EventKind.MODEL_STALE, past_its_age(model.name, model.version), "")
        return [replace(one, stale=True) for one in found]

    def _not_judged(self, symbol: str, reason: str) -> None:
        if self.told.get(symbol) != reason:
            self.told[symbol] = reason
            self.tell(EventKind.SYMBOL_NOT_SCORED, f"trades of {symbol} are not judged: {reason}", symbol)

    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Return the account of each symbol since its partition was taken; records that only filled windows again have passed."""
        self._settle()
        return iter(self.books)

    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Read the last committed records again, which fill the features' windows."""
        begin, new_from = self.rewound(partitions, REWIND)
        self.new_from |= new_from
        self.begun |= begin
        return begin

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop the symbols of partitions: another process may have read on meanwhile."""
        self._settle()
        for part in partitions:
            self.new_from.pop(part, None)
            self.begun.pop(part, None)
            self.detector.forget(part[1])
            self.books.forget(part[1])

    def _count(self, columns: TradeColumns, keys: Sequence[bytes | None]) -> None:
        """Count what was read, and what of it is no trade."""
        self.tally.add("read", columns.partition, columns.code, keys)
        for row, (key, item) in columns.items.items():
            if not isinstance(item, Trade):
                what = "dead" if isinstance(item, BadRecord) else "passed"
                self.tally.add_one(what, int(columns.partition[row]), key)

    def _settle(self) -> None:
        """Put what was counted since the last time into the accounts; of duplicates the ids keep count."""
        seen = cache(self.detector.id_index.of)
        for number, symbol, more in self.tally.drain():
            account = self.books.add(number, symbol, more)
            self.awaiting += [account] if more.waiting else []
            if (ids := seen(number).get(symbol)) is not None:
                account.duplicate, account.refused = ids.duplicates, ids.refused
