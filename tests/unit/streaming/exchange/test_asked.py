"""What a request may say: times in two units, time zones, tickers' forms, and refusals in the exchange's own words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.rest.endpoints import SPOT
from streaming.exchange.rest.weights import weight_of

BTC: dict[str, Any] = {"symbol": "BTCUSDT"}
MICROS = {"X-MBX-TIME-UNIT": "MICROSECOND"}
START = 1_723_161_255 * SECOND
EASTERN = 8 * 60 * MINUTE // 1000
ONE_ROW = 2 * MINUTE // 1000


async def answer(exchange: Any, path: str, headers: dict[str, str] | None = None, **params: Any) -> Any:
    url = f"{exchange.served.rest}{path}"
    async with exchange.session.get(url, params=params, headers=headers or {}) as found:
        return found.status, dict(found.headers), await found.json()


@pytest.mark.parametrize("headers", [{}, MICROS], ids=["told in ms", "told in µs"])
@pytest.mark.parametrize("scale", [1, 1000], ids=["asked in ms", "asked in µs"])
async def test_times_are_taken_in_both_units_whatever_the_answers_unit(
    market: SyntheticMarket, exchange: Any, headers: dict[str, str], scale: int
) -> None:
    start = (market.begins_at + 60 * MINUTE) // 1000
    told = 1000 if headers else 1
    window = {"startTime": start * scale, "endTime": (start + ONE_ROW) * scale + scale - 1}
    _, _, klines = await answer(exchange, "/api/v3/klines", headers, **BTC, interval="1m", **window)
    assert [row[0] for row in klines] == [(start + minute * 60_000) * told for minute in range(3)]
    _, _, trades = await answer(exchange, "/api/v3/aggTrades", headers, **BTC, **window, limit=1000)
    assert 5 < len(trades) < 1000
    assert all(start * told <= row["T"] < (start + ONE_ROW + 1) * told for row in trades)


async def test_days_open_in_the_time_zone_that_is_asked_for(exchange: Any) -> None:
    for zone, minutes in (("8", 480), ("+08:00", 480), ("-1:00", -60), ("05:45", 345), ("-12:00", -720), ("14", 840)):
        for path in ("/api/v3/klines", "/api/v3/uiKlines"):
            _, _, rows = await answer(exchange, path, **BTC, interval="1d", timeZone=zone)
            assert {(row[0] + minutes * 60_000) % 86_400_000 for row in rows} == {0}
            assert {row[6] - row[0] for row in rows} == {86_400_000 - 1}
    async with exchange.session.get(
        f"{exchange.served.rest}/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=1&timeZone=+08:00"
    ) as found:
        [row] = await found.json()
    assert (row[0] + EASTERN) % 86_400_000 == 0, "a plus that nobody escaped is one"


async def test_seconds_are_an_interval(exchange: Any) -> None:
    _, _, [minute] = await answer(exchange, "/api/v3/klines", **BTC, interval="1m", startTime=0, limit=1)
    window = {"startTime": minute[0], "endTime": minute[6]}
    _, _, rows = await answer(exchange, "/api/v3/klines", **BTC, interval="1s", **window)
    assert sum(row[8] for row in rows) == minute[8] > 0
    assert {row[6] - row[0] for row in rows} == {999}


async def test_the_short_form_of_a_ticker_is_the_long_one_without_its_changes(exchange: Any) -> None:
    exchange.served.publisher._clock.speed = 0.0  # both are asked of one moment
    for path in ("ticker", "ticker/24hr", "ticker/tradingDay"):
        _, _, full = await answer(exchange, f"/api/v3/{path}", **BTC)
        _, _, mini = await answer(exchange, f"/api/v3/{path}", **BTC, type="MINI")
        assert mini.items() <= full.items()
        assert full.keys() - mini.keys() >= {"priceChange", "priceChangePercent", "weightedAvgPrice"}
        assert len(mini) == 12
        _, _, several = await answer(exchange, f"/api/v3/{path}", symbols='["BTCUSDT","XRPUSDT"]', type="FULL")
        assert [row["symbol"] for row in several] == ["BTCUSDT", "XRPUSDT"]
        assert several[0] == full


async def test_a_status_that_no_symbol_has_leaves_nothing_or_is_a_mismatch(exchange: Any) -> None:
    for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker"):
        assert (await answer(exchange, f"/api/v3/{path}", symbolStatus="HALT"))[2] == []
        assert len((await answer(exchange, f"/api/v3/{path}", symbolStatus="TRADING"))[2]) == 3
    mismatch = {"code": -1220, "msg": "The symbol's status does not match the requested symbolStatus."}
    for path in ("ticker", "ticker/24hr", "ticker/tradingDay", "depth", "ticker/price"):
        status, _, body = await answer(exchange, f"/api/v3/{path}", **BTC, symbolStatus="BREAK")
        assert (status, body) == (400, mismatch)
    assert (await answer(exchange, "/api/v3/exchangeInfo", symbolStatus="HALT"))[2]["symbols"] == []
    info = (
        await answer(exchange, "/api/v3/exchangeInfo", permissions='["SPOT","MARGIN"]', showPermissionSets="false")
    )[2]
    assert [symbol["permissionSets"] for symbol in info["symbols"]] == [[], [], []]
    assert (await answer(exchange, "/api/v3/exchangeInfo", permissions="LEVERAGED"))[2]["symbols"] == []


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        ("ticker", {}, -1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!"),
        ("ticker/tradingDay", {}, -1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!"),
        ("ticker", {**BTC, "windowSize": "60m"}, -1130, "Data sent for parameter 'windowSize' is not valid."),
        ("ticker/24hr", {**BTC, "type": "TINY"}, -1139, "Invalid ticker type."),
        ("ticker/24hr", {"symbolStatus": "OPEN"}, -1122, "Invalid symbolStatus."),
        ("exchangeInfo", {**BTC, "symbolStatus": "TRADING"}, -1128, "Combination of optional parameters invalid."),
        ("exchangeInfo", {**BTC, "permissions": "SPOT"}, -1128, "Combination of optional parameters invalid."),
        ("ticker/price", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151, "Symbol is present multiple times in the list."),
        ("klines", {**BTC, "interval": "1d", "timeZone": "15"}, -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("klines", {**BTC, "interval": "1d", "timeZone": "-12:01"}, -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("klines", {**BTC, "interval": "1d", "timeZone": "Asia/Tokyo"}, -1130,
         "Data sent for parameter 'timeZone' is not valid."),
        ("klines", {**BTC, "interval": "2s"}, -1120, "Invalid interval."),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_in_the_exchanges_words(
    exchange: Any, path: str, params: dict[str, Any], code: int, message: str
) -> None:
    status, headers, body = await answer(exchange, f"/api/v3/{path}", **params)
    assert (status, body) == (400, {"code": code, "msg": message})
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) >= 1


async def test_a_parameter_that_is_there_twice_is_refused(exchange: Any) -> None:
    async with exchange.session.get(f"{exchange.served.rest}/api/v3/trades?symbol=BTCUSDT&symbol=XRPUSDT") as found:
        assert await found.json() == {"code": -1101, "msg": "Duplicate values for a parameter detected."}


@pytest.mark.parametrize("unit", ["NANOSECOND", "Microsecond", "", "1"])
async def test_a_unit_of_time_that_is_none_is_refused_everywhere(exchange: Any, unit: str) -> None:
    refusal = {"code": -1194, "msg": "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."}
    for path in ("ping", "time", "klines"):
        status, headers, body = await answer(exchange, f"/api/v3/{path}", {"X-MBX-TIME-UNIT": unit})
        assert (status, body) == (400, refusal)
        assert "X-MBX-USED-WEIGHT" in headers
    async with exchange.session.get(f"{exchange.served.rest}/stream?streams=btcusdt@trade&timeUnit={unit}") as found:
        assert (found.status, json.loads(await found.text())) == (400, refusal)


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
async def test_both_spellings_of_the_documentation_are_understood(exchange: Any, unit: str) -> None:
    _, _, body = await answer(exchange, "/api/v3/time", {"X-MBX-TIME-UNIT": unit})
    assert body["serverTime"] > 10**15
    async with exchange.socket(f"/ws/btcusdt@trade?timeUnit={unit}") as socket:
        assert (await socket.events(1))[0]["T"] > 10**15


async def test_what_is_not_offered_is_refused_in_words(exchange: Any) -> None:
    for path in (
        "/api/v3/historicalBlockTrades",
        "/api/v3/account",
        "/sapi/v1/asset/tradeFee",
        "/ws-api/v3",
        "/eapi/v1/x",
    ):
        status, headers, body = await answer(exchange, path, **BTC)
        assert (status, body["code"]) == (404, -1020)
        assert "the simulated exchange offers market data of spot, at /api/v3/: ping, time" in body["msg"].lower()
        assert "X-MBX-USED-WEIGHT" in headers
    async with exchange.session.post(f"{exchange.served.rest}/api/v3/order", data=BTC) as found:
        assert (found.status, (await found.json())["code"]) == (404, -1020)


async def test_the_data_only_hosts_have_no_single_trades_by_id_and_no_trading_days(
    market: SyntheticMarket, run: Any
) -> None:
    async with run(market, data_only=True) as exchange:
        for path in ("historicalTrades", "ticker/tradingDay"):
            assert (await exchange.get(f"/api/v3/{path}", status=404, **BTC))["code"] == -1020
        assert (await exchange.get("/api/v3/ticker", **BTC))["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(("count", "weight"), [(1, 4), (3, 12), (50, 200), (51, 200), (100, 200)])
def test_a_window_ticker_weighs_four_a_symbol_up_to_200(count: int, weight: int) -> None:
    names = json.dumps([f"S{number}" for number in range(count)])
    assert weight_of("ticker", {"symbols": names}) == weight_of("ticker/tradingDay", {"symbols": names}) == weight


def test_every_endpoint_has_a_weight() -> None:
    assert all(weight_of(endpoint, {"symbol": "A"}) >= 1 for endpoint in SPOT)


async def test_symbols_of_any_script_are_listed_asked_for_and_listened_to(run: Any) -> None:
    names = ["币安人生USDT", "1000SATSUSDT", "BTCUSDT_240628"]
    trades = [Trade(name, 1, 1, 1, 10**8, 10**8, START, False) for name in names]
    async with run(RecordedMarket(trades), speed=10_000.0, waits_for_listener=True) as exchange:
        async with exchange.socket("/ws") as socket:
            await socket.ask(method="SUBSCRIBE", params=[f"{name.lower()}@trade" for name in names], id=1)
            assert {event["s"] for event in await socket.events(3)} == set(names)
        for name in names:
            assert [row["id"] for row in await exchange.get("/api/v3/trades", symbol=name)] == [1]


async def test_a_recording_that_only_rest_asks_for_starts(run: Any) -> None:
    trades = [Trade("BTCUSDT", n, n, n, 10**8, 10**8, START + n * SECOND, False) for n in range(5)]
    async with run(RecordedMarket(trades), speed=1_000.0, waits_for_listener=True, patience=0.0) as exchange:
        for path in ("ping", "time", "exchangeInfo"):
            await exchange.get(f"/api/v3/{path}")
        assert not exchange.served.publisher._clock.is_running, "these want no trades yet"
        while len(await exchange.get("/api/v3/trades", **BTC)) < 5:
            await asyncio.sleep(0.01)


async def test_a_recording_waits_a_while_for_who_asks_first_and_listens_then(run: Any) -> None:
    trades = [Trade("BTCUSDT", n, n, n, 10**8, 10**8, START + n * SECOND, False) for n in range(5)]
    async with run(RecordedMarket(trades), speed=1_000.0, waits_for_listener=True, patience=3_600.0) as exchange:
        assert await exchange.get("/api/v3/trades", **BTC) == []
        async with exchange.socket("/ws/btcusdt@trade") as socket:
            assert [event["t"] for event in await socket.events(5)] == [0, 1, 2, 3, 4]
