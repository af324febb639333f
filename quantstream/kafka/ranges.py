"""Parts of a topic: from an offset or a moment of event time to an offset, read once and without a group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord, Misconfigured, Unavailable
from quantstream.core.trade import Trade
from quantstream.kafka import Message, Reader, header_texts
from quantstream.messages.payloads import decode
from quantstream.messages.topics import HEADER_ORIGIN, Topic

PATIENCE = 30.0  # seconds without a record before the broker counts as gone
NEAR = 2_000  # records: a search in time stops when it is this near, and returns the earlier end
Range = tuple[int, int]  # offsets, the second not included
TimeOf = Callable[[Message], int | None]


def whole(reader: Reader, topic: Topic) -> dict[int, Range]:
    """Return what each partition of a topic holds now.

    Raises: Unavailable.
    """
    return {partition: reader.ends(topic.name, partition) for partition in reader.partitions(topic)}


def read_ranges(reader: Reader, topic: Topic, ranges: Mapping[int, Range]) -> Iterator[Message]:
    """Yield the messages of some ranges, each partition's in order.

    Raises: Unavailable when none comes for half a minute.
    """
    left = {partition: end for partition, (start, end) in ranges.items() if start < end}
    if not left:
        return
    reader.assign({(topic.name, partition): ranges[partition][0] for partition in left})
    heard_at = time.monotonic()
    while left:
        messages = reader.poll(0.2)
        for message in messages:
            if message.offset() < left.get(message.partition(), 0):
                yield message
        positions = reader.positions()  # a transaction's last offset is its marker, which is never delivered
        done = [partition for partition, end in left.items() if positions.get((topic.name, partition), 0) >= end]
        for partition in done:
            del left[partition]
        if messages or done:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > PATIENCE:
            raise Unavailable(f"the broker at {reader.bootstrap} sent nothing of {topic.name} for {PATIENCE:.0f} s")


def offset_at(reader: Reader, topic: Topic, partition: int, at: int, time_of: TimeOf) -> int:
    """Return an offset at or shortly before the first record of event time `at` (µs) or later.

    `time_of` is None for records that are out of order in time. Raises: Unavailable.
    """
    low, high = end = reader.ends(topic.name, partition)
    while high - low > NEAR:
        middle = (low + high) // 2
        found = _first_time(reader, topic, partition, (middle, end[1]), time_of)
        if found is None or found[1] >= at:
            high = middle
        else:
            low = found[0]
    return low


def _first_time(reader: Reader, topic: Topic, partition: int, part: Range, time_of: TimeOf) -> tuple[int, int] | None:
    for message in read_ranges(reader, topic, {partition: part}):
        at = time_of(message)
        if at is not None:
            return message.offset(), at
    return None


def trade_time(message: Message) -> int | None:
    """Return the event time of a record of the trades topic, µs; None for those of a gap fill and unreadable ones."""
    if header_texts(message).get(HEADER_ORIGIN) == "repaired":
        return None
    try:
        item = parse_record(message.value() or b"", (message.key() or b"").decode(errors="replace"))
    except BadRecord:
        return None
    return item.traded_at if isinstance(item, Trade) else item


def candle_time(message: Message) -> int | None:
    """Return when the candle of a record opened, µs; None for revisions, which come later than their window."""
    try:
        candle = decode(message.value() or b"", Candle)
    except BadRecord:
        return None
    return candle.opened_at if candle.revision == 0 else None


def parse_offset(text: str, ends: Mapping[int, Range]) -> tuple[int, int]:
    """Return partition and offset of `P:N`.

    Raises: Misconfigured when there is no such partition or its log no longer (or not yet) holds that offset.
    """
    partition, _, offset = text.partition(":")
    if not (partition.isdigit() and offset.isdigit()):
        raise Misconfigured(f"{text!r} is not a partition and an offset; write e.g. 0:12500")
    place, number = int(partition), int(offset)
    if place not in ends:
        raise Misconfigured(f"there is no partition {place}; the topic has {', '.join(map(str, sorted(ends)))}")
    low, high = ends[place]
    if not low <= number <= high:
        raise Misconfigured(f"partition {place} holds offsets {low} to {high}; {number} is not among them")
    return place, number
