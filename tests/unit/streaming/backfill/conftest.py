"""A served archive of a small synthetic market, and runs of the backfill against it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from quantstream.binance.archive import Series
from quantstream.binance.klines import fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.time import micros
from quantstream.lake.schemas import KNOWN_AT, TIME, candle_rows
from quantstream.lake.store import Lake
from streaming.backfill import download
from streaming.backfill.reports import Order, SeriesReport
from streaming.backfill.run import Run
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Faults
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve

NOW = datetime(2025, 11, 5, 8, 28, tzinfo=UTC)
SYMBOLS = ("BTCUSDT", "BNBUSDT")
FIRST, AFTER = date(2025, 9, 29), date(2025, 11, 5)
DAYS = 37


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=7, starts_at=micros(NOW), history_days=38), list(SYMBOLS))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


class Site:
    """A served archive and runs against it."""

    def __init__(self, base: str, faults: Faults, lake: Lake) -> None:
        self.base, self.faults, self.lake = base, faults, lake
        self.said = list[str]()

    def run(self) -> Run:
        return Run(
            self.lake,
            self.base,
            BlockingRest(f"{self.base}/api/v3"),
            ("1m", "5m"),
            500_000,
            self.said.append,
            lambda: NOW,
        )

    async def backfill(self, *symbols: str, first: date = FIRST, after: date = AFTER) -> dict[str, SeriesReport]:
        reports = await self.run().run(Order([Series(name, "klines", "5m") for name in symbols], first, after))
        return {report.series.symbol: report for report in reports}

    async def truth(self, symbol: str, start: date = FIRST, after: date = AFTER) -> pa.Table:
        """Return what REST says of the days, as the lake holds it."""
        begin, end = (micros(datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in (start, after))
        rest = BlockingRest(f"{self.base}/api/v3")
        return await asyncio.to_thread(lambda: candle_rows(list(fetch_klines(rest, symbol, "5m", begin, end))))

    def stored(self, symbol: str) -> pa.Table:
        rows = self.lake.read("candles", [symbol]).select(candle_rows([]).column_names)
        dated = set(rows[KNOWN_AT].to_pylist())
        late = NOW + timedelta(hours=1)
        assert all(at is None or NOW <= at < late for at in dated), "since the run; what lay there before says nothing"
        return rows.set_column(rows.column_names.index(KNOWN_AT), KNOWN_AT, pa.nulls(rows.num_rows, TIME))


Sites = Callable[[], AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(market: SyntheticMarket, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Serve the archive while inside."""
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)

    @asynccontextmanager
    async def served() -> AsyncIterator[Site]:
        faults = Faults(random.Random(0))
        async with serve(market, Clock(micros(NOW)), Options(waits_for_listener=True), faults) as found:
            yield Site(found.rest, faults, lake)

    return served
