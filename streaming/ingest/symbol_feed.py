"""The state of one symbol in ingest: its ids, the trades that wait for a gap fill, those around its gaps, and its silence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from quantstream.binance.wire import LogPosition
from quantstream.core.accounts import Account
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import MAX_GAPS, Gap, IdStatus
from quantstream.core.trade_ids import Sequence as TradeSequence
from streaming.ingest.overlaps import alike

LEARNING = 8  # looks over which the usual spacing is learnt
UNUSUAL = 8  # times the usual spacing: as long without a trade is one silence in 3,000 where trades come at random
LEAST_PATIENCE, MOST_PATIENCE = 5 * SECOND, 20 * SECOND  # so that a mute stream is found within a minute of the market
MAX_RUN = 1_000  # trades of one order at one price that are remembered: more are hardly ever seen
Pending = tuple[Trade, bytes, int]  # and when it was received, µs


@dataclass
class Silence:
    """What is known of a symbol that brings nothing: until when that was proven to be all there is. Times by the exchange, µs."""

    proven_at: int = 0  # until then the log has all, as REST says
    newest_single: int = NO_TRADE_ID  # the single trade that the log ends with, where the log is numbered by aggregates
    dismissed: int = NO_TRADE_ID  # single trades up to it are known to be none of the log's
    suspect_id: int = NO_TRADE_ID  # a newer trade than any that the stream has brought
    suspected: tuple[int, float] = (0, 0.0)  # with which last id, and when (monotonic, s)
    mute_since: int = 0  # 0: it is not
    is_idle: bool = False  # it has not traded for a day
    next_fill: float = 0.0  # when REST may be asked to fill in for it again (monotonic, s)
    was_heard: bool = False  # its stream has brought something since it was found mute
    usual: float = 0.0  # µs from one trade to the next, lately
    foreseen: tuple[int, int, int] | None = (
        None  # where a log without trades may begin: trade, aggregate, asked at (µs)
    )
    looked: tuple[int, int] = (NO_TRADE_ID, 0)  # id and time of the newest trade at the last look

    def learn(self, last_id: int, last_at: int) -> None:
        """Note the newest trade, now and then: how far apart trades usually are follows from it."""
        before_id, before_at = self.looked
        if last_id > before_id:
            self.looked, self.is_idle = (last_id, last_at), False
            if before_at and last_at >= before_at:
                spacing = (last_at - before_at) / (last_id - before_id)
                self.usual += (spacing - self.usual) / LEARNING if self.usual else spacing

    def patience(self) -> float:
        """Return after how long a silence (µs) is longer than usual."""
        return min(max(UNUSUAL * self.usual, LEAST_PATIENCE), MOST_PATIENCE)


@dataclass
class SymbolFeed:
    """One symbol. `pending` is None while it is live; during a gap fill it holds the newer trades that wait."""

    symbol: str
    by_aggregate: bool = False  # the stream numbers aggregates, not single trades
    by_id: bool = False  # and their single trades' ids skip: `ids` are those of the aggregates
    ids: TradeSequence = field(default_factory=TradeSequence)
    next_id: int = NO_TRADE_ID  # the id to ask the exchange for next, in the stream's own numbering
    stood_at: int = NO_TRADE_ID  # the id that the log stood at before any trade of it was seen
    starts_at: int = 0  # µs: if the next trade follows, a new log has all since then, and its first heartbeat says so
    empty_since: int = 0  # µs: it had never traded then
    pending: deque[Pending] | None = None
    is_whole: bool = False  # known to have all since this connection was opened, and all before it that can be had
    was_known: bool = False  # the exchange, or the log, has known the symbol
    set_aside: str = ""  # why the exchange knows it no more
    is_up: bool = False  # its connection is
    silence: Silence = field(default_factory=Silence)
    last_heartbeat: int = 0  # µs
    account: Account = field(default_factory=Account)  # of the trades received since the start, live and over REST
    keeps_runs: bool = False  # remember the trades around gaps: needed where only aggregates fill them
    run: list[Trade] = field(default_factory=list)  # newest trades in the log that may be of one order
    before: dict[int, tuple[Trade, ...]] = field(default_factory=dict)  # by a gap's first id: the run that ends at it
    after: dict[int, list[Trade]] = field(default_factory=dict)  # by a gap's last id: the run that begins after it
    _growing: list[Trade] | None = None

    @property
    def has_history(self) -> bool:
        """Whether the log holds any trade of it, or is to begin at a known one."""
        return self.ids.last_id != NO_TRADE_ID

    @property
    def has_traded(self) -> bool:
        """Whether a trade has come since the log was taken up where it stood: only then is a candle sure to follow."""
        return self.ids.last_id > self.stood_at

    @property
    def open_gaps(self) -> list[Gap]:
        """What is missing within the log; what came before its first trade was never a part of it."""
        return [gap for gap in self.ids.open_gaps if gap.after]

    def balance(self) -> Account:
        """Return the account as it stands now; what waits is counted where it waits."""
        self.account.waiting = len(self.pending or ())
        return self.account

    def note(self, trade: Trade) -> tuple[IdStatus, Gap | None]:
        """Take a trade into account that is, or is about to be, in the log; see `quantstream.core.trade_ids`."""
        status, gap = self.ids.take(trade)
        if status is IdStatus.NEXT or status is IdStatus.JUMP:
            self.next_id = (trade.id if self.by_aggregate else trade.last_trade_id) + 1
            if trade.by_id:
                self.by_id, self.silence.newest_single = True, trade.last_trade_id
        if self.keeps_runs:
            self._remember(status, gap, trade)
        return status, gap

    def begin(self, trade_id: int, aggregate_id: int, at: int) -> None:
        """Begin a new log with a trade and the aggregate that starts with it; all before `at` (µs) is none of it."""
        self.next_id = aggregate_id if self.by_aggregate else trade_id
        self.ids.last_id, self.ids.last_at = trade_id - 1, at
        self.stood_at = trade_id - 1

    def recall(self, item: Trade | LogPosition) -> None:
        """Take into account what the log's end says, oldest first: a trade, or where the symbol stood at a heartbeat."""
        self.was_known = True
        if isinstance(item, Trade):
            self.note(item)
        elif item.last >= self.ids.last_id:
            if not self.has_traded:
                self.stood_at = item.last
            self.ids.last_id, self.ids.last_at, self.next_id = item.last, item.last_at, item.next
            self.ids.open_gaps = item.gaps

    def follows(self, trade: Trade) -> bool:
        """Tell whether nothing is missing between the log and a trade."""
        return self.ids.last_id == NO_TRADE_ID or trade.first_number <= self.ids.last_id + 1

    @property
    def is_begun(self) -> bool:
        """Whether it is known where its log begins: with what it has, or with what comes next."""
        return self.has_history or self.silence.foreseen is not None or self.silence.proven_at > 0

    @property
    def newest_single(self) -> int:
        """The id of the newest single trade that the log has, or is known not to want."""
        return max(
            self.silence.newest_single if self.silence.newest_single > 0 else self.ids.last_id, self.silence.dismissed
        )

    def sayable(self, at: int, grid: int) -> int:
        """Return up to which time before `at` (µs) a heartbeat may say that all is in the log; the ends of windows lie on `grid`.

        Past the end of a window only what is proven: by a later trade, or by REST.
        """
        if self.silence.mute_since:
            return min(at, self.silence.proven_at)
        known = max(self.ids.last_at, self.silence.proven_at)
        return min(at, known - known % grid + grid - 1)

    def _remember(self, status: IdStatus, gap: Gap | None, trade: Trade) -> None:
        if status is IdStatus.NEXT:
            self.run = [*self.run[-MAX_RUN:], trade] if self.run and alike(self.run[-1], trade) else [trade]
            if self._growing is not None:
                if alike(self._growing[-1], trade) and len(self._growing) < MAX_RUN:
                    self._growing.append(trade)
                else:
                    self._growing = None
        elif status is IdStatus.JUMP and gap is not None:
            self.before[gap.first] = tuple(self.run)
            self.run = [trade]
            self.after[gap.last] = self._growing = [trade]
            self._forget_closed()
        elif status is IdStatus.FILLED and gap is not None:
            self.after[trade.first_trade_id - 1] = [trade]
            self.before[trade.last_trade_id + 1] = (trade,)

    def _forget_closed(self) -> None:
        if max(len(self.before), len(self.after)) > 2 * MAX_GAPS:
            gaps = self.open_gaps
            firsts, lasts = {gap.first for gap in gaps}, {gap.last for gap in gaps}
            self.before = {first: run for first, run in self.before.items() if first in firsts}
            self.after = {last: run for last, run in self.after.items() if last in lasts}
