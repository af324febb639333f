"""REST as a client sees it: parameters, order, limits, weights and refusals of the real exchange."""

from __future__ import annotations

from typing import Any

import pytest

from quantstream.core.decimals import to_units
from quantstream.core.time import MINUTE
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.rest.weights import Allowance, weight_of

M5 = 5 * MINUTE // 1000
BTC = {"symbol": "BTCUSDT"}


def opened(rows: list[Any]) -> list[int]:
    return [row[0] for row in rows]


async def test_time_runs_as_many_times_faster_as_it_is_told(market: SyntheticMarket, run: Any) -> None:
    async with run(market, speed=1000.0) as exchange:
        first = (await exchange.get("/api/v3/time"))["serverTime"]
        second = (await exchange.get("/api/v3/time"))["serverTime"]
    assert market.starts_at // 1000 <= first < second < first + 60_000


async def test_klines_without_times_are_the_most_recent_and_the_last_is_open(exchange: Any) -> None:
    rows = await exchange.get("/api/v3/klines", **BTC, interval="5m", limit=3)
    now = (await exchange.get("/api/v3/time"))["serverTime"]
    assert rows[-1][0] <= now <= rows[-1][6]
    assert opened(rows) == [rows[-1][0] - 2 * M5, rows[-1][0] - M5, rows[-1][0]]


async def test_klines_from_a_start_are_the_first_ones_that_open_at_or_after_it(
    market: SyntheticMarket, exchange: Any
) -> None:
    start = market.begins_at // 1000 + 3_600_000
    rows = await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=start - 1, limit=3)
    assert opened(rows) == [start, start + M5, start + 2 * M5]
    assert len(await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=0)) == 500


async def test_klines_up_to_an_end_are_the_last_ones_that_open_at_or_before_it(
    market: SyntheticMarket, exchange: Any
) -> None:
    end = market.begins_at // 1000 + 3_600_000
    assert opened(await exchange.get("/api/v3/klines", **BTC, interval="5m", endTime=end, limit=2)) == [end - M5, end]
    assert opened(await exchange.get("/api/v3/klines", **BTC, interval="5m", endTime=end - 1, limit=1)) == [end - M5]
    both = await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=end - M5, endTime=end, limit=1000)
    assert opened(both) == [end - M5, end]
    assert await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=end + M5, endTime=end) == []
    assert await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=4_000_000_000_000) == []


async def test_history_pages_join_into_all_of_it(market: SyntheticMarket, exchange: Any) -> None:
    rows: list[Any] = []
    start = 0
    while page := await exchange.get("/api/v3/klines", **BTC, interval="5m", startTime=start, limit=1000):
        rows += page
        start = page[-1][0] + 1
        if len(page) < 1000:
            break
    assert opened(rows) == list(range(market.begins_at // 1000, rows[-1][0] + 1, M5))
    assert len(rows) > 2 * 288


async def test_aggregates_and_trades_tell_the_same_story(exchange: Any) -> None:
    aggregates = await exchange.get("/api/v3/aggTrades", **BTC, fromId=1000, limit=1000)
    assert [row["a"] for row in aggregates] == list(range(1000, 2000))
    trades: list[Any] = []
    while len(trades) < aggregates[-1]["l"] - aggregates[0]["f"] + 1:
        first = aggregates[0]["f"] + len(trades)
        trades += await exchange.get("/api/v3/historicalTrades", **BTC, fromId=first, limit=1000)
    by_id = {row["id"]: row for row in trades}
    for row in aggregates:
        singles = [by_id[number] for number in range(row["f"], row["l"] + 1)]
        assert sum(to_units(single["qty"]) for single in singles) == to_units(row["q"])
        assert {(s["price"], s["time"], s["isBuyerMaker"]) for s in singles} == {(row["p"], row["T"], row["m"])}
    assert all(to_units(t["quoteQty"]) * 10**8 == to_units(t["price"]) * to_units(t["qty"]) for t in trades)


async def test_aggregates_between_two_times_are_inclusive(exchange: Any) -> None:
    some = await exchange.get("/api/v3/aggTrades", **BTC, fromId=500, limit=10)
    window = {"startTime": some[2]["T"], "endTime": some[7]["T"]}
    found = await exchange.get("/api/v3/aggTrades", **BTC, **window)
    assert found == [row for row in some if window["startTime"] <= row["T"] <= window["endTime"]]
    assert await exchange.get("/api/v3/aggTrades", **BTC, startTime=some[2]["T"], limit=1) == [some[2]]
    assert (await exchange.get("/api/v3/aggTrades", **BTC, endTime=some[7]["T"], limit=1))[0]["T"] == some[7]["T"]


async def test_the_newest_trades_come_oldest_first(exchange: Any) -> None:
    for path in ("/api/v3/trades", "/api/v3/historicalTrades"):
        rows = await exchange.get(path, **BTC, limit=600)
        assert [row["id"] for row in rows] == list(range(rows[0]["id"], rows[0]["id"] + 600))
        assert set(rows[0]) == {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"}


async def test_times_come_in_microseconds_when_asked(market: SyntheticMarket, exchange: Any) -> None:
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    url = f"{exchange.served.rest}/api/v3/klines?symbol=BTCUSDT&interval=5m&startTime={market.begins_at}&limit=1"
    async with exchange.session.get(url, headers=headers) as answer:
        [row] = await answer.json()
    assert (row[0], row[6]) == (market.begins_at, market.begins_at + 5 * MINUTE - 1)


async def test_exchange_info_lists_what_is_asked(exchange: Any) -> None:
    everything = await exchange.get("/api/v3/exchangeInfo")
    assert [symbol["symbol"] for symbol in everything["symbols"]] == ["BTCUSDT", "BNBUSDT", "XRPUSDT"]
    one = await exchange.get("/api/v3/exchangeInfo", symbol="XRPUSDT")
    several = await exchange.get("/api/v3/exchangeInfo", symbols='["XRPUSDT","BTCUSDT"]')
    assert [symbol["symbol"] for symbol in several["symbols"]] == ["XRPUSDT", "BTCUSDT"]
    [xrp] = one["symbols"]
    assert (xrp["baseAsset"], xrp["quoteAsset"], xrp["status"]) == ("XRP", "USDT", "TRADING")
    filters = {rule["filterType"]: rule for rule in xrp["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00010000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.10000000"


async def test_tickers_agree_with_the_trades(exchange: Any) -> None:
    day = await exchange.get("/api/v3/ticker/24hr", **BTC)
    last = (await exchange.get("/api/v3/trades", **BTC, limit=1))[0]
    assert last["id"] >= day["lastId"] >= day["firstId"] + day["count"] - 1
    assert to_units(day["lowPrice"]) <= to_units(day["lastPrice"]) <= to_units(day["highPrice"])
    prices = await exchange.get("/api/v3/ticker/price")
    assert [row["symbol"] for row in prices] == ["BTCUSDT", "BNBUSDT", "XRPUSDT"]
    book = await exchange.get("/api/v3/ticker/bookTicker", **BTC)
    assert to_units(book["bidPrice"]) < to_units(book["askPrice"])
    depth = await exchange.get("/api/v3/depth", **BTC, limit=5)
    assert [len(depth["bids"]), len(depth["asks"])] == [5, 5]


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        ("klines", {"symbol": "NOSUCH", "interval": "5m"}, -1121, "Invalid symbol."),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120, "Invalid interval."),
        ("klines", {"interval": "5m"}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("klines", {"symbol": "BTCUSDT"}, -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ("trades", {"symbol": "btcusdt"}, -1100,
         "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'."),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100,
         "Illegal characters found in parameter 'fromId'; legal range is '^[0-9]{1,20}$'."),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": "1", "startTime": "1"}, -1128,
         "Combination of optional parameters invalid."),
        ("exchangeInfo", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128, "Combination of optional parameters invalid."),
        ("trades", {"symbol": "BTCUSDT", "limit": "0"}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("trades", {"symbol": "BTCUSDT", "limit": ""}, -1105, "Parameter 'limit' was empty."),
        ("time", {"x": "1"}, -1101, "Too many parameters; expected '0' and received '1'."),
        ("trades", {"symbol": "BTCUSDT", "x": "1"}, -1104,
         "Not all sent parameters were read; read '1' parameter(s) but was sent '2'."),
    ],
)  # fmt: skip
async def test_a_bad_request_is_refused_in_the_exchanges_words(
    exchange: Any, path: str, params: dict[str, str], code: int, message: str
) -> None:
    assert await exchange.get(f"/api/v3/{path}", status=400, **params) == {"code": code, "msg": message}


async def test_used_weight_is_told_and_too_much_of_it_is_refused(market: SyntheticMarket, run: Any) -> None:
    async with run(market, weight_limit=30) as exchange:
        url = f"{exchange.served.rest}/api/v3/exchangeInfo"
        async with exchange.session.get(url) as answer:
            assert (answer.status, answer.headers["X-MBX-USED-WEIGHT-1M"]) == (200, "20")
        async with exchange.session.get(url) as answer:
            assert (answer.status, answer.headers["X-MBX-USED-WEIGHT-1M"]) == (429, "40")
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert (await answer.json())["code"] == -1003


def test_the_allowance_begins_anew_each_minute() -> None:
    wall = [59.0]
    allowance = Allowance(10, wall=lambda: wall[0])
    assert [allowance.use("one", 6), allowance.use("other", 6)] == [6, 6]
    wall[0] = 60.0
    assert allowance.use("one", 6) == 6


@pytest.mark.parametrize(
    ("endpoint", "query", "weight"),
    [
        ("time", {}, 1), ("klines", {}, 2), ("exchangeInfo", {}, 20), ("historicalTrades", {}, 25), ("aggTrades", {}, 4),
        ("depth", {}, 5), ("depth", {"limit": "500"}, 25), ("depth", {"limit": "5000"}, 250),
        ("ticker/24hr", {"symbol": "A"}, 2), ("ticker/24hr", {}, 80),
        ("ticker/price", {"symbol": "A"}, 2), ("ticker/price", {}, 4),
    ],
)  # fmt: skip
def test_weights_are_the_real_exchanges(endpoint: str, query: dict[str, str], weight: int) -> None:
    assert weight_of(endpoint, query) == weight
