"""Tickers, averages and klines are what a plain sum over the same trades gives, over any window and in any time zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantstream.core.decimals import units_text
from quantstream.core.time import DAY, MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.error_answers import NotTraded, Refused
from streaming.exchange.market.market_klines import INTERVALS, klines, window_of, windows_back, windows_between
from streaming.exchange.market.protocol import Market, trades_between
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.statistics import (
    average_window,
    previous_close,
    rolling_day,
    rolling_window,
    statistics,
    trading_day,
)
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.rest import tickers

START = 1_723_161_255 * SECOND
CENT = Decimal("0.00000001")
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Plain(NamedTuple):
    """One trade, by the exchange's own text."""

    id: int
    price: Decimal
    quantity: Decimal
    at_ms: int


def plain_trades(market: Market, symbol: str, until: int) -> list[Plain]:
    found = []
    for tape, start, stop in trades_between(market, symbol, market.begins_at, until):
        for row in range(start, stop):
            found.append(
                Plain(
                    int(tape.ids[row]),
                    Decimal(int(tape.price[row])) * CENT,
                    Decimal(int(tape.quantity[row])) * CENT,
                    int(tape.at[row]) // 1000,
                )
            )
    return found


def plain_row(trades: Iterable[Plain]) -> dict[str, Any]:
    """Add up trades one by one, as a person with a pencil would."""
    inside = list(trades)
    volume = sum((trade.quantity for trade in inside), Decimal(0))
    quote = sum((trade.price * trade.quantity for trade in inside), Decimal(0))
    change = inside[-1].price - inside[0].price
    percent = (100 * change / inside[0].price).quantize(Decimal("0.001"), ROUND_HALF_UP)
    return {
        "priceChange": f"{change:.8f}",
        "priceChangePercent": f"{percent}" if percent else "0.000",
        "weightedAvgPrice": f"{(quote / volume).quantize(CENT, ROUND_HALF_UP)}",
        "openPrice": f"{inside[0].price:.8f}",
        "highPrice": f"{max(trade.price for trade in inside):.8f}",
        "lowPrice": f"{min(trade.price for trade in inside):.8f}",
        "lastPrice": f"{inside[-1].price:.8f}",
        "volume": f"{volume:.8f}",
        "quoteVolume": f"{quote.quantize(CENT)}",
        "firstId": inside[0].id,
        "lastId": inside[-1].id,
        "count": len(inside),
    }


@st.composite
def markets(draw: st.DrawFn) -> RecordedMarket:
    """A few trades at odd times, many of them in one millisecond, on the edges of minutes, or days apart."""
    steps = draw(
        st.lists(
            st.sampled_from([0, 1, 400, 999, 1000, 999_999, SECOND, MINUTE - 1, MINUTE, 61 * MINUTE, DAY // 2]),
            min_size=1,
            max_size=20,
        )
    )
    at, trades = START + draw(st.integers(0, 2 * MINUTE)), []
    for number, step in enumerate(steps):
        at += step
        price, quantity = draw(st.integers(1, 40)) * 10**6, draw(st.integers(1, 30)) * 10**4
        trades.append(Trade("BTCUSDT", number, number, number, price, quantity, at, draw(st.booleans())))
    return RecordedMarket(trades)


def inside(trades: list[Plain], row: dict[str, Any], now: int) -> list[Plain]:
    """Return the trades between a row's own two times that whole milliseconds before now have seen."""
    closed = min(row["closeTime"], now // 1000 - 1)
    return [trade for trade in trades if row["openTime"] <= trade.at_ms <= closed]


def assert_equal(trades: list[Plain], row: dict[str, Any], now: int) -> None:
    found = inside(trades, row, now)
    if found:
        wanted = plain_row(found)
        assert {key: row[key] for key in wanted} == wanted
    else:
        assert (row["count"], row["firstId"], row["lastId"], row["volume"]) == (0, -1, -1, "0.00000000")
        assert row["openPrice"] == row["lastPrice"] == row["highPrice"] == row["lowPrice"] == row["weightedAvgPrice"]


@SLOW
@given(market=markets(), data=st.data())
def test_every_ticker_is_a_plain_sum_of_the_trades_between_its_two_times(market: RecordedMarket, data: Any) -> None:
    now = data.draw(st.integers(market.starts_at + 1, market.ends_at or 0))
    size = data.draw(st.sampled_from(["1m", "59m", "1h", "4h", "23h", "1d", "7d"]))
    offset = data.draw(st.integers(-720, 840)) * MINUTE
    trades = plain_trades(market, "BTCUSDT", now)
    for window in (rolling_day(now), rolling_window(now, size), trading_day(now, offset)):
        try:
            found = statistics(market, "BTCUSDT", window)
        except NotTraded:
            assert not [trade for trade in trades if trade.at_ms < now // 1000]
            continue
        assert_equal(trades, tickers.full_row("BTCUSDT", found, 1000), now)


@SLOW
@given(
    minutes=st.integers(0, 3 * 24 * 60), micros=st.integers(0, MINUTE), size=st.sampled_from(["3m", "2h", "1d", "2d"])
)
def test_the_synthetic_markets_windows_too(market: SyntheticMarket, minutes: int, micros: int, size: str) -> None:
    now = market.begins_at + 10 * MINUTE + minutes * MINUTE + micros
    trades = plain_trades(market, "XRPUSDT", now)
    assume(trades)
    for window in (rolling_day(now), rolling_window(now, size), trading_day(now, 0)):
        found = statistics(market, "XRPUSDT", window)
        assert_equal(trades, tickers.full_row("XRPUSDT", found, 1000), now)


@SLOW
@given(market=markets(), data=st.data())
def test_the_average_price_is_that_of_five_minutes(market: RecordedMarket, data: Any) -> None:
    now = data.draw(st.integers(market.starts_at + 1, market.ends_at or 0))
    seen = [trade for trade in plain_trades(market, "BTCUSDT", now) if trade.at_ms < now // 1000]
    assume(seen)
    answer = tickers.average_price(market, "BTCUSDT", now)
    recent = [trade for trade in seen if trade.at_ms >= now // 1000 - 5 * 60_000]
    wanted = plain_row(recent)["weightedAvgPrice"] if recent else f"{seen[-1].price:.8f}"
    assert answer == {"mins": 5, "price": wanted, "closeTime": seen[-1].at_ms}
    assert average_window(now).until == now - now % 1000


@SLOW
@given(market=markets(), data=st.data())
def test_the_price_before_a_day_is_that_of_the_trade_before_its_first(market: RecordedMarket, data: Any) -> None:
    now = data.draw(st.integers(market.starts_at + 1, market.ends_at or 0))
    trades = [trade for trade in plain_trades(market, "BTCUSDT", now) if trade.at_ms < now // 1000]
    assume(trades)
    found = statistics(market, "BTCUSDT", rolling_day(now))
    before = [trade for trade in trades if trade.at_ms < found.window.opened_at // 1000]
    wanted = before[-1].price if before else trades[0].price
    assert units_text(previous_close(market, "BTCUSDT", found)) == f"{wanted:.8f}"


@SLOW
@given(market=markets(), data=st.data())
def test_seconds_add_up_to_minutes_and_both_to_the_trades(market: RecordedMarket, data: Any) -> None:
    now = data.draw(st.integers(market.starts_at + 1, market.ends_at or 0))
    opened_at = window_of("1m", data.draw(st.integers(market.starts_at, now)))
    seconds = klines(market, "BTCUSDT", "1s", windows_between("1s", opened_at, min(opened_at + MINUTE, now), 60), now)
    found = klines(market, "BTCUSDT", "1m", [opened_at], now)
    if not found:
        assert not seconds
        return
    [minute] = found
    traded = [second for second in seconds if second.trade_count]
    assert minute[6:11] == tuple(sum(second[column] for second in seconds) for column in range(6, 11))
    if traded:
        assert (minute.open, minute.close) == (traded[0].open, traded[-1].close)
        assert (minute.high, minute.low) == (max(s.high for s in traded), min(s.low for s in traded))
        assert (minute.first_id, minute.last_id) == (traded[0].first_id, traded[-1].last_id)
    if seconds:
        assert seconds[-1].close == minute.close, "the quiet seconds are flat at the last price"


def local(at: int, offset: int) -> datetime:
    return datetime.fromtimestamp(at // SECOND, timezone(timedelta(microseconds=offset)))


@given(
    at=st.integers(START, START + 400 * DAY),
    interval=st.sampled_from(list(INTERVALS)),
    minutes=st.integers(-720, 840),
)
def test_windows_are_those_of_the_time_zones_own_calendar(at: int, interval: str, minutes: int) -> None:
    offset = minutes * MINUTE
    opened_at = window_of(interval, at, offset)
    [second] = windows_between(interval, opened_at + 1, opened_at + 40 * DAY, 1, offset)
    assert opened_at <= at < second
    assert windows_back(interval, second, 2, 0, offset)[-1] == opened_at
    calendar = local(opened_at, offset)
    if interval in ("1d", "1w", "1M"):
        assert (calendar.hour, calendar.minute, calendar.second) == (0, 0, 0)
    if interval == "1w":
        assert calendar.weekday() == 0
    if interval == "1M":
        assert calendar.day == 1
        assert local(second, offset).day == 1
    if interval in ("1h", "2h", "4h", "6h", "8h", "12h"):
        assert calendar.minute == 0
        assert calendar.hour % int(interval[:-1]) == 0
    assert window_of(interval, at, 0) == window_of(interval, at)


@pytest.mark.parametrize("minutes", [-720, -300, 345, 480, 840])
def test_a_day_of_a_time_zone_is_the_sum_of_its_minutes(market: SyntheticMarket, minutes: int) -> None:
    now, offset = market.starts_at, minutes * MINUTE
    for day in klines(market, "XRPUSDT", "1d", windows_back("1d", now, 2, market.begins_at, offset), now, offset):
        windows = windows_between("1m", max(day.opened_at, market.begins_at), min(day.closed_at, now), 2_000)
        parts = [kline for kline in klines(market, "XRPUSDT", "1m", windows, now) if kline.trade_count]
        assert day[6:11] == tuple(sum(column) for column in zip(*(part[6:11] for part in parts), strict=True))
        assert (day.open, day.close) == (parts[0].open, parts[-1].close)
        assert local(day.opened_at, offset).hour == 0


@pytest.mark.parametrize("size", ["0m", "60m", "24h", "8d", "1w", "1", "m", "01h", "1M", "١h"])
def test_other_window_sizes_are_refused(size: str) -> None:
    with pytest.raises(Refused, match="'windowSize' is not valid"):
        rolling_window(START, size)


def test_the_documentations_own_window_opens_as_it_says() -> None:
    closes = datetime(2022, 1, 4, 9, 17, 47, 99_000, UTC)
    now = int(closes.timestamp() * 1000) * 1000 + 1000
    row = rolling_window(now, "1d")
    assert (row.opened_at // 1000, row.closed_at // 1000 - 1) == (1_641_201_420_000, 1_641_287_867_099)


def test_a_change_is_told_with_three_decimals_rounded_half_up() -> None:
    def percent(first: int, last: int) -> str:
        market = RecordedMarket(
            [Trade("BTCUSDT", n, n, n, price, 10**8, START + n, False) for n, price in ((1, first), (2, last))]
        )
        return statistics(market, "BTCUSDT", rolling_day(market.ends_at or 0)).change_percent

    assert percent(21_000_000_000, 21_260_000_000) == "1.238"  # 210.0 to 212.6: the documentation's BNBUSDT
    assert [percent(200_000, 200_001), percent(200_000, 199_999)] == ["0.001", "-0.001"]
    assert [percent(1_000_000, 1_000_001), percent(10**6, 10**6 - 1)] == ["0.000", "0.000"]
