"""A lake in which a scorer acted: trades of a random walk, the candles of them, and a score of each candle with its action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT, units_decimal
from quantstream.core.time import MINUTE, SECOND
from quantstream.features import FEATURE_HASH, STEP_US
from quantstream.lake.schemas import PRICE, TIME, candle_rows
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Score, Signal
from tests.unit.ml import markets
from tests.unit.ml.monitoring.watched import write_scores

START = 1_700_000_100 * SECOND // STEP_US * STEP_US
QUIET = 320  # candles before the first trade: the barriers' history
Action = Literal["Buy", "Hold", "Sell"]


@dataclass(frozen=True)
class Market:
    """Trades of one symbol: times in µs, prices in 10⁻⁸ (whole cents), ids without a gap; candles before and of them."""

    symbol: str
    at: npt.NDArray[np.int64]
    price: npt.NDArray[np.int64]
    candles: pd.DataFrame
    begins: int = START + QUIET * STEP_US  # when the first candle of trades opens


def market(
    symbol: str = "BTCUSDT", hours: float = 6, seed: int = 1, every_s: float = 3.0, size: float = 1.5e-4
) -> Market:
    """Return a random walk: a trade each so many seconds on average, prices near 60,000 in steps of a cent."""
    rng = np.random.default_rng(seed)
    begins, count = START + QUIET * STEP_US, int(hours * 3600 / every_s)
    at = begins + np.cumsum(rng.exponential(every_s * SECOND, count)).astype(np.int64) // 1000 * 1000
    price = np.round(60_000 * np.exp(np.cumsum(rng.standard_t(4, count) * size)) * 100).astype(np.int64) * (UNIT // 100)
    return Market(symbol, at, price, candles_of(at, price, seed))


def candles_of(at: npt.NDArray[np.int64], price: npt.NDArray[np.int64], seed: int = 1) -> pd.DataFrame:
    """Return candles of trades, after a history of made-up ones; the last one only if its window is over."""
    before = markets.candles(QUIET, seed, price=60_000.0)
    own = bars_of(at, price, START + QUIET * STEP_US).assign(taker_buy_volume=0.0)
    frame = pd.concat([before.drop(columns="opened_at"), own.drop(columns="opened_at")], ignore_index=True)
    return frame.assign(opened_at=_times(START, len(frame)))


def bars_of(at: npt.NDArray[np.int64], price: npt.NDArray[np.int64], begins: int) -> pd.DataFrame:
    """Return the five-minute candles of trades from a time on; those without trades are flat at the close before."""
    groups = pd.DataFrame({"w": (at - begins) // STEP_US, "p": price / UNIT}).groupby("w")["p"]
    own = groups.agg(open="first", high="max", low="min", close="last", volume="count").reindex(
        range((at[-1] - begins) // STEP_US + 1)
    )
    own["volume"] = own["volume"].fillna(0.0).astype(float)
    own["close"] = own["close"].ffill()
    for name in ("open", "high", "low"):
        own[name] = own[name].fillna(own["close"])
    return own.assign(opened_at=_times(begins, len(own)))


def _times(begins: int, count: int) -> pd.DatetimeIndex:
    return pd.to_datetime(begins + STEP_US * np.arange(count), unit="us", utc=True)


def write_trades(lake: Lake, made: Market, left_out: slice | None = None) -> None:
    """Put a market's trades into a lake, some left out."""
    keep = np.ones(len(made.at), dtype=bool)
    keep[left_out or slice(0, 0)] = False
    ids = pa.array(np.flatnonzero(keep) + 1_000)
    count = len(ids)
    prices = pa.array([units_decimal(int(one)) for one in made.price[keep]], PRICE)
    columns = {"symbol": pa.array([made.symbol] * count), "id": ids, "first_trade_id": ids, "last_trade_id": ids}
    columns |= {"price": prices, "quantity": prices, "traded_at": pa.array(made.at[keep]).cast(TIME)}
    columns |= {"received_at": columns["traded_at"], "buyer_is_maker": pa.array([True] * count)}
    lake.append("trades", pa.table(columns | {"origin": pa.array(["live"] * count)}))


def score(
    symbol: str,
    opened_at: int,
    action: Action,
    after: int = SECOND,
    version: str = "1",
    probabilities: tuple[float, float] = (0.3, 0.2),
    expected: float | None = None,
) -> Score:
    """Return a score made so long after its candle's close; `probabilities` are of Buy and Sell, `expected` of buying."""
    buy, sell = probabilities
    said = Signal(action, buy=buy, hold=1 - buy - sell, sell=sell, expected_return=expected)
    at, models = opened_at + STEP_US + after, {"quantstream-signal": version}
    return Score(symbol, "5m", opened_at, 0, 1.0, at, FEATURE_HASH, signal=said, novelty=0.1, models=models)


def alternating(count: int) -> list[Action]:
    """Return actions that take turns: Buy, Hold, Sell."""
    names: tuple[Action, ...] = ("Buy", "Hold", "Sell")
    return [names[i % 3] for i in range(count)]


def fill(
    lake: Lake,
    made: Market,
    actions: Sequence[Action],
    with_trades: bool = True,
    table: str = "scores",
    version: str = "1",
) -> list[Score]:
    """Put a market into a lake, with a score of each candle from the first of the trades on, and return the scores."""
    markets.write_candles(lake, made.symbol, made.candles)
    if with_trades:
        write_trades(lake, made)
    scores = [score(made.symbol, made.begins + i * STEP_US, one, version=version) for i, one in enumerate(actions)]
    write_scores(lake, scores, table)
    return scores


def write_minutes(lake: Lake, made: Market) -> None:
    """Put the one-minute candles of a market's trades into a lake."""
    begins = made.begins
    window = (made.at - begins) // MINUTE
    groups = pd.DataFrame({"w": window, "p": made.price}).groupby("w")["p"]
    own = groups.agg(open="first", high="max", low="min", close="last", count="count").iloc[:-1]
    candles = []
    for place, row in own.iterrows():
        opened, high, low, close = (int(row[name]) for name in ("open", "high", "low", "close"))
        at, count = begins + int(str(place)) * MINUTE, int(row["count"])
        candles.append(
            Candle(made.symbol, "1m", at, opened, high, low, close, UNIT, UNIT, count, 0, 0, 1, count, is_complete=True)
        )
    lake.append("candles", candle_rows(candles))
