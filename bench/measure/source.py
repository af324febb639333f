"""A topic full of trades to measure on: the same seeded raw events for every run, and a broker of its own where none is given."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantstream.kafka import Writer, ensure_topics
from quantstream.messages.topics import Topic
from quantstream.settings import PARTITIONS, Kafka

BEGIN_MS = 1_754_006_400_000  # 2025-08-01, a five-minute boundary
TRADES = 2_000_000
SYMBOLS = 8
EVENT = '{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%d.%02d000000","q":"%d.%05d000","T":%d,"m":%s,"M":true}'  # as the exchange


@contextmanager
def broker(bootstrap: str | None = None) -> Iterator[Kafka]:
    """Yield the broker at `bootstrap`, or an embedded one in a temporary folder for as long as the block lasts."""
    if bootstrap:
        yield Kafka(bootstrap=bootstrap)
        return
    from infra.embedded import broker as local
    from infra.embedded.free_ports import free_port

    with tempfile.TemporaryDirectory(prefix="bench-broker-") as folder:
        port = free_port()
        with local.running(Path(folder), port):
            kafka = Kafka(bootstrap=f"127.0.0.1:{port}")
            ensure_topics(kafka)
            yield kafka


def events(trades: int, symbols: int = SYMBOLS, per_second: int = 2_000, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield (symbol, raw event) in time order: prices walk, sizes vary, ids of a symbol count up from 1 without a gap."""
    rng = random.Random(seed)
    names = [f"SYM{number:04d}USDT" for number in range(symbols)]
    cents = [rng.randrange(10_000, 10_000_000) for _ in names]
    ids = [0] * symbols
    uniform = rng.random
    for number in range(trades):
        which = int(uniform() * symbols)
        ids[which] += 1
        cents[which] = max(1, cents[which] + int(uniform() * 21) - 10)
        at = BEGIN_MS + number * 1000 // per_second
        price, size = cents[which], int(uniform() ** 4 * 10_000_000)
        maker = "true" if uniform() < 0.5 else "false"
        text = EVENT % (
            at,
            names[which],
            ids[which],
            price // 100,
            price % 100,
            size // 100_000,
            size % 100_000,
            at,
            maker,
        )
        yield names[which], text.encode()


def fill(kafka: Kafka, topic: str, trades: int = TRADES, symbols: int = SYMBOLS, partitions: int = PARTITIONS) -> None:
    """Write so many events into a new topic, keyed by symbol, lz4."""
    declared = Topic(topic, "symbol", "bench", partitions=partitions)
    ensure_topics(kafka, [declared])
    writer = Writer(kafka, linger_ms=20, queue_buffering_max_messages=1_000_000, batch_size=1_000_000)
    for number, (symbol, raw) in enumerate(events(trades, symbols)):
        writer.send(declared, symbol, raw)
        if number % 50_000 == 49_999:
            writer.flush(60)
    writer.flush(60)
