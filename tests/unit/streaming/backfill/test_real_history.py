"""Real candles of years through the public path: files made of them, served over HTTP; and the outages that are named."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aiohttp import web

from quantstream.binance.archive import Series, files_between
from quantstream.binance.rest import BlockingRest
from quantstream.lake.store import Lake
from streaming.backfill.reports import Order
from streaming.backfill.run import Run

OUTAGES = {  # within the stretches that are there of each
    "BTCUSDT": ["2021-04-20", "2021-04-25", "2023-03-24"],
    "XRPUSDT": ["2021-02-11", "2023-03-24"],
}


def zipped(name: str, text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name.replace(".zip", ".csv"), text)
    return packed.getvalue()


def archive_of(symbol: str, frame: pd.DataFrame) -> dict[str, bytes]:
    """Return the files of months that hold a frame's candles, each with its checksum."""
    at = frame["open_time"].astype("datetime64[ms]").astype("int64")
    cells = frame.assign(at=at, closed=at + 299_999, quote=0, count=1, taker=0, taker_quote=0, ignore=0)
    cells["month"] = frame["open_time"].dt.strftime("%Y-%m")
    numbers = ["open", "high", "low", "close", "volume"]
    columns = ["at", *numbers, "closed", "quote", "count", "taker", "taker_quote", "ignore"]
    found = dict[str, bytes]()
    for month, rows in cells.groupby("month"):
        name = f"{symbol}-5m-{month}.zip"
        packed = zipped(name, rows[columns].to_csv(header=False, index=False, float_format="%.8f"))
        path = f"data/spot/monthly/klines/{symbol}/5m/{name}"
        found |= {path: packed, path + ".CHECKSUM": f"{hashlib.sha256(packed).hexdigest()}  {name}\n".encode()}
    return found


@asynccontextmanager
async def served(files: dict[str, bytes]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        body = files.get(request.path.lstrip("/"))
        return web.Response(status=404) if body is None else web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("symbol", list(OUTAGES))
async def test_years_of_real_candles_come_over_and_the_exchanges_outages_are_listed(
    data: Path, tmp_path: Path, symbol: str
) -> None:
    frame = pd.read_parquet(data / "klines_5m" / f"{symbol}_5m.parquet")
    frame = frame.drop_duplicates("open_time").sort_values("open_time")
    first, last = frame["open_time"].iloc[[0, -1]].dt.date
    after = (date(last.year, last.month, 28) + pd.Timedelta(days=7)).replace(day=1)
    lake = Lake(str(tmp_path))
    order = Order([Series(symbol, "klines", "5m")], date(first.year, first.month, 1), after)
    async with served(archive_of(symbol, frame)) as base:
        run = Run(lake, base, BlockingRest(f"{base}/api/v3"), now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        (report,) = await run.run(order)
    assert (report.failed, report.refused, report.stored) == ([], 0, len(frame))
    stored = lake.candle_frame([symbol])
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(stored[name].to_numpy(), frame[name].round(8).to_numpy())
    outages = [str(hole.start.date()) for hole in report.holes if hole.windows < 288]
    assert outages == OUTAGES[symbol]
    assert len(list(files_between(order.series[0], order.first, order.after))) == report.files + len(report.absent)
