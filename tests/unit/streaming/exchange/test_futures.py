"""The USD-M futures: addresses by kind of stream, trades that are none of the market's, ids that skip, limits of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from quantstream.core.decimals import to_units
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.cli import choose_market, main, parser
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.rest.futures import FUTURES, weight_of
from streaming.exchange.server.venue import FUTURES as VENUE
from streaming.exchange.streams.client import Rules

STARTS_AT = 1_763_800_123 * SECOND
BTC = {"symbol": "BTCUSDT"}
KEY = {"X-MBX-APIKEY": "any"}
PATIENT = Rules(messages_per_second=1_000)


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    """Two perpetuals and a contract with a delivery, with two trades off the book in a minute."""
    seed = MarketSeed(seed=7, starts_at=STARTS_AT, history_days=1, off_book_a_minute=2.0)
    return SyntheticMarket(seed, ["BTCUSDT", "XRPUSDT", "BTCUSDT_261225"])


@pytest.fixture
async def futures(market: SyntheticMarket, run: Any) -> AsyncIterator[Any]:
    async with run(market, speed=300.0, venue=VENUE, rules=PATIENT) as client:
        yield client


async def test_aggregates_run_without_a_gap_while_their_trades_skip(futures: Any) -> None:
    rows = await futures.get("/fapi/v1/aggTrades", **BTC, fromId=100, limit=1000)
    assert [row["a"] for row in rows] == list(range(100, 1100))
    assert set(rows[0]) == {"a", "p", "q", "nq", "f", "l", "T", "m"}
    skips = [after["f"] - before["l"] - 1 for before, after in pairwise(rows)]
    assert min(skips) == 0
    assert sum(skips) > 10, "trades of the insurance fund and of auto-deleveraging have ids too"


async def test_the_trade_stream_has_every_id_and_says_what_each_was(futures: Any) -> None:
    async with futures.socket("/public/ws/btcusdt@trade") as socket:
        events = await socket.events(600)
    ids = [event["t"] for event in events]
    assert ids == list(range(ids[0], ids[0] + 600))
    assert {event["X"] for event in events} >= {"MARKET", "INSURANCE_FUND"}
    assert {event["X"] for event in events} <= {"MARKET", "INSURANCE_FUND", "ADL", "NA"}
    assert all(set(event) == {"e", "E", "T", "s", "t", "p", "q", "X", "m", "st"} for event in events)
    assert [event["T"] for event in events] == sorted(event["T"] for event in events)
    assert all((event["p"], event["q"]) == ("0", "0") for event in events if event["X"] == "NA")
    market_ids = [event["t"] for event in events if event["X"] == "MARKET"]
    path = f"{futures.served.rest}/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId={ids[0]}&limit={len(market_ids)}"
    async with futures.session.get(path, headers=KEY) as answer:
        rows = await answer.json()
    assert [row["id"] for row in rows] == market_ids, "REST has the market's trades only"
    told = {event["t"]: (event["p"], event["q"], event["T"], event["m"]) for event in events}
    assert all((r["price"], r["qty"], r["time"], r["isBuyerMaker"]) == told[r["id"]] for r in rows)


async def test_candles_and_tickers_count_market_trades_only(market: SyntheticMarket, futures: Any) -> None:
    opened_at = (market.begins_at + 60 * MINUTE) // 1000
    window = {"startTime": opened_at, "endTime": opened_at + 5 * 60_000 - 1}
    [kline] = await futures.get("/fapi/v1/klines", **BTC, interval="5m", **window)
    rows = await futures.get("/fapi/v1/aggTrades", **BTC, **window, limit=1000)
    assert to_units(kline[5]) == sum(to_units(row["q"]) for row in rows)
    assert kline[8] == sum(row["l"] - row["f"] + 1 for row in rows)
    ticker = await futures.get("/fapi/v1/ticker/24hr", **BTC)
    assert ticker["count"] < ticker["lastId"] - ticker["firstId"] + 1
    assert not {"bidPrice", "prevClosePrice"} & set(ticker)
    tape = market.tape_at("BTCUSDT", market.begins_at)
    off = set(tape.off_book.ids.tolist())
    assert off
    assert off.isdisjoint(tape.ids.tolist())
    assert sorted(off | set(tape.ids.tolist())) == list(range(1, int(tape.ids[-1]) + 1))


def test_ids_run_over_every_tape_and_spot_stays_as_it_was(market: SyntheticMarket) -> None:
    spot = SyntheticMarket(MarketSeed(7, STARTS_AT, 1), ["BTCUSDT"])
    expected = 1
    ours = list(trades_between(market, "BTCUSDT", market.begins_at, STARTS_AT + 10 * MINUTE))
    theirs = list(trades_between(spot, "BTCUSDT", spot.begins_at, STARTS_AT + 10 * MINUTE))
    for (tape, _, _), (other, _, _) in zip(ours, theirs, strict=True):
        both = sorted([*tape.ids.tolist(), *tape.off_book.ids.tolist()])
        assert both == list(range(expected, expected + len(both)))
        expected += len(both)
        assert tape.price.tolist() == other.price.tolist()
        assert tape.aggregate_ids.tolist() == other.aggregate_ids.tolist()


@pytest.mark.parametrize(
    ("prefix", "filled", "silent"),
    [
        (
            "/market",
            ["btcusdt@aggTrade", "btcusdt@kline_1m", "btcusdt@ticker"],
            ["btcusdt@trade", "btcusdt@bookTicker"],
        ),
        ("/public", ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth"], ["btcusdt@aggTrade", "btcusdt@kline_1m"]),
        ("", ["btcusdt@trade", "btcusdt@bookTicker"], ["btcusdt@aggTrade", "btcusdt@kline_1m", "!ticker@arr"]),
    ],
)
@pytest.mark.parametrize("mode", ["ws", "stream"])
async def test_an_address_fills_its_own_kind_of_streams_and_acknowledges_the_others(
    market: SyntheticMarket, run: Any, prefix: str, filled: list[str], silent: list[str], mode: str
) -> None:
    rules = Rules(ping_every=0.05, messages_per_second=1_000)
    async with (
        run(market, speed=300.0, venue=VENUE, rules=rules) as futures,
        futures.socket(f"{prefix}/{mode}") as socket,
    ):
        await socket.ask(method="SET_PROPERTY", params=["combined", True], id=1)
        reply = await socket.ask(method="SUBSCRIBE", params=[*filled, *silent], id=2)
        assert reply == {"result": None, "id": 2}
        seen: set[str] = set()
        while seen != set(filled) or len(socket.pings) < 3:
            [event] = await socket.events(1)
            seen.add(event["stream"])
        assert set((await socket.ask(method="LIST_SUBSCRIPTIONS", id=3))["result"]) == {*filled, *silent}
    assert seen == set(filled)


async def test_the_old_address_acknowledges_market_streams_pings_and_says_nothing(
    market: SyntheticMarket, run: Any
) -> None:
    rules = Rules(ping_every=0.05, messages_per_second=1_000)
    async with (
        run(market, speed=300.0, venue=VENUE, rules=rules) as futures,
        futures.socket("/ws/btcusdt@aggTrade") as old,
        futures.socket("/market/ws/btcusdt@aggTrade") as new,
    ):
        assert (await old.ask(method="SUBSCRIBE", params=["xrpusdt@aggTrade"], id=1))["result"] is None
        await new.events(200)
        await old.ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert json.loads(await old.frame())["id"] == 2, "not one event came before the reply"
        assert old.pings


async def test_the_private_address_connects_and_has_no_user_data(futures: Any) -> None:
    async with futures.socket("/private/stream") as socket:
        assert (await socket.ask(method="SUBSCRIBE", params=["btcusdt@aggTrade"], id=1))["result"] is None
    async with futures.session.ws_connect(f"{futures.served.ws}/private/ws?listenKey={'k' * 64}") as ws:
        assert "no accounts and no user data" in (await ws.receive(timeout=10)).data


async def test_aggregates_of_the_stream_equal_rest_and_are_shaped_as_the_futures(futures: Any) -> None:
    async with futures.socket("/market/ws/btcusdt@aggTrade") as socket:
        events = await socket.events(100)
    assert set(events[0]) == {"e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m", "st"}
    rows = await futures.get("/fapi/v1/aggTrades", **BTC, fromId=events[0]["a"], limit=100)
    assert [{key: event[key] for key in row} for event, row in zip(events, rows, strict=True)] == rows


async def test_every_futures_stream_that_is_offered_comes(futures: Any) -> None:
    names = {
        "/market": ["btcusdt@miniTicker", "!miniTicker@arr", "!ticker@arr", "btcusdt_perpetual@continuousKline_1m"],
        "/public": ["btcusdt@depth5@100ms", "btcusdt@depth@500ms", "!bookTicker", "btcusdt_261225@trade"],
    }
    for prefix, wanted in names.items():
        seen: set[str] = set()
        async with futures.socket(f"{prefix}/stream?streams={'/'.join(wanted)}") as socket:
            while seen != set(wanted):
                seen.add(json.loads(await socket.frame())["stream"])


async def test_contracts_are_listed_with_their_kind_and_delivery(futures: Any) -> None:
    info = await futures.get("/fapi/v1/exchangeInfo")
    kinds = {symbol["symbol"]: (symbol["pair"], symbol["contractType"]) for symbol in info["symbols"]}
    assert kinds == {
        "BTCUSDT": ("BTCUSDT", "PERPETUAL"),
        "XRPUSDT": ("XRPUSDT", "PERPETUAL"),
        "BTCUSDT_261225": ("BTCUSDT", "CURRENT_QUARTER"),
    }
    assert info["symbols"][2]["deliveryDate"] == 1_798_185_600_000  # 2026-12-25 08:00
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
    }
    assert (await futures.get("/api/v3/exchangeInfo"))["symbols"] == []


async def test_every_endpoint_answers(futures: Any) -> None:
    more = {"klines": {"interval": "1m"}, "continuousKlines": {"interval": "1m", "contractType": "PERPETUAL"}}
    for endpoint in FUTURES:
        names = {"pair": "BTCUSDT"} if endpoint == "continuousKlines" else dict(BTC)
        asked = {} if endpoint in ("ping", "time", "exchangeInfo") else names | more.get(endpoint, {})
        async with futures.session.get(
            f"{futures.served.rest}/fapi/v1/{endpoint}", params=asked, headers=KEY
        ) as answer:
            assert answer.status == 200, await answer.text()
            assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) > 0
    assert len(await futures.get("/fapi/v1/klines", **BTC, interval="1m", startTime=0, limit=1500)) > 1000
    assert (await futures.get("/fapi/v2/ticker/price", **BTC))["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("path", "params", "status", "code", "message"),
    [
        ("klines", {**BTC, "interval": "1s"}, 400, -1120, "Invalid interval."),
        ("klines", {"symbol": "NOSUCH", "interval": "1m"}, 400, -1121, "Invalid symbol."),
        ("aggTrades", {**BTC, "startTime": 2, "endTime": 1}, 400, -1023, "Start time is greater than end time."),
        ("aggTrades", {**BTC, "startTime": 0, "endTime": 3_600_001}, 400, -1127,
         "More than 1 hours between startTime and endTime."),
        ("historicalTrades", BTC, 401, -2014, "API-key format invalid."),
    ],
)  # fmt: skip
async def test_refusals_are_the_futures_own(
    futures: Any, path: str, params: dict[str, Any], status: int, code: int, message: str
) -> None:
    assert await futures.get(f"/fapi/v1/{path}", status=status, **params) == {"code": code, "msg": message}


async def test_what_the_futures_do_not_have_here_is_refused_in_words(futures: Any) -> None:
    for path in ("/fapi/v1/premiumIndex", "/fapi/v1/fundingRate", "/fapi/v2/account", "/api/v3/klines"):
        body = await futures.get(path, status=404)
        assert (body["code"], "market data of futures, at /fapi/v1/" in body["msg"]) == (-1020, True)


@pytest.mark.parametrize(
    ("endpoint", "query", "weight"),
    [
        ("klines", {"limit": "99"}, 1), ("klines", {"limit": "100"}, 2), ("klines", {}, 5), ("klines", {"limit": "1001"}, 10),
        ("aggTrades", {}, 20), ("trades", {}, 5), ("historicalTrades", {}, 200), ("exchangeInfo", {}, 1),
        ("ticker/24hr", {"symbol": "A"}, 1), ("ticker/24hr", {}, 40), ("ticker/price", {}, 2), ("ticker/bookTicker", {}, 5),
        ("depth", {"limit": "50"}, 2), ("depth", {"limit": "100"}, 5), ("depth", {}, 10), ("depth", {"limit": "1000"}, 20),
    ],
)  # fmt: skip
def test_weights_are_the_futures_own(endpoint: str, query: dict[str, str], weight: int) -> None:
    assert weight_of(endpoint, query) == weight


async def test_a_recording_of_the_futures_keeps_its_skipping_ids(run: Any) -> None:
    trades = [
        Trade("BTCUSDT", 7, 100, 104, 10**8, 10**8, STARTS_AT, False),
        Trade("BTCUSDT", 8, 106, 106, 10**8, 10**8, STARTS_AT + SECOND, True),
    ]
    async with run(RecordedMarket(trades), speed=1_000.0, waits_for_listener=True, venue=VENUE) as futures:
        async with futures.socket("/ws/btcusdt@aggTrade") as old:
            await old.ask(method="LIST_SUBSCRIPTIONS", id=1)
            assert not futures.served.publisher._clock.is_running, "who is told nothing starts nothing"
        async with futures.socket("/market/ws/btcusdt@aggTrade") as socket:
            events = await socket.events(2)
    assert [(event["a"], event["f"], event["l"]) for event in events] == [(7, 100, 104), (8, 106, 106)]


def test_the_command_chooses_the_market_and_its_clock_file_remembers_it(tmp_path: Any, capsys: Any) -> None:
    chosen = choose_market(parser().parse_args(["--market", "futures", "--seed", "3"]), 1.7e9)
    assert chosen.identity["market"] == "futures"
    assert "market" not in choose_market(parser().parse_args(["--seed", "3"]), 1.7e9).identity
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"market": chosen.identity, "at": chosen.resumes_at}))
    assert main(["--clock-file", str(clock)]) == 2
    assert "belongs to another market" in capsys.readouterr().err


async def test_a_futures_exchange_in_a_process_of_its_own(simulate: Any) -> None:
    process = simulate("--market", "futures", "--speed", "100", "--symbols", "BTCUSDT", "--history-days", "1")

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{process.ws}/market/ws/btcusdt@aggTrade") as ws:
        event = json.loads((await ws.receive(timeout=120)).data)
    assert (event["e"], event["st"]) == ("aggTrade", 1)
    assert await asyncio.to_thread(process.stop) == 0
