"""Backfill from the simulated exchange's archive: all of it, once, whatever fails on the way."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from quantstream.binance.archive import Series
from quantstream.core.errors import QuantStreamError, Unavailable
from quantstream.lake.store import Lake
from streaming.backfill import download
from streaming.backfill import run as module
from streaming.backfill.reports import Order, Progress
from streaming.backfill.run import Run
from streaming.exchange.faults import Fault
from tests.unit.streaming.backfill.conftest import AFTER, DAYS, FIRST, NOW, SYMBOLS, Sites


async def test_months_days_and_what_is_not_archived_come_together_and_equal_rest(site: Sites) -> None:
    async with site() as it:
        found = await it.backfill(*SYMBOLS)
        for symbol in SYMBOLS:
            assert it.stored(symbol).equals(await it.truth(symbol))
            report = found[symbol]
            assert (report.files, report.stored, report.is_whole) == (1 + 2 + 4, DAYS * 288, True)
        again = (await it.backfill(*SYMBOLS))["BTCUSDT"]
    assert (again.files, again.stored, again.done_before, again.is_whole) == (0, 0, 7, True)


async def test_candles_that_are_there_stay_and_are_not_repeated(site: Sites, lake: Lake) -> None:
    async with site() as it:
        truth = await it.truth("BTCUSDT")
        lake.append("candles", truth.slice(1_000, 500))
        report = (await it.backfill("BTCUSDT"))["BTCUSDT"]
        assert (report.stored, report.present) == (DAYS * 288 - 500, 500)
        assert it.stored("BTCUSDT").equals(truth)


async def test_of_a_file_that_the_archive_lacks_rest_tells_while_it_is_new(site: Sites) -> None:
    async with site() as it:
        it.faults.order(Fault(kind="archive_absent", count=2))
        report = (await it.backfill("BTCUSDT", first=date(2025, 11, 1)))["BTCUSDT"]
        assert (report.by_rest, report.stored, report.is_whole) == (2, 4 * 288, True)
        assert it.stored("BTCUSDT").equals(await it.truth("BTCUSDT", date(2025, 11, 1)))


async def test_an_archive_that_fails_and_damages_is_asked_again(site: Sites) -> None:
    async with site() as it:
        it.faults.order(Fault(kind="archive_500", probability=0.3))
        it.faults.order(Fault(kind="archive_damaged", count=3))
        report = (await it.backfill("BTCUSDT", first=date(2025, 10, 1)))["BTCUSDT"]
        assert (report.stored, report.is_whole) == (35 * 288, True)
        assert it.faults.injected["archive_damaged"] == 3


async def test_one_damaged_file_is_named_and_the_others_go_on(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as it:
        monkeypatch.setattr(module, "Downloader", Corrupting)
        report = (await it.backfill("BTCUSDT"))["BTCUSDT"]
        assert (report.stored, len(report.failed)) == ((DAYS - 1) * 288, 1)
        assert "BTCUSDT-5m-2025-11-02.zip is not what the archive says" in report.failed[0]
        assert [hole.windows for hole in report.holes] == [288]
        monkeypatch.undo()
        report = (await it.backfill("BTCUSDT"))["BTCUSDT"]
        assert (report.files, report.stored, report.is_whole) == (1, 288, True)


class Corrupting(download.Downloader):
    """One file always comes with a wrong byte."""

    async def _bytes(self, file: module.ArchiveFile) -> download.Fetched | None:
        found = await super()._bytes(file)
        return found._replace(sha256="0" * 64) if found and "11-02" in file.name else found


async def test_a_symbol_that_nobody_knows_is_named(site: Sites) -> None:
    async with site() as it:
        report = (await it.backfill("NOSUCHUSDT", "BTCUSDT", first=date(2025, 11, 3)))["NOSUCHUSDT"]
    assert (report.stored, len(report.absent), report.is_whole) == (0, 2, False)
    assert "NOSUCHUSDT" in report.reasons[0]


async def test_of_two_runs_at_once_one_is_told_to_wait_and_nothing_is_doubled(site: Sites) -> None:
    async with site() as it:
        both = await asyncio.gather(it.backfill("BTCUSDT"), it.backfill("BTCUSDT"), return_exceptions=True)
        refused = [each for each in both if isinstance(each, QuantStreamError)]
        assert not [each for each in both if isinstance(each, BaseException) and each not in refused]
        assert all("another import of BTCUSDT 5m klines" in str(each) for each in refused)
        await it.backfill("BTCUSDT")
        assert it.stored("BTCUSDT").equals(await it.truth("BTCUSDT"))


async def test_while_the_archive_is_away_rest_tells_of_what_is_new_and_of_years_that_is_said(site: Sites) -> None:
    async with site() as it:
        it.faults.order(Fault(kind="archive_500", probability=1.0))
        report = (await it.backfill("BTCUSDT", first=date(2025, 11, 2)))["BTCUSDT"]
        assert (report.stored, report.by_rest, report.is_whole) == (3 * 288, 3, True)
        assert it.stored("BTCUSDT").equals(await it.truth("BTCUSDT", date(2025, 11, 2)))
        (said,) = it.said
        assert re.search(
            r"did not answer for BTCUSDT-5m-2025-11-0\d.zip in 6 tries: HTTP 503; REST is asked instead", said
        )
        with pytest.raises(Unavailable, match=r"the archive at .* did not answer for BTCUSDT-5m-2025-0[78].zip"):
            await it.backfill("BTCUSDT", first=date(2025, 7, 1))
        it.faults.clear()
        assert (await it.backfill("BTCUSDT", first=date(2025, 11, 1)))["BTCUSDT"].stored == 288


async def test_without_an_archive_rest_tells_all_of_it(site: Sites) -> None:
    async with site() as it:
        run = Run(it.lake, "", it.run().rest, now=lambda: NOW)
        (report,) = await run.run(Order([Series("BTCUSDT", "klines", "5m")], FIRST, AFTER))
        assert (report.stored, report.is_whole) == (DAYS * 288, True)
        assert it.stored("BTCUSDT").equals(await it.truth("BTCUSDT"))


async def test_of_a_day_that_is_not_over_rest_tells_up_to_now_and_the_rest_on_the_next_run(site: Sites) -> None:
    async with site() as it:
        today, tomorrow = NOW.date(), NOW.date() + timedelta(days=1)
        report = (await it.backfill("BTCUSDT", first=today, after=tomorrow))["BTCUSDT"]
        assert (report.stored, report.by_rest, report.is_whole) == (8 * 12 + 5, 1, True)  # the window of 8:25 is open
        again = (await it.backfill("BTCUSDT", first=today, after=tomorrow))["BTCUSDT"]
        assert (again.files, again.present_before, again.done_before) == (0, 1, 0)


async def test_what_is_new_is_left_to_the_live_path_from_its_first_trade_on(site: Sites, lake: Lake) -> None:
    async with site() as it:
        trade = {"symbol": "BTCUSDT", "id": 9, "first_trade_id": 9, "last_trade_id": 9, "price": Decimal(1)}
        trade |= {"quantity": Decimal(1), "buyer_is_maker": False, "origin": "live", "received_at": None}
        imported = trade | {"origin": "archive", "traded_at": datetime(2025, 9, 1, tzinfo=UTC)}
        lived = trade | {"traded_at": datetime(2025, 11, 4, 7, 33, tzinfo=UTC)}
        lake.append("trades", pa.Table.from_pylist([imported, lived, lived | {"symbol": "BNBUSDT"}]))
        report = (await it.backfill("BTCUSDT", first=date(2025, 11, 1)))["BTCUSDT"]
        assert (report.stored, report.left, report.is_whole) == (3 * 288 + 7 * 12 + 6, 288 - 7 * 12 - 6, True)
        assert max(lake.read("candles")["opened_at"].to_pylist()) == datetime(2025, 11, 4, 7, 25, tzinfo=UTC)
        later = Run(lake, it.base, it.run().rest, now=lambda: NOW + timedelta(days=3))
        (report,) = await later.run(Order([Series("BTCUSDT", "klines", "5m")], date(2025, 11, 1), AFTER))
        assert (report.done_before, report.stored, report.left) == (
            3,
            288 - 7 * 12 - 6,
            0,
        )  # the live path brought none


async def test_no_room_for_the_files_is_said_in_a_sentence(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with site() as it:
        monkeypatch.setattr(download.Path, "open", full)
        with pytest.raises(
            Unavailable, match=r"there is no room in .*; make some and start again: nothing is repeated"
        ):
            await it.backfill("BTCUSDT", first=date(2025, 11, 3))


def test_progress_says_how_far_how_fast_and_how_long_whether_files_are_months_or_days() -> None:
    said, now = list[str](), [0.0]
    files = list(module.files_between(Series("BTCUSDT", "klines", "5m"), FIRST, date(2026, 1, 1)))
    progress = Progress(sum(file.length for file in files), said.append, lambda: now[0])
    october = files[2]
    for file in [*files[:2], *october.days(), *files[3:]]:
        now[0] += 0.2 * file.length
        progress.add(file, 288 * file.length)
    assert said == [
        "BTCUSDT 5m klines, 2025-10-23: 25 of 94 days, 7,200 rows, 1,440 rows/s, about 14 s to go",
        "BTCUSDT 5m klines, 2025-11-01: 63 of 94 days, 18,144 rows, 1,440 rows/s, about 6 s to go",
        "BTCUSDT 5m klines, 2025-12-01: 94 of 94 days, 27,072 rows, 1,440 rows/s, about 0 s to go",
    ]
