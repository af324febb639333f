"""Candles corrected after the fact: newer revisions in the candles topic, where sink, score and dashboard all see them.

A window's own revisions are numbered by the aggregator, 0, 1, 2 …, from its snapshot, which knows nothing of corrections.
So a correction takes the next whole thousand: the two never meet, and a correction counts until the next one. One process
corrects at a time: they share a transactional id, by which the broker fences all but the last that began.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import msgspec

from quantstream.core.candle import CORRECTION_STEP, Candle
from quantstream.core.errors import BadRecord
from quantstream.core.time import DAY
from quantstream.kafka import ANY_PARTITION, Reader, Writer
from quantstream.kafka.ranges import candle_time, offset_at, read_ranges, whole
from quantstream.messages.payloads import decode, encode
from quantstream.messages.topics import CANDLES
from quantstream.settings import Kafka

TRANSACTIONAL_ID = "quantstream-corrections"
MARGIN = DAY  # how far candles of several symbols may be out of order after an outage
Key = tuple[str, str, int]  # symbol, interval, opened_at


class Known(msgspec.Struct):
    """The candle of a window that counts, and the partition that it is in."""

    candle: Candle
    partition: int


def key_of(candle: Candle) -> Key:
    """Return what tells a window from all others."""
    return candle.symbol, candle.interval, candle.opened_at


def corrected(candle: Candle, newest_revision: int) -> Candle:
    """Return a candle as the correction of a window whose newest revision is given (-1: there is none)."""
    return msgspec.structs.replace(candle, revision=(max(newest_revision, 0) // CORRECTION_STEP + 1) * CORRECTION_STEP)


def known_candles(reader: Reader, symbols: Container[str], start: int) -> dict[Key, Known]:
    """Return the candle that counts of every window of some symbols that the topic holds from `start` (µs) on.

    Raises: Unavailable.
    """
    ranges = {}
    for partition, (_, end) in whole(reader, CANDLES).items():
        ranges[partition] = (offset_at(reader, CANDLES, partition, start - MARGIN, candle_time), end)
    known: dict[Key, Known] = {}
    for message in read_ranges(reader, CANDLES, ranges):
        try:
            candle = decode(message.value() or b"", Candle)
        except BadRecord:
            continue  # sink and score have put it aside
        if candle.symbol in symbols and candle.opened_at >= start:
            before = known.get(key_of(candle))
            if before is None or _rank(candle) >= _rank(before.candle):
                known[key_of(candle)] = Known(candle, message.partition())
    return known


def _rank(candle: Candle) -> tuple[int, bool]:
    return candle.revision, candle.is_complete


class Corrector:
    """Publishes corrections, all or none. Make it before looking at what is there: from then on nobody else corrects."""

    def __init__(self, kafka: Kafka) -> None:
        """Raises: Unavailable."""
        self.writer = Writer(kafka, TRANSACTIONAL_ID)

    def publish(self, reader: Reader, candles: Iterable[Candle], partitions: Mapping[str, int]) -> int:
        """Write corrections in one transaction; `partitions` tells where a symbol's candles are. Return how many.

        Raises: Unavailable, also when another corrector began meanwhile; then nothing was written.
        """
        ready = list(candles)
        if ready:
            self.writer.begin()
            for candle in ready:
                partition = partitions.get(candle.symbol, ANY_PARTITION)
                self.writer.send(CANDLES, candle.symbol, encode(candle), partition=partition)
            self.writer.commit(reader, {})
        return len(ready)
