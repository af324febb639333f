"""A full disk, no network, damaged files, lakes that cannot take it: each is said in a sentence, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.lake.store import Lake
from streaming.backfill import run as module
from streaming.backfill import trade_files
from streaming.backfill.download import Downloader, Fetched
from streaming.backfill.reports import Order
from streaming.backfill.run import Run
from tests.unit.streaming.backfill.conftest import AFTER, DAYS, FIRST, NOW, SYMBOLS, Sites

NOWHERE = "http://127.0.0.1:9"
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=6m tmpfs "$DISK" && head -c "$BALLAST" /dev/zero > "$DISK/ballast" &&
{ "$@"; echo "$?" >&2; } && rm "$DISK/ballast" && "$@"
"""


@pytest.mark.parametrize("left", [8, 160, 300])
async def test_a_full_disk_is_said_and_with_room_again_all_of_it_comes(site: Sites, tmp_path: Path, left: int) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("FULL DISK NOT TRIED: there is no unshare to mount a small disk with")
    disk = tmp_path / "disk"
    disk.mkdir()
    async with site() as it:
        own = {"QUANTSTREAM_ENDPOINTS__ARCHIVE": it.base, "QUANTSTREAM_ENDPOINTS__REST": it.base}
        own |= {"QUANTSTREAM_STATE": str(disk), "DISK": str(disk), "BALLAST": str((6 * 1024 - left) * 1024)}
        asked = ["backfill", "--from", str(FIRST), "--to", str(AFTER), "--symbols", ",".join(SYMBOLS), "--json"]
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"),
            *(sys.executable, "-m", "streaming", *asked),
            env={**os.environ, **own},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, said = (part.decode() for part in await process.communicate())
    if "mount" in said or "unshare" in said:
        pytest.skip(f"FULL DISK NOT TRIED: no small disk can be mounted here: {said.strip()[:200]}")
    sentence, code = [line for line in said.splitlines() if not line.endswith(" to go")]  # progress, where it is slow
    assert code == "2"
    assert sentence.startswith("backfill: ")
    assert "no room" in sentence or "No space left" in sentence
    reports = json.loads(output.splitlines()[-1])
    rows = {name: one["stored"] for name, one in reports.items()}
    assert all(one["is_whole"] for one in reports.values()), reports
    assert all(0 <= count <= DAYS * 288 for count in rows.values())
    assert process.returncode == 0


async def test_without_a_way_to_the_archive_rest_tells_and_without_any_that_is_said(site: Sites, lake: Lake) -> None:
    order = Order([Series("BTCUSDT", "klines", "5m")], date(2025, 11, 3), AFTER)
    async with site() as it:
        run = Run(lake, NOWHERE, BlockingRest(f"{it.base}/api/v3"), say=it.said.append, now=lambda: NOW)
        (report,) = await run.run(order)
        assert (report.stored, report.by_rest, report.is_whole) == (2 * 288, 2, True)
        assert "Cannot connect to host 127.0.0.1:9" in it.said[0]
    run = Run(Lake(f"{lake.url}-2"), NOWHERE, BlockingRest(f"{NOWHERE}/api/v3", tries=2), now=lambda: NOW)
    with pytest.raises(Unavailable, match=r"the exchange at http://127.0.0.1:9/api/v3 did not answer /klines after 2"):
        await run.run(order)
    trades = Order([Series("BTCUSDT", "trades")], date(2025, 10, 3), date(2025, 10, 4))
    with pytest.raises(Unavailable, match=r"the archive at http://127.0.0.1:9 did not answer for BTCUSDT-trades-2025"):
        await run.run(trades)


class Truncating(Downloader):
    """The file of one day is damaged, and its checksum is that of the damaged file."""

    async def _bytes(self, file: ArchiveFile) -> Fetched | None:
        found = await super()._bytes(file)
        if found and file.first == FIRST:
            await asyncio.to_thread(lambda: found.path.write_bytes(found.path.read_bytes()[:-400]))
        return found


@pytest.mark.parametrize(("kind", "interval"), [("klines", "5m"), ("trades", ""), ("aggTrades", "")])
async def test_a_damaged_zip_is_named_nothing_of_it_is_written_and_the_others_go_on(
    site: Sites, lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: str, interval: str
) -> None:
    monkeypatch.setattr(trade_files, "PORTION", 500)
    series, order = Series("BNBUSDT", kind, interval), Order([], FIRST, FIRST + timedelta(days=2))
    async with site() as it:
        monkeypatch.setattr(module, "Downloader", Truncating)
        (report,) = await it.run().run(Order([series], order.first, order.after))
        assert (report.files, len(report.failed)) == (1, 1)
        assert "damaged" in report.failed[0]
        first = micros_of(FIRST + timedelta(days=1))
        for name, at in (("candles", "opened_at"), *((("trades", "traded_at"),) if kind != "klines" else ())):
            assert min(lake.read(name)[at].cast(pa.int64()).to_pylist()) >= first
        monkeypatch.undo()
        (report,) = await it.run().run(Order([series], order.first, order.after))
        assert (report.files, report.done_before, report.is_whole) == (1, 1, True)


def micros_of(day: date) -> int:
    return trade_files.midnight(day)


@pytest.mark.parametrize(("kind", "interval"), [("klines", "5m"), ("trades", "")])
async def test_a_lake_of_a_newer_version_is_not_written_and_that_is_said_before_anything_is_fetched(
    lake: Lake, kind: str, interval: str
) -> None:
    lake.add_columns("candles", [pa.field("tomorrows", pa.string())], {})
    run = Run(lake, NOWHERE, BlockingRest(f"{NOWHERE}/api/v3"), now=lambda: NOW)
    with pytest.raises(Misconfigured, match=r"candles was written by a newer version: it has tomorrows"):
        await run.run(Order([Series("BTCUSDT", kind, interval)], FIRST, AFTER))


async def test_two_markets_do_not_come_into_one_lake(site: Sites, lake: Lake) -> None:
    async with site() as it:
        await it.backfill("BTCUSDT", first=date(2025, 11, 4))
        perpetual = Order([Series("BTCUSDT", "aggTrades", "", "futures/um")], FIRST, AFTER)
        with pytest.raises(Misconfigured, match=r"holds BTCUSDT of spot, another instrument"):
            await it.run().run(perpetual)


async def test_a_commit_that_is_refused_in_the_middle_leaves_the_ledger_right(
    site: Sites, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, commits = Lake.append, [0]

    def full(self: Lake, *given: object, **more: object) -> None:
        commits[0] += 1
        if commits[0] == 2:
            raise Unavailable("the lake table trades did not take a commit: No space left on device")
        append(self, *given, **more)  # type: ignore[arg-type]

    series = Series("BNBUSDT", "trades")
    async with site() as it:
        monkeypatch.setattr(trade_files, "PORTION", 500)
        monkeypatch.setattr(Lake, "append", full)
        with pytest.raises(Unavailable, match="No space left"):
            await it.run().run(Order([series], FIRST, FIRST + timedelta(days=1)))
        (report,) = await it.run().run(Order([series], FIRST, FIRST + timedelta(days=1)))
        assert 500 <= report.present < report.rows == report.present + report.stored
        assert report.is_whole
        rows = lake.read("trades")
        assert rows.num_rows == report.rows == len(set(rows["id"].to_pylist()))
