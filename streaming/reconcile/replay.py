"""Candles recomputed from the trades topic, from any offset: the live path's own builder over the same log, so the same candles.

A window that began before the range is *partial*: only a part of it was read. It is counted and said, never published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from quantstream.binance.wire import parse_record
from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.errors import BadRecord
from quantstream.core.moments import moment_text
from quantstream.core.trade import Trade
from quantstream.kafka import Message, Reader
from quantstream.kafka.ranges import Range, read_ranges
from quantstream.messages.topics import TRADES
from streaming.reconcile.compare import TRADE_FIELDS, field_text
from streaming.reconcile.corrections import Corrector, Key, Known, corrected, key_of, known_candles
from streaming.reconcile.proof_report import DIFFERS

COMPARED = (*TRADE_FIELDS, "is_complete")
SHOWN = 1_000  # differences that are listed; the counts go on


class ReplayDifference(msgspec.Struct, frozen=True):
    """One field that is another one than in the candles topic; None where the topic has no such candle."""

    symbol: str
    interval: str
    opened_at: str
    field: str
    topic: str | None
    replayed: str | None


class Replayed(msgspec.Struct):
    """What a replay made, and how it compares: each candle made is one of equal, different, absent, partial and ahead."""

    records: int = 0
    trades: int = 0
    unreadable: int = 0
    candles: int = 0
    equal: int = 0
    different: int = 0
    absent: int = 0  # the topic has later candles of the symbol, but not this one
    partial: int = 0  # the range holds only a part of the window's trades
    ahead: int = 0  # closed here, not yet by the live path
    incomplete: int = 0  # of the equal and different ones: trades are missing in the log itself
    published: int = 0
    differences: list[ReplayDifference] = []
    partial_windows: list[str] = []

    @property
    def exit_code(self) -> int:
        """0 when nothing differs, or all that did was published; 1 else."""
        return DIFFERS if self.different + self.absent > self.published else 0

    def as_json(self) -> str:
        """Return all of it."""
        shape: dict[str, Any] = msgspec.to_builtins(self)
        return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


class Replay:
    """The builders of all symbols of a range: pure, no Kafka."""

    def __init__(
        self, intervals: Iterable[str], lateness: int, symbols: frozenset[str] | None, whole: frozenset[int]
    ) -> None:
        """`lateness` in µs; `whole` names the partitions read from their very first record, where nothing is partial."""
        self.intervals, self.lateness, self.symbols, self.whole = tuple(intervals), lateness, symbols, whole
        self.builders: dict[str, CandleBuilder] = {}
        self.candles: dict[Key, Candle] = {}
        self.partitions: dict[str, int] = {}
        self.partial_until: dict[
            str, int
        ] = {}  # µs: of windows that opened up to then, a part may lie before the range
        self.result = Replayed()

    def take(self, partition: int, symbol: str, raw: bytes) -> None:
        """Take one record of the trades topic."""
        if self.symbols is not None and symbol not in self.symbols:
            return
        self.result.records += 1
        try:
            item = parse_record(raw, symbol)
        except BadRecord:
            self.result.unreadable += 1  # aggregate has put it aside
            return
        builder = self.builders.get(symbol)
        if builder is None:
            builder = self.builders[symbol] = CandleBuilder(symbol, self.intervals, self.lateness)
            self.partitions[symbol] = partition
        is_first = builder.state.ids.last_id == NO_TRADE_ID
        if isinstance(item, Trade):
            self.result.trades += 1
            made = builder.add(item)
            if is_first and partition not in self.whole:
                self.partial_until[symbol] = max((gap.before for gap in builder.state.ids.open_gaps), default=-1)
        else:
            made = builder.heartbeat(item)
        for candle in made:
            self.candles[key_of(candle)] = candle

    def is_partial(self, candle: Candle) -> bool:
        """Tell whether a part of the window's trades may lie before the range."""
        return candle.opened_at <= self.partial_until.get(candle.symbol, -1)

    def compare(self, known: Mapping[Key, Known], start: int | None = None, end: int | None = None) -> list[Candle]:
        """Count how the candles that lie in `[start, end)` (µs) compare; return those that should be published.

        These are whole, and other than what the topic has, unless that was taken from the exchange's own klines.
        """
        newest: dict[tuple[str, str], int] = {}
        for symbol, interval, opened_at in known:
            newest[symbol, interval] = max(newest.get((symbol, interval), -1), opened_at)
        wanted = []
        for key, candle in sorted(self.candles.items()):
            if (start is not None and candle.opened_at < start) or (end is not None and candle.closed_at > end):
                continue
            self.result.candles += 1
            there = known.get(key)
            if self._judge(candle, there.candle if there else None, newest.get(key[:2], -1)):
                wanted.append(corrected(candle, there.candle.revision if there else -1))
        return wanted

    def _judge(self, candle: Candle, there: Candle | None, newest_at: int) -> bool:
        result = self.result
        if self.is_partial(candle):
            result.partial += 1
            result.partial_windows.append(f"{candle.symbol} {candle.interval} {moment_text(candle.opened_at)}")
            return False
        if there is None and candle.opened_at > newest_at:
            result.ahead += 1
            return False
        result.incomplete += not candle.is_complete
        if there is None:
            result.absent += 1
            self._note(candle, None, "candle")
            return candle.is_complete
        is_kline = there.source == "klines"  # has no ids, and was made because the trades do not suffice
        if is_kline and not candle.is_complete:
            result.equal += 1
            return False
        names = [
            name for name in (COMPARED[:9] if is_kline else COMPARED) if getattr(candle, name) != getattr(there, name)
        ]
        for name in names:
            self._note(candle, there, name)
        result.different += bool(names)
        result.equal += not names
        return bool(names) and candle.is_complete and not is_kline

    def _note(self, candle: Candle, there: Candle | None, name: str) -> None:
        if len(self.result.differences) < SHOWN:
            key = (candle.symbol, candle.interval, moment_text(candle.opened_at))
            self.result.differences.append(
                ReplayDifference(*key, name, field_text(there, name), field_text(candle, name))
            )


def replay(
    replaying: Replay,
    reader: Reader,
    ranges: Mapping[int, Range],
    start: int | None = None,
    end: int | None = None,
    corrector: Corrector | None = None,
) -> Replayed:
    """Recompute the candles of ranges of the trades topic, compare with the candles topic, publish what differs if told to.

    `start` and `end` (µs) bound the windows. With a `corrector` differing candles become revisions. Raises: Unavailable.
    """
    for message in read_ranges(reader, TRADES, ranges):
        replaying.take(message.partition(), _key(message), message.value() or b"")
    made = replaying.candles.values()
    first = min((candle.opened_at for candle in made), default=None)
    if first is None:
        return replaying.result
    known = known_candles(reader, replaying.builders, max(first, start or first))
    wanted = replaying.compare(known, start, end)
    if corrector is not None:
        replaying.result.published = corrector.publish(reader, wanted, replaying.partitions)
    return replaying.result


def _key(message: Message) -> str:
    return (message.key() or b"").decode(errors="replace")
