"""The trades topic as ingest writes it and, after a crash, reads its own tail."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from zlib import crc32

from quantstream.binance.wire import LogPosition, heartbeat_position, parse_record
from quantstream.core.errors import BadRecord, Broken, Unavailable
from quantstream.core.trade import Trade
from quantstream.kafka import Reader, Writer
from quantstream.kafka.dead_letters import dead_letter
from quantstream.messages.payloads import Event, encode
from quantstream.messages.topics import EVENTS, HEADER_KIND, HEADER_ORIGIN, HEADER_RECEIVED_AT, TRADES
from quantstream.settings import Kafka

log = logging.getLogger(__name__)
TAIL_CHUNK = 20_000  # records of a partition to look back first: some seconds of the busiest hour, in half a second
MAX_QUEUED = 20_000  # records that may wait for the broker before reading pauses: seconds of a busy market, 5 MB
MAX_QUEUED_KBYTES = 262_144
MAX_LOOK_BACK = 500_000  # records of a partition: two seconds of reading
ACK_PATIENCE = 300.0  # seconds
ROOM_POLL = 0.01  # seconds


class KafkaTradeLog:
    """Appends events as the exchange sent them, keyed by symbol, idempotently, and lets only so many wait for the broker."""

    def __init__(
        self,
        writer: Writer,
        now: Callable[[], int],
        on_queued: Callable[[int], None] = lambda queued: None,
        most: int = MAX_QUEUED,
        patience: float = ACK_PATIENCE,
    ) -> None:
        """`now` is the wall clock, µs; `on_queued` is told how many records wait for the broker. `patience` in seconds."""
        self.writer, self.now, self.on_queued = writer, now, on_queued
        self.most, self.patience = most, patience
        self._headers: tuple[str, int, str] = ("", 0, "")
        self._encoded: list[tuple[str, bytes]] = []

    @property
    def has_room(self) -> bool:
        """Whether the broker keeps up.

        Raises: Broken when a record was refused.
        """
        return self._queued() < self.most

    async def room(self) -> None:
        """Return once half of what waited was taken.

        Raises: Broken when a record was refused, or none was taken for so long that this process had better start over.
        """
        loop = asyncio.get_running_loop()
        queued, changed_at = self._queued(), loop.time()
        if queued < self.most:
            return
        while (now := self._queued()) >= self.most // 2:
            if now != queued:
                queued, changed_at = now, loop.time()
            elif loop.time() - changed_at > self.patience:
                raise Broken(
                    f"the broker took no trade for {self.patience:g} s; the next start fills the gap from the topic's end"
                )
            await asyncio.sleep(ROOM_POLL)

    def _queued(self) -> int:
        self.writer.poll()
        try:
            self.writer.check()
        except Unavailable as error:
            raise Broken(
                f"trades cannot be written; the next start fills the gap from the topic's end: {error}"
            ) from error
        queued = self.writer.queued
        self.on_queued(queued)
        return queued

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        """Append one record.

        Raises: Broken when the queue is full.
        """
        if (kind, received_at, origin) != self._headers:
            self._headers = kind, received_at, origin
            self._encoded = [
                (HEADER_KIND, kind.encode()),
                (HEADER_RECEIVED_AT, str(received_at).encode()),
                (HEADER_ORIGIN, origin.encode()),
            ]
        try:
            self.writer.send(TRADES, symbol, raw, self._encoded)
        except Unavailable as error:
            raise Broken(
                f"trades cannot be written; the next start fills the gap from the topic's end: {error}"
            ) from error

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        """Put a record that nobody can parse aside."""
        dead_letter(self.writer, source, reason, raw, self.now())

    def event(self, event: Event) -> None:
        """Tell the operators something."""
        log.info(event.text, extra={"event": event.kind, "symbol": event.symbol})
        self.writer.send(EVENTS, event.source, encode(event))


def trade_writer(kafka: Kafka) -> Writer:
    """Return the writer for a `KafkaTradeLog`: it keeps trying for ever, so that no trade is skipped that later ones follow."""
    return Writer(
        kafka,
        message_timeout_ms=0,
        queue_buffering_max_messages=8 * MAX_QUEUED,  # what is read in one go from many lines comes on top
        queue_buffering_max_kbytes=MAX_QUEUED_KBYTES,
    )


def tails(kafka: Kafka, symbols: Iterable[str]) -> dict[str, deque[Trade | LogPosition]]:
    """Return, per symbol, what the end of the topic holds in its order: trades, and where heartbeats say that it stood.

    A symbol that is not there is looked for further back, but not for ever: one that ingest follows has a record a second.
    Raises: Unavailable.
    """
    wanted = set(symbols)
    found: dict[str, deque[Trade | LogPosition]] = {}
    reader = Reader(kafka)
    try:
        partitions = reader.partitions(TRADES)
        for partition in partitions:
            low, high = reader.ends(TRADES.name, partition)
            chunk, end = TAIL_CHUNK, high
            here = {symbol for symbol in wanted if crc32(symbol.encode()) % len(partitions) == partition}
            while end > max(low, high - MAX_LOOK_BACK) and (here - found.keys() or end == high):
                start = max(low, end - chunk)
                older: dict[str, deque[Trade | LogPosition]] = {}
                for symbol, item in _items(reader, partition, start, end):
                    older.setdefault(symbol, deque(maxlen=TAIL_CHUNK)).append(item)
                for symbol in older.keys() - found.keys():
                    found[symbol] = older[symbol]
                chunk, end = chunk * 4, start
    finally:
        reader.close()
    return {symbol: items for symbol, items in found.items() if symbol in wanted}


def _items(reader: Reader, partition: int, start: int, end: int) -> Iterator[tuple[str, Trade | LogPosition]]:
    """Yield the trades, and the standings of heartbeats, in the records `[start, end)`, each with its symbol."""
    reader.assign({(TRADES.name, partition): start})
    position = start
    while position < end:
        for message in reader.poll(1.0):
            position = message.offset() + 1
            if message.offset() >= end:
                break
            symbol, raw = (message.key() or b"").decode(errors="replace"), message.value() or b""
            try:
                item = parse_record(raw, symbol)
                yield symbol, item if isinstance(item, Trade) else heartbeat_position(raw)
            except BadRecord:
                continue  # whoever reads the topic as its work has put it aside
        position = max(position, reader.positions().get((TRADES.name, partition), 0))
