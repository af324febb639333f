"""Symbols that died before anybody looked: the archive's listing tells since when and until when they lived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from ml.data.universe import outside, survivorship
from quantstream.core.errors import DataRejected, Unavailable
from quantstream.core.instrument import Instrument
from quantstream.core.time import DAY, micros
from quantstream.lake.instruments import History, history, instrument_rows, note
from quantstream.lake.store import Lake
from streaming.backfill import archive_listing
from streaming.backfill.archive_listing import Life, lives_of, note_lives
from streaming.backfill.imports import midnight
from streaming.exchange.clock import Clock
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve
from tests.unit.streaming.backfill.conftest import NOW

BTC = Instrument("BTCUSDT", "TRADING", "BTC", "USDT", 1, 1)
HALTED = Instrument("OLDUSDT", "BREAK", "OLD", "USDT", 1, 1)
LUNA = Life(date(2025, 3, 30), date(2025, 5, 12))


def files(folder: Path, symbol: str, life: Life) -> None:
    """Write files of the archive that nobody opens."""
    days = [life.first + timedelta(days=number) for number in range((life.last - life.first).days + 1)]
    for day in days:
        path = folder / "spot" / "daily" / "klines" / symbol / "1d" / f"{symbol}-1d-{day}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for month in {f"{day:%Y-%m}" for day in days if day.replace(day=28) < life.last}:
        path = folder / "spot" / "monthly" / "klines" / symbol / "1d" / f"{symbol}-1d-{month}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=1, starts_at=micros(NOW), history_days=1_000), ["BTCUSDT", "ETHUSDT"])


async def test_the_first_and_the_last_day_of_each_symbol_are_told_page_by_page(
    market: SyntheticMarket, tmp_path: Path
) -> None:
    files(tmp_path, "LUNAUSDT", LUNA)
    files(tmp_path, "NEWUSDT", Life(date(2025, 11, 2), date(2025, 11, 4)))
    options = Options(archive=tmp_path, waits_for_listener=True)
    async with serve(market, Clock(micros(NOW)), options) as found:
        lives = await lives_of(found.rest, "spot", lambda name: True)
        assert await lives_of(found.rest, "spot", lambda name: name == "LUNAUSDT") == {"LUNAUSDT": LUNA}
    own = Life((NOW - timedelta(days=1_000)).date(), (NOW - timedelta(days=1)).date())
    assert lives == {
        "BTCUSDT": own,
        "ETHUSDT": own,
        "LUNAUSDT": LUNA,
        "NEWUSDT": Life(date(2025, 11, 2), date(2025, 11, 4)),
    }


async def test_the_dead_are_noted_once_and_count_as_listed_while_they_lived(
    market: SyntheticMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = {"BTCUSDT": Life(date(2023, 1, 1), NOW.date()), "LUNAUSDT": LUNA, "OLDUSDT": LUNA}
    asked = list[str]()

    async def listed(base: str, market: str, wanted: Callable[[str], bool]) -> dict[str, Life]:
        asked.extend(name for name in lives if wanted(name))
        return {name: life for name, life in lives.items() if wanted(name)}

    monkeypatch.setattr(archive_listing, "lives_of", listed)
    lake = Lake(str(tmp_path))
    note(lake, [BTC, HALTED], micros(NOW) - DAY, micros(NOW) - DAY)

    def run() -> list[str]:
        return note_lives(lake, "http://store", "spot", micros(NOW))

    assert await asyncio.to_thread(run) == [
        "LUNAUSDT was listed from 2025-03-30 to 2025-05-12",
        "OLDUSDT was listed from 2025-03-30 to 2025-05-12",
    ]
    asked.clear()
    assert (await asyncio.to_thread(run), asked) == ([], [])
    found = history(lake)
    assert set(found.listed(midnight(LUNA.first))) == {"BTCUSDT", "LUNAUSDT", "OLDUSDT"}
    assert set(found.listed(midnight(LUNA.last) + DAY)) == {"BTCUSDT"}
    assert found.at(midnight(LUNA.first))["LUNAUSDT"].quote == "USDT"
    assert found.away("OLDUSDT") == [(0, midnight(LUNA.first)), (midnight(LUNA.last) + DAY, None)]
    assert note(lake, [BTC, HALTED], micros(NOW), micros(NOW)) == []
    start = micros(datetime(2025, 4, 16, tzinfo=UTC))
    assert survivorship({"BTCUSDT"}, start, start + 4 * DAY, found).startswith(
        "of 3 symbols with the same quote that were listed on 2025-04-16, 0 are gone"
    )


def test_candles_of_a_halt_are_left_out() -> None:
    start = micros(datetime(2025, 11, 22, tzinfo=UTC))
    states = [(start, BTC), (start + 2 * DAY, replace(BTC, status="HALT")), (start + 3 * DAY, BTC)]
    rows = [row for at, state in states for row in instrument_rows([state], at, at, "exchangeInfo").to_pylist()]
    opened_at = pd.date_range("2025-11-22", periods=5, freq="D", tz="UTC")
    candles = pd.DataFrame({"opened_at": opened_at, "close": range(5)})
    assert outside(candles, History(rows).away("BTCUSDT"))["close"].to_list() == [0, 1, 3, 4]


async def test_a_store_that_is_away_or_is_none_is_named(
    market: SyntheticMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_listing, "FIRST_PAUSE", 0.001)
    with pytest.raises(Unavailable, match=r"the archive's listing at http://127.0.0.1:9 did not answer in 6 tries"):
        await lives_of("http://127.0.0.1:9", "spot", lambda name: True)
    async with serve(market, Clock(micros(NOW)), Options(waits_for_listener=True)) as it:
        with pytest.raises(DataRejected, match=r"is no listing .*; see QUANTSTREAM_ENDPOINTS__ARCHIVE_LISTING"):
            await lives_of(
                f"{it.rest}/data/spot/daily/klines/BTCUSDT/1d/BTCUSDT-1d-2025-11-01.zip.CHECKSUM",
                "spot",
                lambda name: True,
            )


def test_without_a_look_at_the_list_the_living_cannot_be_told_from_the_dead(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="nobody has looked at the exchange's list yet"):
        note_lives(Lake(str(tmp_path)), "http://127.0.0.1:9", "spot", micros(NOW))
