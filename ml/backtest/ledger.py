"""The ledger: a row for each Buy and Sell of the lake's scores, with what acting on it would have earned at the user's costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from ml.backtest import booking
from ml.backtest.booking import Missed, Row, Trade
from ml.backtest.costs import TAKER, Costs
from ml.backtest.fills import USUAL, Position, Rules
from ml.backtest.stored_prices import TRADES, Prices, StoredPrices
from ml.backtest.stored_scores import HORIZON, Choice, Clock, Counted, decisions, widths_of
from quantstream.core.decimals import UNIT
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import micros
from quantstream.lake.reads import month_bounds
from quantstream.lake.schemas import SHADOW_SCORES, expect_columns
from quantstream.lake.snapshots import Snapshot, snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

NOTIONAL = 1_000 * UNIT  # of a trade at its entry, in 10⁻⁸ of the quote currency


@dataclass(frozen=True)
class Asked:
    """What a ledger is made of: whose scores of candles opened in `[start, end)`, at which costs, filled by which rules."""

    symbols: Sequence[str] | None = None
    start: datetime | None = None
    end: datetime | None = None
    version: str | None = None  # of the signal; a challenger's are in the shadow's table
    costs: Costs = TAKER
    rules: Rules = USUAL
    notional: int = NOTIONAL
    by_probability: bool = False  # act where the probabilities promise more than a round trip costs
    clock: Clock = "score"
    is_checked: bool = False  # hold each fill against spoilt prices of before and after it


@dataclass
class Ledger:
    """Its rows, in order of symbol and time, and what became of all scores that were read."""

    asked: Asked
    rows: list[Row] = field(default_factory=list)
    counted: Counted = field(default_factory=Counted)
    faults: list[str] = field(default_factory=list)  # of fills that knew what they could not, where that was checked

    @cached_property
    def trades(self) -> list[Trade]:
        """The rows that were filled and are over."""
        return [row for row in self.rows if isinstance(row, Trade)]

    @property
    def missed(self) -> Counter[str]:
        """Return how many actions have no trade, by why."""
        return Counter(str(row.why) for row in self.rows if isinstance(row, Missed))

    @property
    def prices(self) -> Counter[str]:
        """Return how many trades were filled by what: trades, or candles."""
        return Counter(trade.prices for trade in self.trades)


def ledger_of(lake: Lake, asked: Asked) -> Ledger:
    """Return the ledger of a lake as it is now.

    Raises: Misconfigured for what nobody can mean and for tables of another version; DataRejected when nothing of what is
    asked for is there; Unavailable.
    """
    check(asked)
    tables = [name for name in _tables(asked) if lake.has(name)]
    has_trades = lake.has(TRADES)
    if not tables:
        raise Misconfigured(
            f"there are no scores at {lake.url}; start with `quantstream up`, which trains models and scores"
        )
    names = [*tables, "candles", *([TRADES] if has_trades else [])]
    there = snapshot(lake, names)
    for name in names:
        expect_columns(name, there.table(name))
    found = Ledger(asked)
    threshold = float(2 * asked.costs.side_bp / booking.BP) if asked.by_probability else None
    choice = Choice(tables, asked.version, threshold, asked.clock)
    stored = StoredPrices.of(there, has_trades)
    for symbol, months in _scored(there, tables, asked.symbols):
        prices = Prices(stored, symbol, asked.is_checked)
        for month in months:
            found.rows += _month(prices, month, asked, choice, found.counted)
        found.faults += prices.faults
    if not found.counted.scores:
        raise DataRejected(_nothing(found, lake.url))
    return found


def check(asked: Asked) -> None:
    """Raise Misconfigured for what nobody can mean."""
    if asked.start is not None and asked.end is not None and asked.start >= asked.end:
        raise Misconfigured(f"--to must be later than --from, and {asked.end:%Y-%m-%dT%H:%M} is not")
    if asked.notional <= 0:
        raise Misconfigured("--notional is how much each trade is worth; write a number above 0")
    if min(asked.rules) < 0:
        raise Misconfigured("a latency below zero would fill an order before it was sent; write one like 1s")
    if asked.rules.latency >= HORIZON:
        raise Misconfigured("a latency of an hour or more is longer than what a score speaks of; write one like 1s")


def _tables(asked: Asked) -> tuple[str, ...]:
    return ("scores",) if asked.version is None else ("scores", SHADOW_SCORES)


def _scored(there: Snapshot, tables: Sequence[str], symbols: Sequence[str] | None) -> Iterator[tuple[str, list[str]]]:
    months: dict[str, set[str]] = {}
    for name in tables:
        for symbol, parts in contents(there.table(name)).items():
            months.setdefault(symbol, set()).update(parts)
    if absent := sorted(set(symbols or ()) - set(months)):
        known = ", ".join(sorted(months)[:5]) or "none at all"
        raise DataRejected(f"the lake has no scores of {', '.join(absent[:5])}; it has scores of {known}")
    for symbol in sorted(months if symbols is None else set(symbols)):
        yield symbol, sorted(months[symbol])


def _month(prices: Prices, month: str, asked: Asked, choice: Choice, counted: Counted) -> Iterator[Row]:
    start, end = month_bounds(month)
    period = max(start, asked.start or start), min(end, asked.end or end)
    if period[0] >= period[1]:
        return
    span = micros(period[0]), micros(period[1])
    acted = decisions(
        prices.there, prices.symbol, period, choice, lambda: widths_of(prices.scored_candles(*span)), counted
    )
    for one, (found, of) in zip(acted, prices.filled(acted, asked.rules), strict=True):
        if isinstance(found, Position):
            yield booking.book(one, found, of, asked.costs, asked.notional)
        else:
            yield Missed(one, found)


def _nothing(found: Ledger, url: str) -> str:
    version = f" of version {found.asked.version}" if found.asked.version is not None else ""
    why = (
        f"{found.counted.silent:,} scores there say neither Buy, Hold nor Sell"
        if found.counted.silent
        else "none was made"
    )
    return f"the lake at {url} has no signal{version} in what was asked for ({why}); widen --from and --to, or wait for a model"
