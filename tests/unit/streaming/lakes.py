"""A lake as the live path leaves it and the exchange that it came from, small enough to plant faults in by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import QUOTE_DECIMALS, UNIT, units_decimal, units_text
from quantstream.core.errors import Unavailable
from quantstream.core.time import INTERVALS, MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.lake.schemas import SCHEMAS, candle_rows
from quantstream.lake.store import Lake

STEP = 5 * MINUTE
MIDNIGHT = 1_723_161_600 * SECOND  # 2024-08-09
T0 = MIDNIGHT - 3 * STEP  # the range crosses a midnight: two partitions, two days of the proof
SYMBOL = "BTCUSDT"


class FakeRest(BlockingRest):
    """Answers klines from candles; `is_down` refuses everything."""

    def __init__(self, candles: Iterable[Candle], now: int, is_down: bool = False) -> None:
        super().__init__("http://exchange")
        self.candles, self.now, self.is_down = {(c.symbol, c.interval, c.opened_at): c for c in candles}, now, is_down
        self.asked: list[str] = []

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        self.asked.append(path)
        if self.is_down:
            raise Unavailable("the exchange at http://exchange did not answer")
        if path == "/time":
            return {"serverTime": self.now // 1000}
        assert query is not None
        opens = range(query["startTime"] * 1000, query["endTime"] * 1000 + 1, INTERVALS[query["interval"]])
        keys = [(query["symbol"], query["interval"], at) for at in opens]
        return [kline_row(self.candles[key]) for key in keys if key in self.candles]


def kline_row(candle: Candle) -> list[Any]:
    """Return a candle as the exchange's twelve columns."""
    numbers = [units_text(getattr(candle, name)) for name in ("open", "high", "low", "close", "volume")]
    quotes = [units_text(q, QUOTE_DECIMALS)[:-8] for q in (candle.quote_volume, candle.taker_buy_quote_volume)]
    times = (candle.opened_at // 1000, candle.closed_at // 1000 - 1)
    tail = [candle.trade_count, units_text(candle.taker_buy_volume), quotes[1], "0"]
    return [times[0], *numbers, times[1], quotes[0], *tail]


def walk(count: int = 8 * 60, quiet: range = range(150, 290), symbol: str = SYMBOL) -> list[Trade]:
    """Return a trade every five seconds from a minute into the window at `T0`; none in `quiet`: two windows stay empty."""
    times = [T0 + MINUTE + 5 * SECOND * step for step in range(count) if step not in quiet]
    return [
        Trade(symbol, 1000 + n, 1000 + n, 1000 + n, (100 + n % 13) * UNIT, (1 + n % 5) * UNIT // 100, at, n % 3 == 0)
        for n, at in enumerate(times)
    ]


def live_candles(trades: list[Trade], intervals: tuple[str, ...] = ("5m",)) -> list[Candle]:
    """Return what the aggregator makes of trades when the feed was alive before the first and is after the last."""
    builders: dict[str, CandleBuilder] = {}
    made = []
    for trade in trades:
        if trade.symbol not in builders:
            builders[trade.symbol] = CandleBuilder(trade.symbol, intervals)
            builders[trade.symbol].heartbeat(T0 - 1)
        made += builders[trade.symbol].add(trade)
    for builder in builders.values():
        made += builder.heartbeat(max(T0 + 12 * STEP, trades[-1].traded_at) + SECOND)
    return made


def trade_rows(trades: list[Trade]) -> pa.Table:
    """Return trades as rows of the lake's table."""
    rows = [
        {
            **msgspec.structs.asdict(trade),
            "price": units_decimal(trade.price),
            "quantity": units_decimal(trade.quantity),
            "received_at": trade.traded_at,
            "origin": "live",
        }
        for trade in trades
    ]
    columns = {}
    for field in SCHEMAS["trades"]:
        if field.name != "date":
            values = [row[field.name] for row in rows]
            is_time = pa.types.is_timestamp(field.type)
            columns[field.name] = (
                pa.array(values, pa.int64()).cast(field.type) if is_time else pa.array(values, field.type)
            )
    return pa.table(columns)


def score_rows(candles: Iterable[Candle]) -> pa.Table:
    """Return one score for each candle as rows of the lake's table."""
    kept = [candle for candle in candles if candle.interval == "5m"]
    columns: dict[str, Any] = {}
    for field in SCHEMAS["scores"]:
        if field.name == "date":
            continue
        if field.name in ("symbol", "interval", "revision"):
            columns[field.name] = pa.array([getattr(candle, field.name) for candle in kept], field.type)
        elif pa.types.is_timestamp(field.type):
            columns[field.name] = pa.array([candle.opened_at for candle in kept], pa.int64()).cast(field.type)
        else:
            columns[field.name] = pa.nulls(len(kept), field.type)
    return pa.table(columns)


def fill(lake: Lake, trades: list[Trade], candles: list[Candle], scored: list[Candle] | None = None) -> None:
    """Write a lake: trades, candles, and a score for each of `scored` (all candles)."""
    lake.append("trades", trade_rows(trades))
    lake.append("candles", candle_rows(candles))
    lake.append("scores", score_rows(candles if scored is None else scored))
