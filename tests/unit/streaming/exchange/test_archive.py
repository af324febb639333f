"""The archive of the simulated exchange: the same trades and klines as REST, in files that any reader of the real ones takes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from quantstream.binance.klines import parse_kline
from quantstream.core.time import DAY, MINUTE, SECOND
from streaming.exchange.formats.archive_csv import parse_name
from streaming.exchange.formats.spot_wire import trade_rows
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.recordings.readers import read_trades
from tests.unit.streaming.exchange.conftest import Client

YESTERDAY = "2025-11-21"
BEGUN = 1_763_683_200 * SECOND
BASE = "/data/spot/daily"


async def fetch(exchange: Client, path: str, status: int = 200) -> bytes:
    async with exchange.session.get(f"{exchange.served.rest}{path}") as answer:
        assert answer.status == status
        return await answer.read()


def rows(packed: bytes) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (name,) = archive.namelist()
        return [line.split(",") for line in archive.read(name).decode().splitlines()]


async def test_a_days_klines_are_those_of_rest(exchange: Client) -> None:
    path = f"{BASE}/klines/BNBUSDT/5m/BNBUSDT-5m-{YESTERDAY}.zip"
    packed = await fetch(exchange, path)
    assert (await fetch(exchange, path + ".CHECKSUM")).split()[0].decode() == hashlib.sha256(packed).hexdigest()
    query: dict[str, Any] = {
        "symbol": "BNBUSDT",
        "interval": "5m",
        "startTime": BEGUN // 1000,
        "endTime": (BEGUN + DAY) // 1000 - 1,
    }
    answered = await exchange.get("/api/v3/klines", limit=1000, **query)
    found = [[int(row[0]) // 1000, *row[1:6], *row[7:11]] for row in rows(packed)]
    assert found == [[row[0], *row[1:6], row[7], str(row[8]), *row[9:11]] for row in answered]
    assert len(found) == 288
    assert parse_kline("BNBUSDT", answered[0]).opened_at == BEGUN


@pytest.mark.parametrize("kind", ["trades", "aggTrades"])
async def test_a_days_trades_are_read_by_the_reader_of_recordings(
    exchange: Client, market: SyntheticMarket, tmp_path: Path, kind: str
) -> None:
    name = f"XRPUSDT-{kind}-{YESTERDAY}.zip"
    file = tmp_path / name
    file.write_bytes(await fetch(exchange, f"{BASE}/{kind}/XRPUSDT/{name}"))
    (tmp_path / (name + ".CHECKSUM")).write_bytes(await fetch(exchange, f"{BASE}/{kind}/XRPUSDT/{name}.CHECKSUM"))
    trades = list(read_trades(file))
    spans = list(trades_between(market, "XRPUSDT", BEGUN, BEGUN + DAY))
    ids = [number for tape, start, stop in spans for number in tape.ids[start:stop].tolist()]
    assert [number for trade in trades for number in range(trade.first_trade_id, trade.last_trade_id + 1)] == ids
    assert trades[0].traded_at == int(spans[0].tape.at[spans[0].start]), "in microseconds since 2025"
    assert trade_rows(spans, 1).count('"id"') == len(ids)


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/klines/BNBUSDT/5m/BNBUSDT-5m-2025-11-22.zip",  # not over
        "/data/spot/monthly/klines/BNBUSDT/5m/BNBUSDT-5m-2025-11.zip",
        f"{BASE}/klines/NOSUCHUSDT/5m/NOSUCHUSDT-5m-{YESTERDAY}.zip",
        f"{BASE}/klines/BNBUSDT/5m/BNBUSDT-1m-{YESTERDAY}.zip",
        f"{BASE}/trades/BNBUSDT/BNBUSDT-trades-2025-02-30.zip",
        f"/data/futures/um/daily/trades/BNBUSDT/BNBUSDT-trades-{YESTERDAY}.zip",  # of the other market
        f"{BASE}/trades/BNBUSDT/BNBUSDT-trades-2019-01-01.zip",  # before its history
    ],
)
async def test_what_is_not_there_is_not_found(exchange: Client, path: str) -> None:
    assert b"NoSuchKey" in await fetch(exchange, path, 404)
    assert b"NoSuchKey" in await fetch(exchange, path + ".CHECKSUM", 404)


def test_months_end_where_the_next_ones_begin() -> None:
    name = parse_name("spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12.zip")
    after = parse_name("spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip")
    assert name
    assert after
    assert (name.end - name.start, name.end) == (31 * DAY, after.start)
    assert (name.unit, after.unit) == (1000, 1), "spot is in µs since 2025"
    assert MINUTE * 1440 * 31 == 31 * DAY
