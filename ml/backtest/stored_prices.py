"""Prices of the lake for the ledger's fills: one symbol's trades where they are all there, else its candles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.backtest.booking import Decision
from ml.backtest.candle_fills import CandleTape, fill_on_candles
from ml.backtest.fill_checks import faults, faults_on_candles
from ml.backtest.fills import Order, Position, Rules, Tape, Unfilled, Units, fill
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.moments import moment_text
from quantstream.core.time import DAY, HOUR, INTERVALS, SCORED, SCORED_LENGTH, utc
from quantstream.lake.quarantine import without
from quantstream.lake.reads import float_frame, month_bounds
from quantstream.lake.snapshots import Snapshot
from quantstream.lake.table_facts import contents

COLUMNS = ["symbol", "id", "first_trade_id", "last_trade_id", "price", "traded_at"]
BACK = features.DAY * features.STEP_US + HOUR  # of candles that a barrier is made of
ANCHOR = HOUR  # before a decision: within it the trade is sought that tells whether one is missing after it
SLACK = HOUR  # after the horizon: within it the trade is sought that closes what is open
AT_ONCE = 500_000  # trades that are read together, about
TRADES = "trades"


@dataclass(frozen=True)
class StoredPrices:
    """What the lake's tables of prices hold, by symbol and by day or month, from their logs: looked up once for all symbols."""

    there: Snapshot
    trades: Mapping[str, Mapping[str, tuple[int, int]]]
    candles: Mapping[str, Mapping[str, tuple[int, int]]]

    @classmethod
    def of(cls, there: Snapshot, has_trades: bool) -> StoredPrices:
        """Look them up. Raises: Unavailable."""
        trades = contents(there.table(TRADES)) if has_trades else {}
        return cls(there, trades, contents(there.table("candles")))


class Prices:
    """What the lake knows of the prices of one symbol."""

    def __init__(self, stored: StoredPrices, symbol: str, is_checked: bool = False) -> None:
        """With `is_checked` each fill is held against spoilt prices of before and after it: `faults` says what differed."""
        self.there, self.symbol, self.is_checked = stored.there, symbol, is_checked
        self.faults: list[str] = []
        self.days, self.months = stored.trades.get(symbol, {}), stored.candles.get(symbol, {})
        self.intervals = [name for name, length in INTERVALS.items() if length <= SCORED_LENGTH]
        self.until = self._end()

    def scored_candles(self, start: int, end: int) -> pd.DataFrame:
        """Return the candles that were scored in `[start, end)` (µs), and those before that their barriers are made of."""
        rows = self.there.candles([self.symbol], SCORED, utc(start - BACK), utc(end))
        return float_frame(rows.select(["opened_at", *features.COLUMNS]))

    def filled(self, decisions: Sequence[Decision], rules: Rules) -> Iterator[tuple[Position | Unfilled, str]]:
        """Yield for each decision, in order of time, its trade or why there is none, and what its prices are of."""
        for together in self._together(decisions):
            tape = self._tape(together[0].opened_at - ANCHOR, together[-1].ends_at + SLACK) if self.days else None
            finer = dict[str, CandleTape]()
            for one in together:
                yield self._fill(one, rules, tape, finer, (together[0].opened_at, together[-1].ends_at + 2 * SLACK))

    def _fill(
        self, one: Decision, rules: Rules, tape: Tape | None, finer: dict[str, CandleTape], span: tuple[int, int]
    ) -> tuple[Position | Unfilled, str]:
        if one.decided_at + rules.latency >= one.ends_at:
            return Unfilled.LATE, ""
        if not one.width > 0:
            return Unfilled.UNKNOWN_BARRIER, ""
        if one.ends_at > self.until:
            return Unfilled.OPEN, ""
        order = Order(one.side, one.decided_at, one.ends_at, one.width)
        found: Position | Unfilled = Unfilled.NO_PRICES if tape is None else fill(order, tape, rules)
        if tape is not None and found is not Unfilled.NO_PRICES:
            self._check(one, partial(faults, order, tape, rules))
            return found, TRADES
        is_fresh = one.ends_at + SLACK > self.until  # what closes it may be on its way: no coarser prices for now
        if tape is not None and len(tape.at) and is_fresh:
            return Unfilled.OPEN, ""
        for interval in self.intervals:
            if interval not in finer:
                finer[interval] = self._candles(interval, *span)
            found = fill_on_candles(order, finer[interval], rules)
            if found is not Unfilled.NO_PRICES:
                self._check(one, partial(faults_on_candles, order, finer[interval], rules))
                return found, f"{interval} candles"
            if len(finer[interval].at) and is_fresh:
                return Unfilled.OPEN, ""
        return found, ""

    def _check(self, one: Decision, found: Callable[[], list[str]]) -> None:
        if self.is_checked:
            self.faults += [f"{self.symbol} {moment_text(one.opened_at)}: {fault}" for fault in found()]

    def _together(self, decisions: Sequence[Decision]) -> Iterator[list[Decision]]:
        """Yield decisions whose trades are read together: as many as a day's count of trades allows."""
        part: list[Decision] = []
        for one in decisions:
            rows, _ = self.days.get(f"{utc(one.opened_at):%Y-%m-%d}", (0, 0))
            span = min(DAY, max(HOUR, DAY * AT_ONCE // max(rows, 1)))
            if part and one.opened_at - part[0].opened_at >= span:
                yield part
                part = []
            part.append(one)
        if part:
            yield part

    def _tape(self, start: int, end: int) -> Tape:
        rows = self.there.read(TRADES, [self.symbol], utc(start), utc(end), COLUMNS)
        rows = without(rows, TRADES, self.there.held(TRADES))
        return tape_of(rows)

    def _candles(self, interval: str, start: int, end: int) -> CandleTape:
        rows = self.there.candles([self.symbol], interval, utc(start), utc(end))
        return candle_tape_of(rows, INTERVALS[interval])

    def _end(self) -> int:
        """When the newest candle of the scored interval closes, µs; 0 where there is none."""
        for month in sorted(self.months, reverse=True):
            start, _ = month_bounds(month)
            rows = self.there.read("candles", [self.symbol], start, None, ["opened_at", "interval"])
            newest = pc.max(rows.filter(pc.equal(rows["interval"], SCORED))["opened_at"].cast(pa.int64())).as_py()
            if newest is not None:
                return int(newest) + SCORED_LENGTH
        return 0


def tape_of(rows: pa.Table) -> Tape:
    """Return rows of the lake's trades of one symbol as a tape.

    Before a trade none is missing where the one before it by id is there: by the trades' own ids, or by those of the single
    trades in them (aggregates of futures number only themselves without gaps).
    """
    rows = rows.sort_by([("first_trade_id", "ascending"), ("id", "ascending")])
    names = ("id", "first_trade_id", "last_trade_id", "traded_at")
    one, first, last, at = (rows[name].cast(pa.int64()).to_numpy() for name in names)
    follows = np.ones(len(at), dtype=bool)
    follows[1:] = (one[1:] == one[:-1] + 1) | (first[1:] == last[:-1] + 1)
    by_time = np.argsort(at, kind="stable")
    return Tape(at[by_time], units_of(rows["price"])[by_time], np.cumsum(~follows[by_time]))


def candle_tape_of(rows: pa.Table, length: int) -> CandleTape:
    """Return rows of the lake's candles of one symbol and interval (newest revisions) as a tape: those that are complete."""
    rows = rows.filter(rows["is_complete"])
    opened, high, low = (units_of(rows[name]) for name in ("open", "high", "low"))
    at = rows["opened_at"].cast(pa.int64()).to_numpy()
    traded = pc.greater(rows["volume"], pa.scalar(0, pa.int64()).cast(rows["volume"].type)).to_numpy()
    return CandleTape(at, opened, high, low, np.asarray(traded, dtype=bool), length)


def units_of(column: pa.ChunkedArray) -> Units:
    """Return a column of prices, decimals of eight digits, as whole 10⁻⁸: the low of its two words.

    Raises: DataRejected for a price that does not fit one word.
    """
    parts = [np.zeros((0, 2), dtype=np.int64)]
    for one in column.chunks:
        words = np.frombuffer(one.buffers()[1], dtype=np.int64).reshape(-1, 2)
        parts.append(words[one.offset : one.offset + len(one)])
    low, high = np.concatenate(parts).T
    if high.any() or (low < 0).any():
        raise DataRejected(
            "a price of more than 92 billion is beyond what the ledger counts with; leave its symbol out"
        )
    prices: Units = low
    return prices
