"""What other symbols did at the same time: whether a jump is the market's or a symbol's own, and whether its clock is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation.expected.decimals import floats
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED
from quantstream.lake.reads import NEWEST, newest_revisions
from quantstream.lake.store import Lake

REFERENCES = 16  # symbols that stand for the market: its median is as good as that of thousands
FEWEST = 3  # others at a time: of two the median would follow a fault of one half-way
COLUMNS = (*NEWEST, "interval", "close")
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Market:
    """Log returns of some symbols: `returns` is (windows, symbols), NaN where one has no candle or none just before."""

    symbols: tuple[str, ...]
    opened_at: Times
    returns: Floats

    def moves(self, symbol: str, opened_at: Times) -> Floats:
        """Return the median log return of the others at some times, NaN where too few are known."""
        others = self.returns[:, [one != symbol for one in self.symbols]]
        found = np.full(len(opened_at), np.nan)
        if others.shape[1] < FEWEST or not len(self.opened_at):
            return found
        known = np.isfinite(others).sum(axis=1) >= FEWEST
        median = np.full(len(others), np.nan)
        median[known] = np.nanmedian(others[known], axis=1)
        place = np.searchsorted(self.opened_at, opened_at).clip(max=len(self.opened_at) - 1)
        is_there = self.opened_at[place] == opened_at
        found[is_there] = median[place[is_there]]
        return found


NO_MARKET = Market((), np.zeros(0, np.int64), np.zeros((0, 0)))


def market_of(closes: Mapping[str, tuple[Times, Floats]], length: int) -> Market:
    """Return the market of some symbols' closes by opening time (µs), each in order; `length` of a candle in µs."""
    if not closes:
        return NO_MARKET
    times = np.unique(np.concatenate([at for at, _ in closes.values()]))
    returns = np.full((len(times), len(closes)), np.nan)
    for place, (at, close) in enumerate(closes.values()):
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.diff(np.log(np.where(close > 0, close, np.nan)))
        follows = np.diff(at) == length
        returns[np.searchsorted(times, at[1:][follows]), place] = moved[follows]
    return Market(tuple(closes), times, returns)


def references(symbols: Sequence[str]) -> Sequence[str]:
    """Return the symbols that stand for the market."""
    return symbols[:: max(1, -(-len(symbols) // REFERENCES))]


def read_market(
    lake: Lake, symbols: Sequence[str], length: int, start: datetime | None = None, end: datetime | None = None
) -> Market:
    """Return the market that some symbols' stored candles show, an even choice of at most `REFERENCES` of them.

    Quarantined days are in it: the median of several does not follow one. Raises: Unavailable.
    """
    closes = {}
    for symbol in references(symbols):
        rows = lake.read("candles", [symbol], start, end, columns=COLUMNS)
        rows = newest_revisions(rows.filter(pc.field("interval") == SCORED))
        if rows.num_rows:
            closes[symbol] = rows["opened_at"].cast(pa.int64()).to_numpy(), floats(rows["close"])
    return market_of(closes, length)
