"""A small market whose symbols move together, as candles in a lake, and faults to plant into one day of one symbol."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.validation.gate import Gate
from quantstream.core.time import micros
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake

SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT")
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
DAYS = 8
BAD = date(2026, 2, 4)  # the day that faults are planted in, in the middle
ROWS = 288
NOW = micros(FIRST + timedelta(days=DAYS, hours=2))
AT = datetime(2026, 3, 1, tzinfo=UTC)
Fault = Callable[[pd.DataFrame], pd.DataFrame]  # of all candles of a symbol, by number: a day's are [3 * 288, 4 * 288)


def candles(symbol: str, days: int = DAYS, seed: int = 5) -> pd.DataFrame:
    """Return candles with nothing wrong, exact: prices of two digits, ids without a gap, moves that are mostly the market's."""
    count = days * ROWS
    common = np.random.default_rng(seed).normal(0, 0.001, count)
    rng = np.random.default_rng([seed, *symbol.encode()])
    close = np.round(5_000 * np.exp(np.cumsum(common + rng.normal(0, 0.0004, count))), 2)
    opened = np.concatenate([[5_000.0], close[:-1]])
    high, low = np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5
    volume = np.round(rng.gamma(4, 3, count) + 0.001, 3)
    trades = rng.integers(5, 50, count)
    last = np.cumsum(trades) + 1_000
    return pd.DataFrame(
        {
            "symbol": symbol,
            "interval": "5m",
            "opened_at": [FIRST + i * timedelta(minutes=5) for i in range(count)],
            **{
                name: _exact(values, 2)
                for name, values in (("open", opened), ("high", high), ("low", low), ("close", close))
            },
            "volume": _exact(volume, 3),
            "quote_volume": [
                a * b for a, b in zip(_exact(np.round((opened + close) / 2, 2), 2), _exact(volume, 3), strict=True)
            ],
            "trade_count": trades,
            "taker_buy_volume": [value / 2 for value in _exact(volume, 3)],
            "taker_buy_quote_volume": [Decimal(1)] * count,
            "first_trade_id": last - trades + 1,
            "last_trade_id": last,
            "is_complete": True,
            "revision": 0,
            "source": "trades",
            "known_at": FIRST,
        }
    )


def lake_of(folder: Path, faults: dict[str, Fault] | None = None, days: int = DAYS) -> Lake:
    """Return a lake of the market's candles, with faults planted into those of some symbols."""
    lake = Lake(str(folder))
    for symbol in SYMBOLS:
        frame = candles(symbol, days)
        lake.append("candles", rows((faults or {}).get(symbol, lambda one: one)(frame)))
    return lake


def rows(frame: pd.DataFrame) -> pa.Table:
    """Return candles as the lake takes them."""
    schema = pa.schema([field for field in SCHEMAS["candles"] if field.name != "date"])
    return pa.Table.from_pylist(frame.to_dict("records"), schema)


def gate(lake: Lake, state: Path, **given: Any) -> Gate:
    """Return a gate over the market, some hours after its last candle."""
    now = given.pop("now", NOW)
    return Gate(lake, SYMBOLS, state, **{"clock": lambda: now, "at": AT, "run": "test", "outages": (), **given})


def _exact(values: Any, digits: int) -> list[Decimal]:
    return [Decimal(f"{value:.{digits}f}") for value in values]
