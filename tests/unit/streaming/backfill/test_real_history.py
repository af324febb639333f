"""Real candles of years through the public path: files of the archive over HTTP into the lake; and the outages that are named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from quantstream.binance.archive import Series
from quantstream.binance.rest import BlockingRest
from quantstream.core.partial_sums import Window
from quantstream.core.time import INTERVALS, MINUTE, micros
from quantstream.lake.store import Lake
from streaming.backfill.reports import Order, SeriesReport
from streaming.backfill.run import Run
from streaming.exchange.clock import Clock
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve
from tests.unit.streaming.backfill.real_archive import FIVE, PLAIN, five_columns, lay_out, twelve_columns

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OUTAGES = {  # of the exchange, within the stretches that are there: day, and candles of 5m that are missing
    "BTCUSDT": [("2021-04-20", 30), ("2021-04-25", 57), ("2023-03-24", 16)],
    "ETHUSDT": [("2021-02-11", 15), ("2021-08-13", 54), ("2023-03-24", 16)],
    "BNBUSDT": [("2023-03-24", 16)],
    "SOLUSDT": [("2023-03-24", 16)],
    "XRPUSDT": [("2021-02-11", 16), ("2023-03-24", 16)],
}
MONTHS = [("BTCUSDT", 2021, 4), ("ETHUSDT", 2021, 8), ("BNBUSDT", 2023, 3), ("XRPUSDT", 2021, 2)]
APRIL, ALL = (date(2021, 4, 1), date(2021, 5, 1), date(2021, 4, 8)), (date(2021, 1, 1), *[date(2024, 7, 1)] * 2)
SHORTEST_ABSENCE = 1_000  # candles: stretches that the data lack are longer, but for SOL's 80 on 30 November 2021
EXACT = (*PLAIN, "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")


async def imported(lake: Lake, folder: Path, series: Sequence[Series], first: date, after: date) -> list[SeriesReport]:
    """Import what lies in a folder of the archive's files, over HTTP."""
    market = SyntheticMarket(MarketSeed(seed=1, starts_at=micros(NOW), history_days=0), ["BTCUSDT"])
    options = Options(archive=folder, waits_for_listener=True)
    async with serve(market, Clock(micros(NOW)), options) as found:
        rest = BlockingRest(f"{found.rest}/api/v3")
        return await Run(lake, found.rest, rest, now=lambda: NOW).run(Order(series, first, after))


def assert_equal(stored: pd.DataFrame, frame: pd.DataFrame, names: Sequence[str] = EXACT) -> None:
    """The same windows, and the same numbers in them as the file prints."""
    at = frame["open_time"].astype("datetime64[us]").astype("int64").to_numpy()
    np.testing.assert_array_equal(stored["opened_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy(), at)
    for name in names:
        np.testing.assert_array_equal(stored[name].to_numpy(), frame[name].astype(float).round(8).to_numpy(), name)


def outages(report: SeriesReport) -> list[tuple[str, int]]:
    return [(str(hole.start.date()), hole.windows) for hole in report.holes if hole.windows < SHORTEST_ABSENCE]


@pytest.mark.data
@pytest.mark.parametrize(("symbol", "year", "month"), MONTHS)
async def test_a_month_with_an_outage_comes_over_and_the_outage_is_named(
    data: Path, tmp_path: Path, symbol: str, year: int, month: int
) -> None:
    frame = five_columns(data, symbol)
    first, after = date(year, month, 1), date(year, month + 1, 1)
    frame = frame[(frame["open_time"].dt.date >= first) & (frame["open_time"].dt.date < after)]
    lay_out(tmp_path / "archive", symbol, frame, has_header=symbol == "ETHUSDT")
    lake = Lake(str(tmp_path / "lake"))
    (report,) = await imported(lake, tmp_path / "archive", [Series(symbol, "klines", "5m")], first, after)
    assert (report.failed, report.refused, report.stored) == ([], 0, len(frame))
    assert_equal(lake.candle_frame([symbol]), frame)
    within = [each for each in OUTAGES[symbol] if each[0].startswith(f"{year}-{month:02}")]
    assert outages(report) == within


@pytest.mark.data
async def test_klines_of_2025_with_all_columns_come_over_and_what_they_lack_is_named(
    data: Path, tmp_path: Path
) -> None:
    frames = {symbol: twelve_columns(data, symbol) for symbol in FIVE}
    for number, (symbol, frame) in enumerate(frames.items()):
        lay_out(tmp_path / "archive", symbol, frame, has_header=number % 2 == 1)
    lake, series = Lake(str(tmp_path / "lake")), [Series(symbol, "klines", "5m") for symbol in FIVE]
    reports = await imported(lake, tmp_path / "archive", series, date(2025, 8, 1), date(2025, 10, 1))
    for report, (symbol, frame) in zip(reports, frames.items(), strict=True):
        assert (report.failed, report.refused, report.stored) == ([], 0, len(frame))
        assert_equal(lake.candle_frame([symbol]), frame)
        lacks = ["223 candles from 2025-09-20 05:30 to 2025-09-21 00:05 UTC"]
        assert list(map(str, report.holes)) == (lacks if symbol in FIVE[:3] else [])


def windows(rows: pa.Table, length: int) -> dict[int, Window]:
    """Return the candles' windows of `length` µs as the live builder sums them up, where no minute is missing."""
    names = ["open", "high", "low", "close", "volume", "quote_volume", "trade_count"]
    names += ["taker_buy_volume", "taker_buy_quote_volume"]
    units = [rows[name].cast(pa.decimal128(38, 8)).to_pylist() for name in names]
    found, counts = dict[int, Window](), dict[int, int]()
    for at, *values in zip(rows["opened_at"].cast(pa.int64()).to_pylist(), *units, strict=True):
        start, number = at - at % length, at // MINUTE
        part = Window(start, first_trade_id=number, last_trade_id=number)
        for name, value in zip(names, values, strict=True):
            setattr(part, name, int(value.scaleb(8)))
        part.trade_count = 1
        found.setdefault(start, Window(start)).merge(part)
        counts[start] = counts.get(start, 0) + 1
    return {start: window for start, window in found.items() if counts[start] == length // MINUTE}


async def assert_minutes_make(data: Path, folder: Path, symbol: str, first: date, after: date, end: date) -> int:
    """Import candles of 1m and of 5m up to `end`; those of 5m are the sums of those of 1m; return how many were compared."""
    lake, archive = Lake(str(folder / "lake")), folder / "archive"
    for interval in ("1m", "5m"):
        frame = five_columns(data, symbol, interval)
        frame = frame[(frame["open_time"].dt.date >= first) & (frame["open_time"].dt.date < end)]
        lay_out(archive, symbol, frame, has_header=interval == "1m", interval=interval)
        (report,) = await imported(lake, archive, [Series(symbol, "klines", interval)], first, after)
        assert (report.stored, report.refused) == (len(frame), 0)
    summed = windows(lake.candles([symbol], "1m"), INTERVALS["5m"])
    compared = 0
    for candle in lake.candles([symbol], "5m").select(["opened_at", *PLAIN]).to_pylist():
        window = summed.get(micros(candle.pop("opened_at")))
        if window is not None:
            compared += 1
            assert {name: int(value.scaleb(8)) for name, value in candle.items()} == {
                name: getattr(window, name) for name in PLAIN
            }
    return compared


@pytest.mark.data
async def test_candles_of_one_minute_summed_up_by_the_live_code_are_those_of_five(data: Path, tmp_path: Path) -> None:
    assert await assert_minutes_make(data, tmp_path, "BTCUSDT", *APRIL) > 1_900


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "at_least"), [("BTCUSDT", 53_999), ("ETHUSDT", 52_892)])
async def test_every_candle_of_one_minute_there_is_goes_into_one_of_five(
    data: Path, tmp_path: Path, symbol: str, at_least: int
) -> None:
    assert await assert_minutes_make(data, tmp_path, symbol, *ALL) == at_least


@pytest.mark.data
@pytest.mark.slow
async def test_all_years_of_five_symbols_come_over_and_all_outages_are_named(data: Path, tmp_path: Path) -> None:
    frames = {symbol: five_columns(data, symbol) for symbol in FIVE}
    for symbol, frame in frames.items():
        lay_out(tmp_path / "archive", symbol, frame, has_header=False)
    lake, series = Lake(str(tmp_path / "lake")), [Series(symbol, "klines", "5m") for symbol in FIVE]
    reports = await imported(lake, tmp_path / "archive", series, date(2021, 1, 1), date(2024, 9, 1))
    for report, (symbol, frame) in zip(reports, frames.items(), strict=True):
        assert (report.failed, report.refused, report.stored) == ([], 0, len(frame))
        assert_equal(lake.candle_frame([symbol]), frame)
        assert [each for each in outages(report) if each != ("2021-11-30", 80)] == OUTAGES[symbol]
