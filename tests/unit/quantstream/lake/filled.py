"""A small lake with candles of three symbols over two months, some revised, one day in quarantine, and trades."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import DAY, MINUTE, SECOND, utc
from quantstream.lake.quarantine import HELD, Change, note
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, TIME, candle_rows
from quantstream.lake.store import Lake

T0 = 1_763_820_000 * SECOND  # 2025-11-22 14:00
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
DAYS = 12  # from 22 November to 3 December
HELD_DAY = date(2025, 11, 25)


def filled(folder: Path) -> Lake:
    """Make it in a folder."""
    return fill(Lake(str(folder)))


def fill(lake: Lake) -> Lake:
    """Fill a lake that is empty, and return it."""
    for day in (*range(1, DAYS), 0):  # the first one comes last
        at = T0 + day * DAY
        candles = [candle(symbol, at + turn * 5 * MINUTE, day) for symbol in SYMBOLS for turn in (1, 0)]
        candles += [candle("BTCUSDT", at, day, revision=1)] if day % 3 == 0 else []
        candles += [candle("BTCUSDT", at, day, interval="1m")]
        known = [one.opened_at + 6 * MINUTE + one.revision * MINUTE for one in candles]
        lake.append("candles", candle_rows(candles, known_at=known))
        lake.append("trades", trade_rows("BTCUSDT", at, first=day * 10, count=10))
    note(
        lake, [Change("ETHUSDT", HELD_DAY, "candles", "a hole", HELD, "try", datetime(2025, 12, 9, tzinfo=UTC), "gate")]
    )
    return lake


def put_by_day(lake: Lake, old: Lake) -> None:
    """Put the candles of a lake into another one that is by day, as versions before this one made it."""
    names = [name for name in SCHEMAS["candles"].names if name != "month"]
    rows, url = lake.read("candles").select(names), f"{old.url}/candles"
    options = dict(old.storage_options or {})
    DeltaTable.create(url, schema=rows.schema, partition_by=PARTITIONS, storage_options=options)
    write_deltalake(url, rows, mode="append", storage_options=options)


def candle(symbol: str, at: int, day: int, revision: int = 0, interval: str = "5m") -> Candle:
    """Return a candle that closes at two and a little, by the day."""
    two, close = 2 * UNIT, 2 * UNIT + day + revision
    return Candle(symbol, interval, at, two, close, two, close, 1, 1, 1, 0, 0, day, day, True, revision)


def trade_rows(symbol: str, at: int, first: int, count: int) -> pa.Table:
    """Return trades, two at a time of the same microsecond, the later id first."""
    ids = [*range(first + 1, first + count, 2), *range(first, first + count, 2)]
    at_time = pa.array([at + (one - first) // 2 for one in ids]).cast(TIME)
    columns = {"symbol": pa.array([symbol] * count), "id": ids, "first_trade_id": ids, "last_trade_id": ids}
    exact = pa.array(["2.00000001"] * count).cast(pa.decimal128(38, 8))
    columns |= {"price": exact, "quantity": exact, "traded_at": at_time, "received_at": at_time}
    return pa.table(columns | {"buyer_is_maker": [True] * count, "origin": ["live"] * count})


def day_after(days: int) -> datetime:
    """Return a time so many days after the first candle."""
    return utc(T0 + days * DAY)
