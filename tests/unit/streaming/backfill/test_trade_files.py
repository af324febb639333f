"""Trades of the archive: rows of the table of trades, and the candles that a life through the same days would have brought."""

from __future__ import annotations

import asyncio
import random
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.binance.rest import BlockingRest, open_session
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.errors import DataRejected, QuantStreamError
from quantstream.core.time import micros
from quantstream.core.trade import Trade
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.lake.trades import trades_of
from streaming.backfill import download, trade_files, trade_sources
from streaming.backfill import run as run_module
from streaming.backfill.imports import midnight
from streaming.backfill.ledger import Ledger
from streaming.backfill.reports import Order, SeriesReport
from streaming.backfill.trade_files import TradeImport
from streaming.exchange.faults import Fault
from streaming.recordings.found import Refused
from streaming.sink.symbol_state import sink_accounts, stored_rows
from tests.unit.streaming.backfill.conftest import NOW, Site, Sites

FIRST, AFTER = date(2025, 10, 30), date(2025, 11, 2)


async def backfill(
    it: Site, kind: str, first: date = FIRST, after: date = AFTER, symbol: str = "BNBUSDT"
) -> SeriesReport:
    (report,) = await it.run().run(Order([Series(symbol, kind)], first, after))
    return report


def lived(it: Site, interval: str) -> pa.Table:
    """Return the candles that the live builder makes of the stored trades, one by one."""
    rows = it.lake.read("trades", ["BNBUSDT"]).sort_by("first_trade_id")
    builder = CandleBuilder("BNBUSDT", ("1m", "5m"), 500_000)
    builder.heartbeat(midnight(FIRST) - 1)
    candles = [candle for trade in trades_of(rows) for candle in builder.add(trade)]
    candles += builder.heartbeat(midnight(AFTER) + 500_000)
    return candle_rows(sorted((c for c in candles if c.interval == interval), key=lambda candle: candle.opened_at))


def stored(it: Site, interval: str) -> pa.Table:
    rows = it.stored("BNBUSDT")
    return rows.filter(pc.equal(rows["interval"], interval))


def rows_of(it: Site) -> pa.Table:
    """Return the stored trades; of one time there may be many, so in order of id."""
    return it.lake.read("trades").sort_by("id").combine_chunks()


@pytest.mark.parametrize("kind", ["trades", "aggTrades"])
async def test_a_backfilled_stretch_is_the_same_as_one_that_was_lived_through(
    site: Sites,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    async with site() as it:
        report = await backfill(it, kind)
        assert (report.files, report.is_whole, report.reasons) == (3, True, [])
        for interval in ("1m", "5m"):
            assert stored(it, interval).equals(lived(it, interval))
        truth = await it.truth("BNBUSDT", FIRST, AFTER)
        own = ["is_complete", "opened_at", "open", "high", "low", "close", "volume", "quote_volume", "trade_count"]
        for name in own:
            assert stored(it, "5m")[name].to_pylist() == truth[name].to_pylist(), name
        count = it.lake.rows("trades")["BNBUSDT"]
        again = await backfill(it, kind)
    assert (again.files, again.done_before, it.lake.rows("trades")["BNBUSDT"]) == (0, 3, count)


async def test_day_by_day_gives_what_all_at_once_gives(
    site: Sites,
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trade_files, "PORTION", 1_000)
    async with site() as it:
        await backfill(it, "trades")
        other = Site(it.base, it.faults, Lake(str(tmp_path / "other")))
        for number in range(3):
            await backfill(other, "trades", FIRST + timedelta(days=number), FIRST + timedelta(days=number + 1))
        assert other.stored("BNBUSDT").equals(it.stored("BNBUSDT"))
        assert rows_of(other).equals(rows_of(it))


async def test_trades_that_the_lake_has_are_not_repeated_and_the_sinks_balance_still_closes(
    site: Sites,
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site() as it:
        whole = Site(it.base, it.faults, Lake(str(tmp_path / "whole")))
        await backfill(whole, "trades")
        rows = rows_of(whole)
        ids = rows["id"].to_numpy()
        middle = rows.filter(pa.array((ids > np.quantile(ids, 0.4)) & (ids < np.quantile(ids, 0.5))))
        lake.append("trades", middle)  # as by the live path
        report = await backfill(it, "trades")
        assert (report.present, report.stored) == (middle.num_rows, rows.num_rows - middle.num_rows)
        assert rows_of(it)["id"].equals(rows["id"])
    assert sink_accounts(lake) == ({}, {"BNBUSDT": middle.num_rows})
    assert stored_rows(lake, lake.table("trades"))("any", "BNBUSDT") == middle.num_rows


async def test_a_row_that_is_no_trade_is_counted_as_refused_and_as_nothing_else(
    site: Sites, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = trade_sources.read_found
    odd = [Refused(1, "it is no trade"), Refused(2, "nor is it")]
    monkeypatch.setattr(trade_sources, "read_found", lambda *given: [*odd, *read(*given)])
    async with site() as it:
        report = await backfill(it, "trades", FIRST, FIRST + timedelta(days=1))
    assert (report.present, report.refused, report.rows) == (0, 2, report.stored + 2)


async def test_a_run_that_was_killed_between_its_commits_repeats_nothing(
    site: Sites,
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trade_files, "PORTION", 500)
    async with site() as it:
        whole = Site(it.base, it.faults, Lake(str(tmp_path / "whole")))
        await backfill(whole, "trades")
        append, commits = Lake.append, [0]

        def killed(*given: object, **more: object) -> None:
            commits[0] += 1
            if commits[0] % 3 == 0:
                raise KeyboardInterrupt
            append(*given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Lake, "append", killed)
        runs = 0
        while runs < 1_000:
            runs += 1
            try:
                await backfill(it, "trades")
                break
            except KeyboardInterrupt:
                continue
        monkeypatch.setattr(Lake, "append", append)
        assert runs > 3
        assert rows_of(it).equals(rows_of(whole))
        assert it.stored("BNBUSDT").equals(whole.stored("BNBUSDT"))
        assert stored_rows(it.lake, it.lake.table("trades"))("any", "BNBUSDT") == 0


def shuffled(path: Path) -> None:
    """Write the rows of an archive's file in another order."""
    with zipfile.ZipFile(path) as packed:
        (name,) = packed.namelist()
        lines = packed.read(name).decode().splitlines()
    random.Random(5).shuffle(lines)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, "\n".join(lines))


class Shuffling(download.Downloader):
    """The file of one day comes with its rows in another order."""

    async def _bytes(self, file: ArchiveFile) -> download.Fetched | None:
        found = await super()._bytes(file)
        if found and file.first == FIRST + timedelta(days=1):
            await asyncio.to_thread(shuffled, found.path)
        return found


@pytest.mark.parametrize("portion", [500, 500_000])
@pytest.mark.parametrize("kind", ["trades", "aggTrades"])
async def test_a_file_out_of_order_gives_what_it_gives_in_order(
    site: Sites, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, portion: int
) -> None:
    monkeypatch.setattr(trade_files, "PORTION", portion)
    async with site() as it:
        whole = Site(it.base, it.faults, Lake(str(tmp_path / "whole")))
        await backfill(whole, kind)
        monkeypatch.setattr(run_module, "Downloader", Shuffling)
        report = await backfill(it, kind)
        assert (report.is_whole, report.rows, report.present) == (True, report.stored, 0)
        assert rows_of(it).equals(rows_of(whole))
        assert it.stored("BNBUSDT").equals(whole.stored("BNBUSDT"))


async def test_of_rows_that_contradict_each_other_in_a_file_out_of_order_none_is_written(
    site: Sites, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trade_files, "PORTION", 500)
    async with site() as it:
        folder = Path(lake.url).parent
        day = ArchiveFile(Series("BNBUSDT", "trades"), FIRST, FIRST + timedelta(days=1))
        async with open_session(it.base) as session:
            fetched = await download.Downloader(session, it.base, folder).fetch(day)
        assert fetched is not None
        with zipfile.ZipFile(fetched.path) as packed:
            rows = packed.read(packed.namelist()[0]).decode().splitlines()
        first = rows[0].split(",")
        with zipfile.ZipFile(fetched.path, "w") as packed:
            packed.writestr("BNBUSDT.csv", "\n".join([*rows, ",".join([first[0], "1.00000000", *first[2:]]), rows[5]]))
        series, rest = day.series, BlockingRest(f"{it.base}/api/v3")
        ledgers = Ledger(lake, "trades", series), Ledger(lake, "candles", series)
        importer = TradeImport(lake, *ledgers, ("1m", "5m"), 500_000, rest, rest, folder)
        (done,) = (await asyncio.to_thread(importer.add, day, fetched, micros(NOW)))[1]
    entry = done.entry
    assert (entry.rows, entry.stored, entry.duplicates, entry.refused) == (len(rows) + 2, len(rows) - 1, 1, 2)
    assert sum("tells otherwise" in reason for reason in done.reasons) == 2
    assert int(first[0]) not in lake.read("trades")["id"].to_pylist()


@pytest.mark.parametrize("is_large", [False, True])
def test_of_answers_that_turn_out_of_order_midway_no_row_is_written(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    price = 10**19 if is_large else 5 * 10**8  # more than a column takes
    at = midnight(FIRST)
    told = [Trade("BNBUSDT", n, n, n, price, 10**8, at + n * 1_000_000, False) for n in range(1, 2001)]
    pages = [told[first : first + 100] for first in range(0, 2000, 100)]
    monkeypatch.setattr(trade_files, "PORTION", 500)
    monkeypatch.setattr(trade_files, "over_rest", lambda *_: iter([*pages[:15], pages[3], *pages[15:]]))
    series, rest = Series("BNBUSDT", "trades"), BlockingRest("http://nowhere")
    ledgers = Ledger(lake, "trades", series), Ledger(lake, "candles", series)
    importer = TradeImport(lake, *ledgers, ("1m", "5m"), 500_000, rest, rest, tmp_path)
    day = ArchiveFile(series, FIRST, FIRST + timedelta(days=1))
    with pytest.raises(DataRejected, match="another order than that of their ids; nothing was written"):
        importer.add_answers(day, micros(NOW))
    assert lake.read("trades").num_rows == 0
    assert lake.read("candles").num_rows == 0
    monkeypatch.setattr(trade_files, "over_rest", lambda *_: iter(pages))
    found = importer.add_answers(day, micros(NOW))
    assert found is not None
    assert found[0] == lake.read("trades").num_rows == 2000
    assert lake.candles(["BNBUSDT"], "5m").num_rows == 288


@pytest.mark.parametrize("kind", ["trades", "aggTrades"])
async def test_trades_that_are_not_archived_yet_come_over_rest_as_the_archive_has_them(
    site: Sites, lake: Lake, tmp_path: Path, kind: str
) -> None:
    async with site() as it:
        yesterday, today = NOW.date() - timedelta(days=1), NOW.date()
        whole = Site(it.base, it.faults, Lake(str(tmp_path / "whole")))
        await backfill(whole, kind, yesterday, today)
        it.faults.order(Fault(kind="archive_absent", count=1))
        report = await backfill(it, kind, yesterday, today + timedelta(days=1))
        assert (report.by_rest, report.is_whole, report.reasons) == (2, True, [])
        rows = rows_of(it)
        assert rows.slice(0, whole.lake.rows("trades")["BNBUSDT"]).equals(rows_of(whole))
        assert NOW - timedelta(minutes=2) < max(rows["traded_at"].to_pylist()) < NOW
        last = pc.max(stored(it, "1m")["opened_at"]).as_py()
        assert last == datetime(2025, 11, 5, 8, 26, tzinfo=UTC)
        again = await backfill(it, kind, yesterday, today + timedelta(days=1))
        assert (again.done_before, again.stored, again.present) == (1, 0, again.rows)
        assert rows_of(it).num_rows == rows.num_rows


async def test_what_is_new_is_left_to_the_live_sink_and_nothing_is_repeated(
    site: Sites, lake: Lake, tmp_path: Path
) -> None:
    async with site() as it:
        whole = Site(it.base, it.faults, Lake(str(tmp_path / "whole")))
        day = NOW.date() - timedelta(days=1)
        await backfill(whole, "trades", day, day + timedelta(days=1))
        rows = rows_of(whole)
        lived = rows.filter(pc.greater_equal(rows["traded_at"], rows["traded_at"][rows.num_rows // 2]))
        lived = lived.set_column(lived.column_names.index("origin"), "origin", pa.repeat("live", lived.num_rows))
        lake.append("trades", lived.slice(0, 100))
        appended = asyncio.Event()

        async def sink() -> None:
            """Write on while the backfill runs."""
            for start in range(100, lived.num_rows, 100):
                await asyncio.to_thread(lake.append, "trades", lived.slice(start, 100))
                await asyncio.sleep(0)
            appended.set()

        report, _ = await asyncio.gather(backfill(it, "trades", day, day + timedelta(days=1)), sink())
        assert appended.is_set()
        assert report.left == lived.num_rows
        assert rows_of(it)["id"].equals(rows["id"])


async def test_two_series_of_one_symbol_at_once_repeat_nothing(site: Sites, lake: Lake) -> None:
    async with site() as it:
        both = await asyncio.gather(
            backfill(it, "trades"), backfill(it, "aggTrades"), it.backfill("BNBUSDT"), return_exceptions=True
        )
        refused = [each for each in both if isinstance(each, QuantStreamError)]
        assert not [each for each in both if isinstance(each, BaseException) and each not in refused]
        assert all("another import" in str(each) for each in refused), refused
        rows = lake.read("trades").sort_by("first_trade_id")
        first, last = rows["first_trade_id"].to_numpy(), rows["last_trade_id"].to_numpy()
        assert (first[1:] > last[:-1]).all()
        keys = lake.read("candles", columns=["interval", "opened_at"])
        assert keys.group_by(["interval", "opened_at"]).aggregate([]).num_rows == keys.num_rows
