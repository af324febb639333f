"""Klines equal the trades they are made of, and come in the exchange's own order, number and shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest

from quantstream.binance.wire import parse_trade, split_rows
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import units_text
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.formats.spot_wire import kline_rows, trade_rows
from streaming.exchange.market.market_klines import (
    DAY,
    INTERVALS,
    klines,
    next_window,
    window_of,
    windows_back,
    windows_between,
)
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.market.tape import exact_sums

FIELDS = (
    "opened_at", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip


def trades_of(market: SyntheticMarket, symbol: str, start: int, end: int) -> Iterator[Trade]:
    for span in trades_between(market, symbol, start, end):
        for row in split_rows(trade_rows([span], 1).encode()):
            yield parse_trade(row, symbol)


def fields(candle: Candle) -> tuple[Any, ...]:
    return tuple(getattr(candle, name) for name in FIELDS)


@pytest.mark.parametrize("symbol", ["BNBUSDT", "XRPUSDT"])
def test_a_day_of_klines_equals_what_the_candle_builder_makes_of_its_trades(
    market: SyntheticMarket, symbol: str
) -> None:
    start = market.begins_at + DAY
    builder = CandleBuilder(symbol, ["5m"], lateness=0)
    built = [candle for trade in trades_of(market, symbol, start - DAY, start + DAY) for candle in builder.add(trade)]
    built += builder.heartbeat(start + DAY)
    wanted = [fields(candle) for candle in built if candle.opened_at >= start]
    windows = windows_between("5m", start, start + DAY, 1_000)
    rows = klines(market, symbol, "5m", windows, market.starts_at)
    assert len(rows) == 288
    assert [(row.opened_at, *row[2:6], row.volume, row.quote_volume * 10**8, row.trade_count, row.taker_buy_volume,
             row.taker_buy_quote_volume * 10**8) for row in rows] == wanted  # fmt: skip
    assert symbol == "BNBUSDT" or any(row.trade_count == 0 for row in rows)


@pytest.mark.parametrize("interval", list(INTERVALS))
def test_every_interval_is_the_sum_of_its_minutes(market: SyntheticMarket, interval: str) -> None:
    now = market.starts_at + 90 * MINUTE + 17 * SECOND
    windows = windows_back(interval, now, 5, market.begins_at)
    minutes = klines(market, "XRPUSDT", "1m", windows_between("1m", market.begins_at, now, 10_000), now)
    for kline in klines(market, "XRPUSDT", interval, windows, now):
        if not kline.trade_count:
            continue
        inside = [m for m in minutes if kline.opened_at <= m.opened_at < kline.closed_at and m.trade_count]
        assert (kline.open, kline.close) == (inside[0].open, inside[-1].close)
        assert (kline.high, kline.low) == (max(m.high for m in inside), min(m.low for m in inside))
        assert kline[6:11] == tuple(sum(column) for column in zip(*(m[6:11] for m in inside), strict=True))


def test_weeks_open_on_mondays_and_months_on_their_first_day() -> None:
    thursday = 1_763_600_000 * SECOND  # 2025-11-20
    assert window_of("1w", thursday) == 1_763_337_600 * SECOND  # 2025-11-17
    assert window_of("1M", thursday) == 1_761_955_200 * SECOND  # 2025-11-01
    assert next_window("1M", 1_761_955_200 * SECOND) == 1_764_547_200 * SECOND  # 2025-12-01


def test_an_open_kline_holds_only_what_traded_before_now(market: SyntheticMarket) -> None:
    now = market.starts_at - 17 * SECOND
    opened_at = window_of("5m", now)
    [kline] = klines(market, "BTCUSDT", "5m", [opened_at], now)
    seen = list(trades_of(market, "BTCUSDT", opened_at, now))
    assert (kline.trade_count, kline.close, kline.last_id) == (len(seen), seen[-1].price, seen[-1].id)
    assert kline.quote_volume * 10**8 == sum(trade.price * trade.quantity for trade in seen)


def test_a_quiet_kline_is_flat_at_the_last_price(market: SyntheticMarket) -> None:
    windows = windows_between("5m", market.begins_at, market.starts_at, 10_000)
    rows = klines(market, "XRPUSDT", "5m", windows, market.starts_at)
    quiet = [(before, row) for before, row in pairwise(rows) if row.trade_count == 0]
    assert quiet
    for before, row in quiet:
        assert row[2:] == (before.close,) * 4 + (0, 0, 0, 0, 0, -1, -1)
        [alone] = klines(market, "XRPUSDT", "5m", [row.opened_at], market.starts_at)
        assert alone == row


def test_no_kline_comes_before_the_first_trade(market: SyntheticMarket) -> None:
    first = next(trades_of(market, "XRPUSDT", market.begins_at, market.starts_at))
    windows = windows_between("1m", market.begins_at, market.begins_at + 60 * MINUTE, 60)
    rows = klines(market, "XRPUSDT", "1m", windows, market.starts_at)
    assert rows[0].opened_at == first.traded_at - first.traded_at % MINUTE


def test_sums_beyond_63_bits_stay_exact() -> None:
    values = np.array([2**62, 2**62, 5, 7], dtype=np.int64)
    assert exact_sums(values, np.array([0, 3])).tolist() == [2**63 + 5, 7]


def test_a_row_has_the_exchanges_twelve_columns(market: SyntheticMarket) -> None:
    [kline] = klines(market, "BTCUSDT", "5m", [market.begins_at], market.starts_at)
    [row] = json.loads(kline_rows([kline], 1000))
    assert row == [
        market.begins_at // 1000,
        *(units_text(value) for value in (kline.open, kline.high, kline.low, kline.close, kline.volume)),
        (market.begins_at + 5 * MINUTE) // 1000 - 1,
        units_text(kline.quote_volume),
        kline.trade_count,
        units_text(kline.taker_buy_volume),
        units_text(kline.taker_buy_quote_volume),
        "0",
    ]


def test_rows_are_grouped_by_window_in_order(market: SyntheticMarket) -> None:
    windows = windows_between("1h", market.begins_at, market.starts_at, 1_000)
    rows = klines(market, "BTCUSDT", "1h", windows, market.starts_at)
    assert [row.opened_at for row in rows] == windows
    assert [key for key, _ in groupby(row.first_id for row in rows)] == sorted({row.first_id for row in rows})
    assert all(row.last_id + 1 == after.first_id for row, after in pairwise(rows))
