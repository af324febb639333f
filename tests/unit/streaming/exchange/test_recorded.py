"""Recorded trades are played all of them, in order, and nothing is invented."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from quantstream.core.decimals import units_text
from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.market.recorded import RecordedMarket, read_recordings
from streaming.recordings.readers import read_trades

START = 1_723_161_255 * SECOND


def trade(
    number: int, at: int, price: int = 100, quantity: int = 10, maker: bool = False, symbol: str = "BTCUSDT"
) -> Trade:
    return Trade(symbol, number, number, number, price * 10**6, quantity * 10**3, START + at, maker)


SOME = [
    trade(10, 0),
    trade(11, 0),
    trade(12, 0, maker=True),
    trade(13, 5_000),
    trade(14, 5_000, price=101),
    trade(20, 7 * MINUTE),
    trade(3, 2_000, symbol="ETHUSDT"),
]


async def test_the_clock_waits_for_the_first_listener_and_nothing_is_missed(run: Any) -> None:
    async with run(RecordedMarket(SOME), speed=5_000.0, waits_for_listener=True) as exchange:
        assert (await exchange.get("/api/v3/time"))["serverTime"] == START // 1000
        assert await exchange.get("/api/v3/trades", symbol="BTCUSDT") == []
        async with exchange.socket("/ws/nosuch@trade") as deaf:
            await deaf.ask(method="LIST_SUBSCRIPTIONS", id=1)
            assert (await exchange.get("/api/v3/time"))["serverTime"] == START // 1000
        async with exchange.socket("/ws/btcusdt@trade/ethusdt@trade") as socket:
            assert [event["t"] for event in await socket.events(7)] == [10, 11, 12, 3, 13, 14, 20]


async def test_after_the_end_the_clock_stands_and_the_connection_stays(run: Any) -> None:
    async with run(RecordedMarket(SOME), speed=100_000.0, waits_for_listener=True) as exchange:
        async with exchange.socket("/ws/btcusdt@trade") as socket:
            await socket.events(6)
            end = (START + 7 * MINUTE) // 1000 + 1
            assert (await exchange.get("/api/v3/time"))["serverTime"] == end
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.frame(), 0.2)
            assert not socket.ws.closed
        assert (await exchange.get("/api/v3/time"))["serverTime"] == end


async def test_aggregates_are_neighbours_of_one_price_side_and_time(run: Any) -> None:
    async with (
        run(RecordedMarket(SOME), speed=100_000.0, waits_for_listener=True) as exchange,
        exchange.socket("/ws/btcusdt@aggTrade") as socket,
    ):
        events = await socket.events(5)
        rows = await exchange.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=0)
    wanted = [(1, 10, 11, "0.00020000"), (2, 12, 12, "0.00010000"), (3, 13, 13, "0.00010000"), (4, 14, 14, "0.00010000"),
              (5, 20, 20, "0.00010000")]  # fmt: skip
    assert [(event["a"], event["f"], event["l"], event["q"]) for event in events] == wanted
    assert [(row["a"], row["f"], row["l"], row["q"]) for row in rows] == wanted


async def test_a_gap_in_the_recording_stays_one(run: Any) -> None:
    async with (
        run(RecordedMarket(SOME), speed=100_000.0, waits_for_listener=True) as exchange,
        exchange.socket("/ws/btcusdt@trade") as socket,
    ):
        await socket.events(6)
        rows = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=14, limit=10)
        assert [row["id"] for row in rows] == [14, 20]
        klines = await exchange.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=0)
    assert [row[8] for row in klines] == [5, 0, 0, 0, 0, 0, 0, 1]
    assert {tuple(row[1:5]) for row in klines[1:7]} == {("1.01000000",) * 4}


async def test_recorded_aggregates_keep_their_ids_and_counts(run: Any) -> None:
    aggregates = [
        Trade("BTCUSDT", 7, 100, 104, 10**8, 10**8, START, False),
        Trade("BTCUSDT", 8, 105, 105, 10**8, 10**8, START + 1_000, True),
    ]
    async with (
        run(RecordedMarket(aggregates), speed=1_000.0, waits_for_listener=True) as exchange,
        exchange.socket("/ws/btcusdt@aggTrade") as socket,
    ):
        assert [(event["a"], event["f"], event["l"]) for event in await socket.events(2)] == [
            (7, 100, 104),
            (8, 105, 105),
        ]
        [kline] = await exchange.get("/api/v3/klines", symbol="BTCUSDT", interval="1m")
    assert kline[8] == 6


async def test_exchange_info_lists_just_its_symbols_with_the_steps_seen(run: Any) -> None:
    async with run(RecordedMarket(SOME)) as exchange:
        info = await exchange.get("/api/v3/exchangeInfo")
    assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert info["symbols"][0]["filters"][0]["tickSize"] == "0.01000000"
    assert info["symbols"][0]["filters"][1]["stepSize"] == "0.00010000"


def test_a_recording_without_trades_is_refused() -> None:
    with pytest.raises(Misconfigured, match="holds no trades"):
        RecordedMarket([])


@pytest.mark.data
async def test_real_frames_play_every_trade_in_order(data: Path, run: Any) -> None:
    files = [data / "ws_frames" / f"spot_{symbol}_20240808.gz" for symbol in ("btcusdt", "ethusdt")]
    wanted = {symbol: list(read_trades(path)) for symbol, path in zip(("btcusdt", "ethusdt"), files, strict=True)}
    async with run(read_recordings(files), speed=400.0, waits_for_listener=True) as exchange:
        async with exchange.socket("/stream?streams=btcusdt@trade/ethusdt@trade") as socket:
            events = await socket.events(sum(len(trades) for trades in wanted.values()))
        klines = await exchange.get(
            "/api/v3/klines", symbol="BTCUSDT", interval="5m", startTime=1_723_161_300_000, limit=1
        )
    times = [event["data"]["T"] for event in events]
    assert times == sorted(times)
    for symbol, trades in wanted.items():
        played = [event["data"] for event in events if event["stream"] == f"{symbol}@trade"]
        assert [(e["t"], e["p"], e["q"], e["T"], e["m"]) for e in played] == [
            (t.id, units_text(t.price), units_text(t.quantity), t.traded_at // 1000, t.buyer_is_maker) for t in trades
        ]
    # The exchange's own kline of 2024-08-08 23:55.
    assert klines[0][1:6] == ["61828.00000000", "61860.80000000", "61583.22000000", "61685.99000000", "199.42863000"]


@pytest.mark.data
def test_every_kind_of_recording_is_read(data: Path) -> None:
    for path in sorted((data / "trades").iterdir()):
        market = read_recordings([path])
        for symbol in market.listings:
            assert len(market.tape_at(symbol, market.starts_at)) >= 10


def test_times_that_run_backwards_are_refused_not_changed() -> None:
    with pytest.raises(Misconfigured, match="trade 11 of BTCUSDT is older than the one before it"):
        RecordedMarket([trade(10, 5_000), trade(11, 4_000)])


def test_files_that_overlap_give_each_trade_once() -> None:
    market = RecordedMarket([*SOME, *SOME[:3]])
    assert market.tape_at("BTCUSDT", START).ids.tolist() == [10, 11, 12, 13, 14, 20]


def test_a_broken_recording_is_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-frames"
    path.write_bytes(b'1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTC\n')
    with pytest.raises(Misconfigured, match="line 1"):
        read_recordings([path])
    with pytest.raises(Misconfigured, match="there is no file"):
        read_recordings([tmp_path / "nothing"])


def test_a_quiet_day_among_recordings_is_passed_over_and_contracts_are_no_coins(tmp_path: Path) -> None:
    quiet, day, coins = (tmp_path / name for name in ("BTCUSDT-1.csv", "BTCUSDT-2.csv", "BTCUSD_PERP-2.csv"))
    quiet.write_bytes(b"")
    day.write_text(f"5,1.5,2,3,{START // 1000},true\n")
    coins.write_text(f"5,1.5,2,3,{START // 1000},true\n")
    assert read_recordings([quiet, day]).listings["BTCUSDT"].tick == 10**7
    with pytest.raises(Misconfigured, match="is empty"):
        read_recordings([quiet])
    with pytest.raises(Misconfigured, match="contracts, not coins"):
        read_recordings([coins])


def test_json_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "rest.json"
    path.write_text(
        json.dumps(
            [{"symbol": "BTCUSDT", "id": 5, "price": "1.5", "qty": "2", "time": START // 1000, "isBuyerMaker": True}]
        )
    )
    assert read_recordings([path]).listings["BTCUSDT"].tick == 10**7
