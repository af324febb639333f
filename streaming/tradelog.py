"""The trades topic as ingest writes it and, after a crash, reads its own tail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from quantstream.errors import BadRecord, Broken, Unavailable
from quantstream.kafka import Reader, Writer, record
from quantstream.market import Trade
from quantstream.settings import Kafka
from quantstream.topics import (
    DEAD,
    EVENTS,
    HEADER_KIND,
    HEADER_ORIGIN,
    HEADER_RECEIVED_AT,
    TRADES,
    DeadRecord,
    Event,
    encode,
)
from streaming.binance import parse_record

log = logging.getLogger(__name__)
TAIL_CHUNK = 2_000  # records of a partition to look back first; four times more at each further try
MAX_RAW = 4_096  # characters of a dead record that are kept


class KafkaTradeLog:
    """Appends events as the exchange sent them, keyed by symbol, idempotently."""

    def __init__(self, writer: Writer, now: Callable[[], int]) -> None:
        """`now` is the wall clock, µs."""
        self.writer, self.now = writer, now

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        """Append one record.

        Raises: Broken when the broker has taken none for so long that the queue is full, or refused one.
        """
        headers = [
            (HEADER_KIND, kind.encode()),
            (HEADER_RECEIVED_AT, str(received_at).encode()),
            (HEADER_ORIGIN, origin.encode()),
        ]
        try:
            self.writer.send(TRADES, symbol, raw, headers)
            self.writer.poll()
            self.writer.check()
        except Unavailable as error:
            raise Broken(f"trades cannot be written; the next start repairs from the topic's end: {error}") from error

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        """Put a record that nobody can parse aside."""
        put_aside(self.writer, source, reason, raw, self.now())

    def event(self, event: Event) -> None:
        """Tell the operators something."""
        log.info(event.text, extra={"event": event.kind, "symbol": event.symbol})
        self.writer.send(EVENTS, event.source, encode(event))


def put_aside(writer: Writer, source: str, reason: str, raw: bytes, at: int) -> None:
    """Write a dead letter and log it. `at` is the wall clock, µs."""
    log.warning("dead letter", extra={"source": source, "reason": reason})
    text = raw[:MAX_RAW].decode("utf-8", errors="replace")
    writer.send(DEAD, source.split(" ")[0], encode(DeadRecord(source, reason, text, at)))


def last_trades(kafka: Kafka, symbols: Iterable[str]) -> dict[str, Trade]:
    """Return the newest trade of each symbol that the topic holds, by looking back from its end.

    Raises: Unavailable.
    """
    wanted = set(symbols)
    found: dict[str, Trade] = {}
    reader = Reader(kafka)
    try:
        for partition in range(TRADES.partitions):
            low, high = reader.ends(TRADES.name, partition)
            chunk, end = TAIL_CHUNK, high
            while end > low and wanted - set(found):
                start = max(low, end - chunk)
                for symbol, trade in _newest(reader, partition, start, end).items():
                    found.setdefault(symbol, trade)
                chunk, end = chunk * 4, start
    finally:
        reader.close()
    return {symbol: trade for symbol, trade in found.items() if symbol in wanted}


def _newest(reader: Reader, partition: int, start: int, end: int) -> dict[str, Trade]:
    """Return the trade with the highest id per symbol among the records `[start, end)`."""
    reader.assign({(TRADES.name, partition): start})
    newest: dict[str, Trade] = {}
    position = start
    while position < end:
        for message in reader.poll(1.0):
            position = message.offset() + 1
            if message.offset() >= end:
                break
            item = record(message)
            try:
                trade = parse_record(item.value, item.key)
            except BadRecord:
                continue  # whoever reads the topic as its work has put it aside
            if isinstance(trade, Trade) and (item.key not in newest or trade.id > newest[item.key].id):
                newest[item.key] = trade
        position = max(position, reader.positions().get((TRADES.name, partition), 0))
    return newest
