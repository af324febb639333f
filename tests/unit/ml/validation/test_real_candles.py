"""Real candles of five symbols: nothing is held but what is not there, and the exchange's outages are listed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from ml.validation import engine
from ml.validation.candle_frames import LENGTH, candle_frames
from ml.validation.expected.decimals import floats
from ml.validation.market import market_of
from ml.validation.outages import declared
from quantstream.core.time import micros
from quantstream.lake.schemas import QUOTE, SCHEMAS

pytestmark = pytest.mark.data
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
MARCH = pd.Timestamp("2023-03-01"), pd.Timestamp("2023-04-01")
NOW = micros(datetime(2023, 4, 2, tzinfo=UTC))


def stored(data: Path, symbol: str) -> pa.Table:
    """Return a month of real candles as the lake has them; quote volumes, which the file lacks, at the close."""
    frame = pd.read_parquet(data / "klines_5m" / f"{symbol}_5m.parquet")
    frame = frame[(frame["open_time"] >= MARCH[0]) & (frame["open_time"] < MARCH[1])]
    exact = {
        name: [Decimal(f"{value:.8f}") for value in frame[name]] for name in ("open", "high", "low", "close", "volume")
    }
    quote = pa.array([a * b for a, b in zip(exact["close"], exact["volume"], strict=True)], QUOTE)
    count, at = len(frame), frame["open_time"].astype("datetime64[us]").astype("int64").to_numpy()
    schema = SCHEMAS["candles"]
    columns = {
        **{name: pa.array(values, schema.field(name).type) for name, values in exact.items()},
        "symbol": pa.array([symbol] * count),
        "interval": pa.array(["5m"] * count),
        "quote_volume": quote,
        "opened_at": pa.array(at).cast(schema.field("opened_at").type),
        "taker_buy_volume": pa.array(exact["volume"], schema.field("volume").type),
        "taker_buy_quote_volume": quote,
        **dict.fromkeys(("first_trade_id", "last_trade_id"), pa.array([-1] * count)),
        "trade_count": pa.array([1] * count),
        "revision": pa.array([0] * count, pa.int32()),
        "is_complete": pa.array([True] * count),
        "source": pa.array(["klines"] * count),
    }
    return pa.table(columns)


def test_a_real_month_of_five_symbols_passes_and_lists_the_outage_of_the_24th(data: Path) -> None:
    tables = {symbol: stored(data, symbol) for symbol in SYMBOLS}
    closes = {
        name: (one["opened_at"].cast(pa.int64()).to_numpy(), floats(one["close"])) for name, one in tables.items()
    }
    market, outages = market_of(closes, LENGTH), declared()
    for symbol, table in tables.items():
        frames = candle_frames(table, symbol, market, outages, NOW)
        found = engine.run("candles", {"rows": frames.rows, "days": frames.days}, {"now": NOW})
        assert [one.on(min(one.days)) for one in found.findings] == []
        known = frames.days[frames.days["declared"] > 0]
        assert known[["day", "declared"]].values.tolist() == [["2023-03-24", 16]]


def test_without_its_declaration_the_outage_is_a_hole_and_a_silence_of_that_day_alone(data: Path) -> None:
    frames = candle_frames(stored(data, "BNBUSDT"), "BNBUSDT", market_of({}, LENGTH), (), NOW)
    found = engine.run("candles", {"rows": frames.rows, "days": frames.days}, {"now": NOW})
    assert {(one.expectation, day) for one in found.findings for day in one.days} == {
        ("expect_day_to_be_whole", "2023-03-24"),
        ("expect_feed_not_to_be_stuck", "2023-03-24"),
    }
