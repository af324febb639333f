"""The trade ids of a symbol that were seen: tells new, duplicate and missing ones apart in O(1) and bounded memory.

The exchange numbers a symbol's trades without gaps, so ids alone decide; ingest, aggregate and sink all ask this one. Of futures
it is the aggregates that are numbered so (`Trade.by_id`).
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.trade import Trade

MAX_GAPS = 64  # beyond it the oldest is forgotten, and its candles are corrected from klines


class IdStatus(Enum):
    """How a trade's ids relate to those seen before."""

    NEXT = auto()  # the one expected
    JUMP = auto()  # new, but ids before it are missing: a gap was opened
    FILLED = auto()  # fills (a part of) a gap
    DUPLICATE = auto()  # seen before
    OVERLAP = auto()  # an aggregate of seen and unseen trades: it cannot be split
    UNKNOWN = auto()  # older than what is remembered: it may have been there or not

    @property
    def is_new(self) -> bool:
        """Whether the trade counts."""
        return self in NEW

    @property
    def is_refused(self) -> bool:
        """Whether the ids cannot tell if the trade is new: it becomes a dead letter."""
        return self in REFUSED


NEW = frozenset({IdStatus.NEXT, IdStatus.JUMP, IdStatus.FILLED})
REFUSED = frozenset({IdStatus.OVERLAP, IdStatus.UNKNOWN})


class Gap(msgspec.Struct, array_like=True, frozen=True):
    """Trade ids `[first, last]` never seen, traded somewhere within `[after, before]` (µs)."""

    first: int
    last: int
    after: int
    before: int

    @property
    def missing(self) -> int:
        """How many ids."""
        return self.last - self.first + 1

    def touches(self, opened_at: int, length: int) -> bool:
        """Tell whether a missing trade may belong to the window."""
        return self.after < opened_at + length and self.before >= opened_at

    def without(self, trade: Trade) -> list[Gap]:
        """Return the gaps that remain once `trade` has filled a part of this one; ids and times rise together."""
        left = Gap(self.first, trade.first_number - 1, self.after, min(self.before, trade.traded_at))
        right = Gap(trade.last_number + 1, self.last, max(self.after, trade.traded_at), self.before)
        return [part for part in (left, right) if part.first <= part.last]


class Sequence(msgspec.Struct):
    """The ids of one symbol. What came before its first trade is a gap as well: `[0, first - 1]`."""

    last_id: int = NO_TRADE_ID
    last_at: int = 0  # event time of the trade with the highest id, µs
    open_gaps: list[Gap] = msgspec.field(name="holes", default_factory=list)
    duplicates: int = 0
    overlaps: int = 0
    gaps: int = 0
    missing: int = 0  # ids in the gaps found so far
    recovered: int = 0  # of them, filled since
    floor: int = NO_TRADE_ID  # up to this id, gaps may have been forgotten
    unknown: int = 0  # trades below it

    def take(self, trade: Trade, alive_from: int = 0) -> tuple[IdStatus, Gap | None]:
        """Note a trade; return what it is and the gap that it opened or (partly) filled.

        `alive_from` (µs) is when the feed was first known to be alive: it bounds the gap before the first trade.
        """
        first, last = trade.first_trade_id, trade.last_trade_id
        if trade.by_id:
            first = last = trade.id
        if first == self.last_id + 1:
            self.last_id, self.last_at = last, trade.traded_at
            return IdStatus.NEXT, None
        if first > self.last_id:
            return self._jump(trade, alive_from)
        for index, gap in enumerate(self.open_gaps):
            if gap.first <= first and last <= gap.last:
                self.open_gaps[index : index + 1] = gap.without(trade)
                self.recovered += last - first + 1 if gap.after else 0  # what came before the log was never lost
                return IdStatus.FILLED, gap
        if last > self.last_id or any(gap.first <= last and first <= gap.last for gap in self.open_gaps):
            self.overlaps += 1
            return IdStatus.OVERLAP, None
        if first <= self.floor:
            self.unknown += 1
            return IdStatus.UNKNOWN, None
        self.duplicates += 1
        return IdStatus.DUPLICATE, None

    @property
    def refused(self) -> int:
        """How many trades could not be told from duplicates."""
        return self.overlaps + self.unknown

    @property
    def known_from(self) -> int:
        """The first id such that it and all later ones up to the last have been seen."""
        known = self.floor
        for gap in self.open_gaps:
            known = max(known, gap.last)
        return known + 1

    def begin(self, first: int, before: int) -> None:
        """Note that the log begins with the id `first`; those it lacks were traded until `before` (µs)."""
        if first > 0:
            self.open_gaps.append(Gap(0, first - 1, 0, before))

    def may_lack(self, opened_at: int, length: int, since: int = 0) -> bool:
        """Tell whether a trade of the window may be missing, traded perhaps as late as `since` (µs) or later."""
        for gap in self.open_gaps:  # noqa: SIM110  (a generator takes four times as long; asked of every symbol at every close)
            if gap.before >= since and gap.touches(opened_at, length):
                return True
        return False

    def give_up_oldest(self, most: int = MAX_GAPS) -> Gap | None:
        """Forget the oldest gap when there are more than `most`, and return it."""
        if len(self.open_gaps) <= most:
            return None
        lost = self.open_gaps.pop(0)
        self.floor = max(self.floor, lost.last)
        return lost

    def _jump(self, trade: Trade, alive_from: int) -> tuple[IdStatus, Gap | None]:
        before, after = self.last_id, min(self.last_at, trade.traded_at)
        self.last_id, self.last_at = trade.last_number, trade.traded_at
        if before == NO_TRADE_ID:
            self.begin(trade.first_number, min(alive_from or trade.traded_at, trade.traded_at))
            return IdStatus.NEXT, None
        gap = Gap(before + 1, trade.first_number - 1, after, trade.traded_at)
        self.open_gaps.append(gap)
        self.gaps += 1
        self.missing += gap.missing
        return IdStatus.JUMP, gap
