"""What topics hold once a stage has run: the trades that went in, each once, and those that its candles hold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from bench.measure import floors
from quantstream.core.candle import Candle
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.kafka import OFFSET_BEGINNING, Reader, contents
from quantstream.messages.payloads import OpenCandles, decode
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka
from streaming.aggregate.stage import Route


def records(kafka: Kafka, topic: str, partitions: int) -> int:
    """Return how many records a topic holds at most: markers of transactions count."""
    reader = Reader(kafka)
    ends = [reader.ends(topic, partition) for partition in range(partitions)]
    reader.close()
    return sum(high - low for low, high in ends)


def in_candles(kafka: Kafka, route: Route) -> tuple[int, int]:
    """Return how many candles are committed, and how many trades they and the open ones of the first interval hold."""
    closed: dict[tuple[str, str, int], int] = {}
    open_now: dict[str, OpenCandles] = {}
    emitted = 0
    for message in _committed(kafka, route.candles):
        candle = decode(message, Candle)
        closed[candle.symbol, candle.interval, candle.opened_at] = candle.trade_count
        emitted += 1
    for message in _committed(kafka, route.open_candles):
        snapshot = decode(message, OpenCandles)
        open_now[snapshot.state.symbol] = snapshot
    shortest = next(iter(next(iter(open_now.values())).state.windows))
    held = sum(count for (_, interval, _), count in closed.items() if interval == shortest)
    for snapshot in open_now.values():
        windows = snapshot.state.windows[shortest].values()
        held += sum(window.trade_count for window in windows if window.revision < 0)
    return emitted, held


def _committed(kafka: Kafka, topic: Topic) -> list[bytes]:
    reader = Reader(kafka)
    ends = {(topic.name, number): reader.ends(topic.name, number)[1] for number in range(topic.partitions)}
    reader.assign(dict.fromkeys(ends, OFFSET_BEGINNING))
    values: list[bytes] = []
    deadline = time.perf_counter() + floors.PATIENCE
    while time.perf_counter() < deadline:
        messages = reader.poll(0.2)
        values += [message.value() or b"" for message in messages]
        positions = reader.positions()
        if not messages and all(positions.get(part, 0) >= end for part, end in ends.items() if end):
            break
    reader.close()
    return values


def distinct(kafka: Kafka, topic: Topic, ends: Mapping[int, int]) -> int:
    """Return how many single trades the topic holds before these offsets, by their ids alone: each counts once."""
    parser, reader, spans = Parser(), Reader(kafka), Spans()
    for partition, end in ends.items():
        reader.assign({(topic.name, partition): OFFSET_BEGINNING})
        while reader.positions().get((topic.name, partition), 0) < end:
            messages = [message for message in reader.poll(1.0, 5_000) if (message.offset() or 0) < end]
            spans.add(parser.parse(*contents(messages)), parser.symbols.names)
    reader.close()
    return spans.count()


class Spans:
    """The ids that were seen of each symbol, as ranges."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[Ints, Ints]]] = {}

    def add(self, columns: TradeColumns, names: Sequence[str]) -> None:
        """Note the trades of a batch."""
        plain = np.flatnonzero(columns.at > 0)
        for rows, code in columns.by_symbol(plain):
            self._seen.setdefault(names[code], []).append((columns.first[rows], columns.last[rows]))
        for key, item in columns.items.values():
            if isinstance(item, Trade):
                one = np.array([item.first_trade_id]), np.array([item.last_trade_id])
                self._seen.setdefault(key, []).append(one)

    def count(self) -> int:
        """Return how many ids there are in all."""
        return sum(map(_union, self._seen.values()))


def _union(parts: Sequence[tuple[Ints, Ints]]) -> int:
    """Return how many ids lie in any of some ranges, both ends included."""
    first, last = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    order = np.argsort(first, kind="stable")
    first, last = first[order], last[order]
    seen = np.concatenate([[-1], np.maximum.accumulate(last)[:-1]])
    return int(np.maximum(0, last - np.maximum(first, seen + 1) + 1).sum())
