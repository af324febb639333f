"""Fat fingers and other strange trades: every trade's features, one batched verdict of the Isolation Forest, reasons in words.

Features have finite memory, so a restart reads a stretch of committed records again to fill it and then goes on exactly
where it stopped; anomalies and offsets are one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.data.trade_features import NAMES, TradeFeatures
from quantstream.core.accounts import Account, Accounts
from quantstream.core.errors import BadRecord
from quantstream.core.rolling import Floats
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.decode.tally import Tally
from quantstream.decode.trade_id_index import TradeIdIndex, note
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
from quantstream.messages.payloads import Anomaly, EventKind, encode
from quantstream.messages.topics import ANOMALIES, HEADER_RECEIVED_AT, TRADES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics

log = logging.getLogger(__name__)
REWIND = 10_000  # committed records of a partition that are read again to refill the features' windows
LINGER = 0.02  # seconds to collect what comes when little is waiting
BUSY = 0.5  # seconds of work in one transaction when much is waiting


Failed = Callable[[str, Ints, str], None]  # told the symbol, the rows and why they were not judged


class TradeModel(Protocol):
    """The anomaly champion, as far as detect uses it."""

    name: str
    version: str
    threshold: float

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a score in 0..1 per row, higher is stranger."""
        ...

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reasons a person can read."""
        ...


class Detector:
    """Features of the symbols this process holds, and the verdict on a batch: no Kafka."""

    def __init__(self) -> None:
        self.features = TradeFeatures()
        self.parser = Parser()
        self.seen = TradeIdIndex(self.parser.symbols.names)
        self.refused = 0  # trades of which it cannot be told whether they were judged before

    def push(self, trade: Trade, partition: int = 0) -> tuple[float, ...] | None:
        """Return the trade's features, None for a duplicate."""
        return self.features.push(trade) if note(self.seen.sequence(partition, trade.symbol), trade).is_new else None

    def rows(self, columns: TradeColumns) -> tuple[Ints, Floats]:
        """Return which rows of a batch are trades not seen before, and the features of each, as `push` gives them."""
        names, refused = self.parser.symbols.names, list[int]()
        new = np.flatnonzero(self.seen.find_new(columns, refused))
        self.refused += len(refused)
        features = np.zeros((len(columns), len(NAMES)))
        for rows, code in columns.by_symbol(new[columns.code[new] >= 0]):
            features[rows] = self._extend(columns, rows, names[code])
        for row in new[columns.code[new] < 0].tolist():
            features[row] = self.features.push(columns.trade_at(row, names))
        return new, features[new]

    def judge(
        self, model: TradeModel, columns: TradeColumns, new: Ints, features: Floats, now: int, failed: Failed
    ) -> list[Anomaly]:
        """Return the anomalies among the rows `new` of a batch. `now` is the wall clock, µs.

        Where the model raises, each symbol is judged by itself, and `failed` is told of those that it raises for.
        """
        try:
            return self._judged(model, columns, new, features, now)
        except Exception as error:
            symbols = np.array([self._symbol(columns, row) for row in new.tolist()], object)
            names = sorted(set(symbols))
            if len(names) == 1:
                log.exception("a symbol's trades cannot be judged", extra={"symbol": names[0]})
                failed(names[0], new, f"{type(error).__name__}: {error}")
                return []
        mine = [(new[symbols == name], features[symbols == name]) for name in names]
        return [anomaly for rows, some in mine for anomaly in self.judge(model, columns, rows, some, now, failed)]

    def _judged(self, model: TradeModel, columns: TradeColumns, new: Ints, features: Floats, now: int) -> list[Anomaly]:
        scores = model.score_trades(features)
        return [
            self._anomaly(model, columns, int(new[place]), features[place], float(scores[place]), now)
            for place in np.flatnonzero(scores > model.threshold).tolist()
        ]

    def forget(self, partition: int) -> None:
        """Drop a partition's symbols: another process may have read on meanwhile."""
        for symbol in self.seen.of(partition):
            self.features.forget(symbol)
        self.seen.forget(partition)

    def _symbol(self, columns: TradeColumns, row: int) -> str:
        code = columns.code[row]
        return self.parser.symbols.names[code] if code >= 0 else columns.items[row][0]

    def _extend(self, columns: TradeColumns, rows: Ints, symbol: str) -> list[tuple[float, ...]]:
        if columns.at[rows].min() == 0:  # a trade too large for the columns is among them
            return [self.features.push(columns.trade_at(row, self.parser.symbols.names)) for row in rows.tolist()]
        parts = (columns.price[rows], columns.quantity[rows], columns.at[rows], columns.maker[rows])
        return self.features.extend(symbol, *(part.tolist() for part in parts))

    def _anomaly(
        self, model: TradeModel, columns: TradeColumns, row: int, features: Floats, score: float, now: int
    ) -> Anomaly:
        trade = columns.trade_at(row, self.parser.symbols.names)
        return Anomaly(
            symbol=trade.symbol,
            trade_id=trade.id,
            traded_at=trade.traded_at,
            price=trade.price,
            quantity=trade.quantity,
            buyer_is_maker=trade.buyer_is_maker,
            score=score,
            reasons=model.explain(features.tolist()),
            model=f"{model.name}/{model.version}",
            detected_at=now,
        )


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
    ) -> None:
        """`now` is the wall clock, µs; operators are told by `tell` of symbols whose trades cannot be judged."""
        super().__init__(reader, topics[:1], commit_s, metrics, health)
        self.detector = Detector()
        self.writer, self.model, self.topics, self.now = writer, model, topics, now
        self.handled, self.flagged = metrics.records.labels("handled"), metrics.records.labels("flagged")
        self.unscored, self.failed = metrics.records.labels("without_model"), metrics.records.labels("failed")
        self.tell, self.told = tell, dict[str, str]()  # by symbol: the reason that was told
        self.new_from: dict[Partition, int] = {}
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
        """Judge the trades of a batch."""
        values, keys, partitions = contents(messages)
        columns = self.detector.parser.parse(values, keys, partitions)
        new, features = self.detector.rows(columns)
        self._count(columns, keys)
        if self.new_from:  # records that only refill the windows after a restart
            places = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
            begin = {number: offset for (_, number), offset in self.new_from.items()}
            is_new = places >= np.array([begin.get(number, 0) for number in partitions.tolist()])
            duplicates = new[~is_new[new]]
            self.tally.add("passed", columns.partition[duplicates], columns.code[duplicates], keys, duplicates)
            messages = [messages[row] for row in np.flatnonzero(is_new).tolist()]
            partitions = partitions[is_new]
            new, features = new[is_new[new]], features[is_new[new]]
            reached = next_offsets(messages, partitions)
            self.new_from = {part: at for part, at in self.new_from.items() if reached.get(part, 0) <= at}
        if messages:
            self.offsets |= next_offsets(messages, partitions)
            self.received_at = header_texts(messages[-1]).get(HEADER_RECEIVED_AT, "")
        model, odd = self.model(), list[Ints]()

        def failed(symbol: str, rows: Ints, reason: str) -> None:
            odd.append(rows)
            self._not_judged(symbol, reason)

        if model and len(new):
            self.found += self.detector.judge(model, columns, new, features, self.now(), failed)
        for rows in odd:
            self.failed.inc(len(rows))
            self.tally.add("refused", columns.partition[rows], columns.code[rows], keys, rows)
            new = np.setdiff1d(new, rows)
        (self.handled if model else self.unscored).inc(len(new))
        self.tally.add("waiting" if model else "passed", columns.partition[new], columns.code[new], keys, new)
        self.health.beat()

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

    def _not_judged(self, symbol: str, reason: str) -> None:
        if self.told.get(symbol) != reason:
            self.told[symbol] = reason
            self.tell(EventKind.SYMBOL_NOT_SCORED, f"trades of {symbol} are not judged: {reason}", symbol)

    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Return the account of each symbol since its partition was taken; what only refilled windows has passed."""
        self._settle()
        return iter(self.books)

    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Read the last committed records again, which fill the features' windows."""
        begin, new_from = self.rewound(partitions, REWIND)
        self.new_from |= new_from
        return begin

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop the symbols of partitions: another process may have read on meanwhile."""
        self._settle()
        for part in partitions:
            self.new_from.pop(part, None)
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
        seen = cache(self.detector.seen.of)
        for number, symbol, more in self.tally.drain():
            account = self.books.add(number, symbol, more)
            self.awaiting += [account] if more.waiting else []
            if (ids := seen(number).get(symbol)) is not None:
                account.duplicate, account.refused = ids.duplicates, ids.refused
