"""`replay` as a command: which part of the trades topic to go through, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from quantstream.core.errors import Misconfigured
from quantstream.core.moments import parse_moment
from quantstream.core.time import HOUR, MINUTE
from quantstream.kafka import Reader, partition_counts
from quantstream.kafka.ranges import NEAR, Range, offset_at, parse_offset, trade_time, whole
from quantstream.lake.store import Lake
from quantstream.messages.topics import TRADES
from quantstream.settings import Settings
from streaming.reconcile.corrections import Corrector
from streaming.reconcile.replay import Replay, Replayed, replay
from streaming.reconcile.scope import chosen, exchange_clock, rest_of

SHOWN = 20  # differences that a terminal gets to see; --json has them all
BROKER_PATIENCE = 5.0  # seconds
BEFORE = MINUTE  # read so much earlier, so that a heartbeat or trade shows that nothing of the first window is missing
AFTER = HOUR  # read on for so long: repairs come later than the trades around them


def run_replay(
    settings: Settings,
    offsets: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
    symbols: str | None = None,
    publish: bool = False,
) -> Replayed:
    """Replay what the texts of a command line ask for.

    Raises: Misconfigured, Unavailable.
    """
    if bool(offsets) == (start is not None):
        raise Misconfigured("say where to begin: --from-offset P:N (repeatable) or --from-time T, one of them")
    only = None if symbols is None else frozenset(chosen(settings, symbols))
    partition_counts(settings.kafka, BROKER_PATIENCE)
    with _reader(settings) as reader:
        corrector = Corrector(settings.kafka) if publish else None
        clock = exchange_clock(rest_of(settings), Lake(settings.lake_url, may_create=False))
        from_at, to_at = (None if text is None else parse_moment(text, clock) for text in (start, end))
        if from_at is not None and to_at is not None and to_at <= from_at:
            raise Misconfigured(f"--to {end} is not after --from-time {start}")
        ends = whole(reader, TRADES)
        ranges = _ranges(reader, ends, offsets, from_at, to_at)
        from_first = frozenset(partition for partition, (first, _) in ranges.items() if first == 0)
        replaying = Replay(settings.intervals, settings.lateness_ms * 1000, only, from_first)
        return replay(replaying, reader, ranges, from_at, to_at, corrector)


@contextmanager
def _reader(settings: Settings) -> Iterator[Reader]:
    reader = Reader(settings.kafka)
    try:
        yield reader
    finally:
        reader.close()


def _ranges(
    reader: Reader, ends: dict[int, Range], offsets: Sequence[str], start: int | None, end: int | None
) -> dict[int, Range]:
    starts = dict(parse_offset(text, ends) for text in offsets)
    if len(starts) < len(offsets):
        raise Misconfigured("--from-offset names a partition twice; give each at most once")
    if start is not None:
        starts = {place: offset_at(reader, TRADES, place, start - BEFORE, trade_time) for place in ends}
    ranges = {}
    for place, first in starts.items():
        low, high = ends[place]
        if end is not None and high - low:
            high = min(high, offset_at(reader, TRADES, place, end + AFTER, trade_time) + 2 * NEAR)
        ranges[place] = (first, max(first, high))
    return ranges


def replay_lines(replayed: Replayed, publish: bool) -> list[str]:
    """Return what a replay made, in sentences."""
    r = replayed
    lines = [
        f"{r.candles:,} candles from {r.trades:,} trades: {r.equal:,} equal to those in the candles topic, "
        f"{r.different:,} different, {r.absent:,} not in it"
    ]
    if r.partial:
        lines.append(f"{r.partial:,} began before the range and are partial: {', '.join(r.partial_windows[:6])}")
    if r.ahead:
        lines.append(f"{r.ahead:,} the live path has yet to close")
    if r.incomplete:
        lines.append(f"{r.incomplete:,} are incomplete: trades are missing in the log itself")
    if r.unreadable:
        lines.append(f"{r.unreadable:,} records nobody can read were passed over")
    for d in r.differences[:SHOWN]:
        lines.append(f"{d.symbol} {d.interval} {d.opened_at} {d.field}: topic {d.topic}, replayed {d.replayed}")
    if len(r.differences) > SHOWN:
        lines.append(f"… and {len(r.differences) - SHOWN:,} more fields; --json lists them")
    return [*lines, _end(r, publish)]


def _end(r: Replayed, publish: bool) -> str:
    off = r.different + r.absent
    if not r.candles:
        return "The range closes no window; begin earlier."
    if not off:
        return "Nothing differs." + (" Nothing was published." if publish else "")
    if publish:
        kept = (
            f", {off - r.published:,} were not: incomplete, or taken from the exchange's klines"
            if off > r.published
            else ""
        )
        return f"{r.published:,} candles published as new revisions{kept}."
    return "Something differs; --publish writes the whole ones as new revisions."
