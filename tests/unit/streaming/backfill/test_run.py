"""Backfill from the simulated exchange's archive: all of it, once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from quantstream.binance.archive import Series
from quantstream.core.errors import QuantStreamError, Unavailable
from quantstream.lake.store import Lake
from streaming.backfill import download
from streaming.backfill import run as module
from streaming.exchange.faults import Fault
from tests.unit.streaming.backfill.conftest import AFTER, DAYS, FIRST, SYMBOLS, Sites


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


async def test_an_archive_that_is_away_is_said_and_what_is_done_stays(site: Sites) -> None:
    async with site() as it:
        await it.backfill("BTCUSDT", first=date(2025, 11, 3))
        it.faults.order(Fault(kind="archive_500", probability=1.0))
        with pytest.raises(Unavailable, match=r"the archive at .* did not answer for BTCUSDT-5m-2025-11-02.zip"):
            await it.backfill("BTCUSDT", first=date(2025, 11, 2))
        it.faults.clear()
        assert (await it.backfill("BTCUSDT", first=date(2025, 11, 2)))["BTCUSDT"].stored == 288


async def test_no_room_for_the_files_is_said_in_a_sentence(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with site() as it:
        monkeypatch.setattr(download.Path, "open", full)
        with pytest.raises(
            Unavailable, match=r"there is no room in .*; make some and start again: nothing is repeated"
        ):
            await it.backfill("BTCUSDT", first=date(2025, 11, 3))


def test_progress_says_how_far_how_fast_and_how_long() -> None:
    said, now = list[str](), [0.0]
    progress = module.Progress(100, said.append, lambda: now[0])
    for number in range(60):
        now[0] = 0.2 * (number + 1)
        file = next(iter(module.files_between(Series("BTCUSDT", "klines", "5m"), FIRST, AFTER)))
        progress.add(file, 8_928)
    assert said == [
        "BTCUSDT 5m klines, 2025-09-29: 25 of 100 files, 223,200 rows, 44,640 rows/s, about 15 s to go",
        "BTCUSDT 5m klines, 2025-09-29: 50 of 100 files, 446,400 rows, 44,640 rows/s, about 10 s to go",
    ]
