"""Value at risk from the lake: of symbols, and of positions, as of the newest close that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from ml.value_at_risk.book_risk import BookRisk, PositionRisk, book_risk, position_risk
from ml.value_at_risk.positions import Position
from ml.value_at_risk.quote_currency import quote_of
from ml.value_at_risk.symbol_risk import LEAD, SymbolRisk, day_of, symbol_risk
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY, HOUR, SCORED, SCORED_LENGTH, micros, utc
from quantstream.lake.instruments import history
from quantstream.lake.reads import month_bounds
from quantstream.lake.snapshots import Snapshot, snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

LATE = HOUR  # µs: a symbol whose newest candle is so much older than the newest of all is left behind


@dataclass(frozen=True)
class Asked:
    """The time of the market that risk is told at (µs; None: the newest close), and what was known by then (our clock)."""

    at: int | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class Told:
    """What could be told of some symbols at one close (µs), and of each other why it could not."""

    at: int
    found: Mapping[str, SymbolRisk]
    troubles: Mapping[str, str]


def risk_of_symbols(lake: Lake, symbols: Sequence[str], asked: Asked = Asked()) -> Told:
    """Return the risk of some symbols, all at the same close.

    Raises: DataRejected when the lake has candles of none of them, Unavailable.
    """
    frames = _frames(lake, symbols, asked)
    ends = {symbol: _end(frame) for symbol, frame in frames.items() if len(frame)}
    if not ends:
        raise DataRejected(f"the lake has no candles of {', '.join(symbols)}{_when(asked)}; is the name right?")
    newest = max(ends.values())
    at = min(end for end in ends.values() if newest - end <= LATE)
    found, troubles = {}, {}
    for symbol in symbols:
        try:
            found[symbol] = _risk(symbol, frames[symbol], ends, at)
        except DataRejected as error:
            troubles[symbol] = str(error)
    return Told(at, found, troubles)


def risk_of_positions(lake: Lake, positions: Sequence[Position], asked: Asked = Asked()) -> BookRisk:
    """Return what positions may lose, each and together. Raises: DataRejected, Unavailable as `risk_of_symbols`."""
    told = risk_of_symbols(lake, [one.symbol for one in positions], asked)
    listed = {symbol: state.quote for symbol, state in history(lake).at(told.at).items() if state.quote}
    lines = [_line(one, told, listed) for one in positions]
    return book_risk(told.at, lines, told.found)


def _line(position: Position, told: Told, listed: Mapping[str, str]) -> PositionRisk:
    try:
        quote = quote_of(position.symbol, listed)
    except DataRejected as error:
        return PositionRisk(position, "", trouble=str(error))
    if trouble := told.troubles.get(position.symbol):
        return PositionRisk(position, quote, trouble=trouble)
    return position_risk(position, quote, told.found[position.symbol])


def _frames(lake: Lake, symbols: Sequence[str], asked: Asked) -> dict[str, pd.DataFrame]:
    if not lake.has("candles"):
        return {symbol: pd.DataFrame() for symbol in symbols}
    there = snapshot(lake, ["candles"])
    months = {symbol: max(stored) for symbol, stored in contents(there.table("candles")).items()}
    return {symbol: read_candles(there, symbol, months.get(symbol, ""), asked) for symbol in symbols}


def read_candles(lake: Snapshot, symbol: str, newest_month: str, asked: Asked = Asked()) -> pd.DataFrame:
    """Return the candles that the risk of a symbol is made of, at a time or in its newest month (2025-11); none without any.

    Raises: Unavailable, DataRejected.
    """
    if not newest_month:
        return pd.DataFrame()
    begins, ends = (micros(edge) for edge in month_bounds(newest_month))
    if asked.at is not None:
        begins = ends = asked.at - asked.at % SCORED_LENGTH
    start = utc(day_of(begins) - LEAD - DAY)
    return lake.candle_frame([symbol], SCORED, start, utc(ends), as_of=asked.as_of)


def _end(frame: pd.DataFrame) -> int:
    return int(features.opened_at_us(frame)[-1]) + SCORED_LENGTH


def _risk(symbol: str, frame: pd.DataFrame, ends: Mapping[str, int], at: int) -> SymbolRisk:
    if symbol not in ends:
        raise DataRejected(f"{symbol}: the lake has no candles of it; is the name right, and is it followed?")
    if ends[symbol] < at:
        raise DataRejected(
            f"{symbol}: its newest candle closed at {utc(ends[symbol]):%Y-%m-%d %H:%M} UTC, {_span(at - ends[symbol])} "
            "before the others': no value at risk"
        )
    return symbol_risk(symbol, frame[features.opened_at_us(frame) < at], at)


def _span(micros_: int) -> str:
    hours = micros_ / HOUR
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def _when(asked: Asked) -> str:
    return f" before {utc(asked.at):%Y-%m-%d %H:%M} UTC" if asked.at is not None else ""
