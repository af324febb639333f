"""USD-M futures from the archive: files with headers in ms, aggregates whose own ids run while those of trades skip."""

from __future__ import annotations

import asyncio
from datetime import date

import pyarrow as pa
import pytest

from quantstream.binance.archive import Series
from quantstream.binance.klines import fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.time import micros
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.backfill.imports import midnight
from streaming.backfill.reports import Order
from streaming.backfill.run import Run
from streaming.exchange.clock import Clock
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve
from streaming.exchange.server.venue import FUTURES
from tests.unit.streaming.backfill.conftest import NOW

FIRST, AFTER = date(2025, 11, 2), date(2025, 11, 5)
OWN = ["opened_at", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "is_complete"]


@pytest.mark.parametrize("kind", ["klines", "aggTrades", "trades"])
async def test_a_futures_markets_days_come_whole(lake: Lake, kind: str) -> None:
    seed = MarketSeed(seed=3, starts_at=micros(NOW), history_days=5, off_book_a_minute=0.5)
    market = SyntheticMarket(seed, ["BNBUSDT"])
    series = Series("BNBUSDT", kind, "5m" if kind == "klines" else "", "futures/um")
    options = Options(venue=FUTURES, waits_for_listener=True)
    async with serve(market, Clock(micros(NOW)), options) as found:
        rest = BlockingRest(f"{found.rest}/fapi/v1")
        run = Run(lake, found.rest, rest, ("1m", "5m"), 500_000, now=lambda: NOW)
        (report,) = await run.run(Order([series], FIRST, AFTER))
        start, end = midnight(FIRST), midnight(AFTER)
        told = await asyncio.to_thread(lambda: candle_rows(list(fetch_klines(rest, "BNBUSDT", "5m", start, end))))
    stored = lake.candles(["BNBUSDT"])
    assert (report.files, report.absent, report.failed, report.refused) == (3, [], [], 0)
    assert report.stored == report.rows > 0
    compared = OWN if kind != "trades" else OWN[:-1]
    for name in compared:
        assert stored[name].to_pylist() == told[name].cast(stored[name].type).to_pylist(), name
    if kind != "trades":
        assert report.is_whole
        return
    skipped = [reason for reason in report.reasons if "trade ids missing" in reason]
    assert (
        skipped == report.reasons != []
    )  # ids of trades that are not the market's: they cannot be told from lost ones
    assert not pa.compute.all(stored["is_complete"]).as_py()
