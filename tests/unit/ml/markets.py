"""Made-up markets for tests: seeded, with volatility that clusters, at any size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from quantstream.core.decimals import UNIT, units_decimal
from quantstream.core.trade import Trade
from quantstream.features import HOUR, opened_at_us
from quantstream.lake.schemas import PRICE, QUOTE, TIME
from quantstream.lake.store import Lake

START = pd.Timestamp("2024-01-01", tz="UTC")


def candles(count: int, seed: int = 0, price: float = 100.0, volatility: float = 0.001) -> pd.DataFrame:
    """Return `count` five-minute candles of a random walk whose volatility clusters and has a daily season."""
    rng = np.random.default_rng(seed)
    log_volatility = np.zeros(count)
    shocks = rng.normal(0, 0.1, count)
    for i in range(1, count):
        log_volatility[i] = 0.97 * log_volatility[i - 1] + shocks[i]
    season = 1 + 0.5 * np.sin(2 * np.pi * np.arange(count) / 288)
    returns = volatility * np.exp(log_volatility) * season * rng.standard_t(5, count) / 1.3
    close = price * np.exp(np.cumsum(returns))
    opened = np.concatenate([[price], close[:-1]])
    spread = np.exp(np.abs(rng.normal(0, volatility / 2, count)))
    volume = np.exp(rng.normal(2, 0.5, count))
    return pd.DataFrame(
        {
            "opened_at": pd.date_range(START, periods=count, freq="5min"),
            "open": opened,
            "high": np.maximum(opened, close) * spread,
            "low": np.minimum(opened, close) / spread,
            "close": close,
            "volume": volume,
            "taker_buy_volume": volume * rng.uniform(0.3, 0.7, count),
        }
    )


def pulled_back(count: int, seed: int = 0, price: float = 100.0, volatility: float = 0.001) -> pd.DataFrame:
    """Return candles of a market that gives back some of its last hour's move, but for rare hours in which it runs on far.

    So its usual hour goes against the last one, and the hours that reach a barrier go with it.
    """
    rng = np.random.default_rng(seed)
    shocks, chance = rng.normal(0, volatility, count), rng.random(count)
    returns, hour = np.zeros(count), volatility * np.sqrt(HOUR)
    run = 0.0
    for i in range(HOUR, count):
        last = float(returns[i - HOUR : i].sum())
        if chance[i] < 0.08 and abs(last) > hour / 2 and not run:
            run = 1.5 * float(np.sign(last)) * hour
        returns[i] = shocks[i] - 0.08 * last + run
        run = 0.0
    close = price * np.exp(np.cumsum(returns))
    opened = np.concatenate([[price], close[:-1]])
    columns = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    times = pd.date_range(START, periods=count, freq="5min")
    return pd.DataFrame({"opened_at": times, **columns, "volume": 10.0, "taker_buy_volume": 5.0})


def flat(count: int, price: float = 100.0) -> pd.DataFrame:
    """Return candles of a price that never moves."""
    columns = dict.fromkeys(("open", "high", "low", "close"), price)
    times = pd.date_range(START, periods=count, freq="5min")
    return pd.DataFrame({"opened_at": times, **columns, "volume": 1.0, "taker_buy_volume": 0.5})


def crash(frame: pd.DataFrame) -> pd.DataFrame:
    """The same candles, but for a last hour in which the price falls 8 %, on ten times the volume."""
    falls = np.zeros(len(frame))
    falls[-HOUR:] = np.linspace(0, -0.08, HOUR + 1)[1:]
    fallen = frame.copy()
    for name in ("high", "low", "close"):
        fallen[name] = frame[name] * np.exp(falls)
    for name in ("volume", "taker_buy_volume"):
        if name in frame.columns:
            fallen[name] = frame[name] * np.where(falls < 0, 10.0, 1.0)
    fallen["open"] = frame["open"] * np.exp(np.concatenate([[0.0], falls[:-1]]))
    fallen["high"] = fallen[["open", "high", "close"]].max(axis=1)
    fallen["low"] = fallen[["open", "low", "close"]].min(axis=1)
    return fallen


def trades(count: int, symbol: str = "BTCUSDT", seed: int = 0) -> list[Trade]:
    """Return trades of a random walk with heavy-tailed sizes."""
    rng = np.random.default_rng(seed)
    prices = 60_000 * np.exp(np.cumsum(rng.normal(0, 2e-5, count)))
    sizes = np.exp(rng.normal(-4, 1.5, count))
    times = np.cumsum(rng.exponential(100_000, count)).astype(int) + START.value // 1000
    sides = rng.random(count) < 0.5
    return [
        Trade(symbol, i, i, i, int(prices[i] * UNIT), int(sizes[i] * UNIT) + 1, int(times[i]), bool(sides[i]))
        for i in range(count)
    ]


def write_candles(lake: Lake, symbol: str, frame: pd.DataFrame) -> None:
    """Put candles into a lake as a backfill would."""
    count = len(frame)
    exact = {name: _decimals(frame[name]) for name in ("open", "high", "low", "close", "volume", "taker_buy_volume")}
    quote = _decimals(frame["volume"] * frame["close"]).cast(QUOTE)
    columns = {
        "symbol": pa.array([symbol] * count),
        "interval": pa.array(["5m"] * count),
        "opened_at": pa.array(opened_at_us(frame)).cast(TIME),
        **exact,
        "quote_volume": quote,
        "taker_buy_quote_volume": quote,
        "is_complete": pa.array([True] * count),
        "source": pa.array(["klines"] * count),
        "known_at": pa.nulls(count, TIME),
    }
    whole = dict.fromkeys(("trade_count", "revision"), pa.array([0] * count))
    ids = dict.fromkeys(("first_trade_id", "last_trade_id"), pa.array([-1] * count))
    lake.append("candles", pa.table({**columns, **whole, **ids}))


def write_trades(lake: Lake, made: list[Trade], end: pd.Timestamp) -> None:
    """Put trades into a lake, moved in time so that the last one happens at `end`."""
    shift = end.value // 1000 - made[-1].traded_at
    times = pa.array([trade.traded_at + shift for trade in made]).cast(TIME)
    names = ("symbol", "id", "first_trade_id", "last_trade_id", "buyer_is_maker")
    columns = {name: pa.array([getattr(trade, name) for trade in made]) for name in names}
    columns |= {
        name: pa.array([units_decimal(getattr(t, name)) for t in made], PRICE) for name in ("price", "quantity")
    }
    columns |= {"traded_at": times, "received_at": times, "origin": pa.array(["live"] * len(made))}
    lake.append("trades", pa.table(columns))


def _decimals(values: pd.Series) -> pa.Array:
    return pa.array(values.round(8).to_numpy()).cast(pa.decimal128(38, 8), safe=False)
