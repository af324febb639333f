"""The command as people use it: killed in the middle, misused, and against nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from quantstream.binance.archive import Series
from quantstream.lake.store import Lake
from streaming.backfill import cli
from streaming.backfill.ledger import Ledger
from streaming.exchange.faults import Fault
from tests.unit.streaming.backfill.conftest import AFTER, DAYS, FIRST, SYMBOLS, Site, Sites


async def command(it: Site, *arguments: str) -> asyncio.subprocess.Process:
    """Start the command against the served archive."""
    own = {
        "QUANTSTREAM_ENDPOINTS__ARCHIVE": it.base,
        "QUANTSTREAM_ENDPOINTS__REST": it.base,
        "QUANTSTREAM_LAKE": it.lake.url,
        "QUANTSTREAM_SYMBOLS": "BTCUSDT",
    }
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streaming", "backfill", *arguments),
        env={**os.environ, **own},
        stdout=pipe,
        stderr=pipe,
    )


async def test_killed_in_the_middle_and_started_again_it_repeats_nothing(site: Sites, lake: Lake) -> None:
    async with site() as it:
        it.faults.order(Fault(kind="archive_500", probability=0.2))  # so that it takes a while
        asked = "--from", str(FIRST), "--to", str(AFTER), "--symbols", "BTCUSDT,BNBUSDT", "--connections", "1"
        process = await command(it, *asked)
        series = Series("BTCUSDT", "klines", "5m")
        while not await asyncio.to_thread(lambda: lake.progress("candles", series.application) is not None):
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        assert list(Path(lake.url).parent.glob(".backfill-*"))
        before = [Ledger(lake, "candles", Series(name, "klines", "5m")).kept for name in SYMBOLS]
        it.faults.clear()
        process = await command(it, *asked, "--json")
        output, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()
        for symbol, kept in zip(SYMBOLS, before, strict=True):
            report = json.loads(output)[f"{symbol} 5m klines"]
            assert (report["done_before"], report["stored"]) == (len(kept.files), DAYS * 288 - kept.rows)
            assert it.stored(symbol).equals(await it.truth(symbol))
        assert before[0].rows > 0
        assert not list(Path(lake.url).parent.glob(".backfill-*"))


async def test_what_it_says(site: Sites) -> None:
    async with site() as it:
        process = await command(it, "--from", "2025-11-01", "--symbols", "BTCUSDT,NOSUCHUSDT", "--to", "2025-11-04")
        output, complaints = await process.communicate()
    assert (process.returncode, complaints) == (cli.NOT_WHOLE, b"")
    assert output.decode().splitlines() == [
        "BTCUSDT 5m klines: 864 candles written, 0 were there already, of 864 rows in 3 files",
        "NOSUCHUSDT 5m klines: 0 candles written, 0 were there already, of 0 rows in 0 files",
        "  not in the archive: 2025-11-01 to 2025-11-03",
        f"  refused: the exchange at {it.base}/api/v3 knows no symbol NOSUCHUSDT (-1121); its /exchangeInfo names those it has; "
        "correct QUANTSTREAM_SYMBOLS",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "yesterday"], "--from 'yesterday' is no day; write it like 2024-01-31"),
        (["--from", "2024-02-30"], "--from '2024-02-30' is no day; write it like 2024-01-31"),
        (["--from", "2024-02-02", "--to", "2024-02-01"], "--from 2024-02-02 does not lie before --to 2024-02-01"),
        (["--from", "1999-01-01"], "nothing in the archive is older than 2017-01-01"),
        (["--from", "2024-01-01", "--to", "2099-01-01"], "--to 2099-01-01 is not over yet"),
        (["--from", "2024-01-01", "--symbols", "btc/usdt"], "'btc/usdt' is no symbol; write it as the exchange does"),
        (["--from", "2024-01-01", "--interval", "7m"], "klines have one of the intervals 1m"),
        (["--from", "2024-01-01", "--connections", "0"], "--connections 0: give 1 to 32"),
        (["--from", "2024-01-01", "--kind", "trades", "--market", "futures/um"], "a lake holds one market"),
        (["--days"], "unrecognized arguments: --days; see python -m streaming backfill --help"),
    ],
)
def test_misuse_is_answered_in_a_sentence(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("QUANTSTREAM_STATE", str(tmp_path))
    monkeypatch.setattr(cli, "exchange_time", lambda rest: 1_762_331_280_000_000)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
