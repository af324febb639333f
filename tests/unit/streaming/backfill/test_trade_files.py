"""Trades of the archive: rows of the table of trades, and the candles that a life through the same days would have brought."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quantstream.binance.archive import Series
from quantstream.core.candle_builder import CandleBuilder
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.lake.trades import trades_of
from streaming.backfill import trade_files
from streaming.backfill.imports import midnight
from streaming.backfill.reports import Order, SeriesReport
from streaming.recordings.found import Refused
from streaming.sink.symbol_state import sink_accounts, stored_rows
from tests.unit.streaming.backfill.conftest import Site, Sites

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
    read = trade_files.read_found
    odd = [Refused(1, "it is no trade"), Refused(2, "nor is it")]
    monkeypatch.setattr(trade_files, "read_found", lambda *given: [*odd, *read(*given)])
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
