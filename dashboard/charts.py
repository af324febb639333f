"""Candles and scores to what the chart draws: pure functions, so that a picture can be tested without a browser.

A row of the chart is `[time, open, high, low, close, volume, state, vwap, vwap_24h, upper, middle, lower]`: seconds UTC,
floats, and `None` where a line has no value yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from quantstream.core.candle import Candle
from quantstream.core.decimals import QUOTE_UNIT, UNIT
from quantstream.core.time import DAY, INTERVALS, SECOND
from quantstream.messages.payloads import Anomaly, Score

DAY_S = DAY // SECOND
BOLLINGER_PERIOD, BOLLINGER_WIDTH = 20, 2.0  # Bollinger's own defaults (Bollinger on Bollinger Bands, 2001)
SHOWN_BARS = 500
RESENT = 3  # a browser may skip up to so many messages of a busy second without missing a row
CLOSED, INCOMPLETE, OPEN = 0, 1, 2  # states of a bar; incomplete: trades of it are missing

COLUMNS = ("time", "open", "high", "low", "close", "volume", "quote_volume", "state", "revision")
Row = list[float | int | None]


def bars(history: pd.DataFrame, live: Sequence[Candle], building: Sequence[Candle]) -> pd.DataFrame:
    """Return one symbol's bars in time order: the newest revision of each closed candle, then those being built.

    `history` has the columns of `Lake.candle_frame` (it may be empty); the result has `COLUMNS`, `time` in seconds.
    """
    unfinished = _live(building).assign(state=OPEN, revision=-1)  # anything closed beats it
    parts = [part for part in (_stored(history), _live(live), unfinished) if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    rows = rows.sort_values(["time", "revision"], kind="stable")
    return rows.drop_duplicates("time", keep="last").reset_index(drop=True)


def session_vwap(rows: pd.DataFrame) -> pd.Series:
    """Return the volume-weighted average price since 00:00 UTC of each bar's day; the close before any volume."""
    sums = rows[["quote_volume", "volume"]].astype(float).groupby(rows["time"].astype("int64") // DAY_S).cumsum()
    return _ratio(sums["quote_volume"], sums["volume"]).fillna(rows["close"])


def rolling_vwap(rows: pd.DataFrame, count: int) -> pd.Series:
    """Return the volume-weighted average price over the last `count` bars; NaN before there are so many."""
    sums = rows[["quote_volume", "volume"]].astype(float).rolling(count).sum()
    return _ratio(sums["quote_volume"], sums["volume"])


def bollinger(close: pd.Series, period: int = BOLLINGER_PERIOD, width: float = BOLLINGER_WIDTH) -> pd.DataFrame:
    """Return `upper, middle, lower`: the moving average and `width` population standard deviations around it."""
    window = close.astype(float).rolling(period)
    middle, deviation = window.mean(), window.std(ddof=0)
    return pd.DataFrame({"upper": middle + width * deviation, "middle": middle, "lower": middle - width * deviation})


def chart_rows(rows: pd.DataFrame, interval: str, decimals: int, shown: int = SHOWN_BARS) -> list[Row]:
    """Return the last `shown` bars with their lines, computed over all the bars given."""
    if rows.empty:
        return []
    lines = bollinger(rows["close"])
    lines.insert(0, "vwap", session_vwap(rows))
    lines.insert(1, "vwap_24h", rolling_vwap(rows, DAY // INTERVALS[interval]))
    lines = lines.round(decimals + 1)  # half a tick finer than the axis: fewer bytes, the same picture
    whole = rows[["time", "open", "high", "low", "close", "volume", "state"]].tail(shown)
    return [
        [int(bar[0]), *map(float, bar[1:6]), int(bar[6]), *(None if math.isnan(v) else v for v in values)]
        for bar, values in zip(whole.itertuples(index=False), lines.tail(shown).itertuples(index=False), strict=True)
    ]


def fan(score: Score) -> list[list[float]]:
    """Return `[time, quantile…]` from the scored close outward, one per future bar, quantiles in rising order.

    Between two horizons the quantiles of the log return are drawn as straight lines: the model says nothing there.
    A forecast of horizon h from a candle's close is that of the candle opened h later.
    """
    if not score.forecasts:
        return []
    step = INTERVALS[score.interval] // SECOND
    forecasts = sorted(score.forecasts, key=lambda f: INTERVALS[f.horizon])
    ahead = [0, *(INTERVALS[f.horizon] // SECOND for f in forecasts)]
    quantiles = np.array([[0.0] * len(forecasts[0].levels), *(f.log_returns for f in forecasts)])
    start = score.opened_at // SECOND
    rows = []
    for offset in range(0, ahead[-1] + 1, step):
        values = [score.close * math.exp(np.interp(offset, ahead, column)) for column in quantiles.T]
        rows.append([start + offset, *sorted(values)])
    return rows


def markers(anomalies: Sequence[Anomaly], interval: str, since: int) -> list[dict[str, Any]]:
    """Return one marker for each bar with flagged trades from `since` (seconds) on, in time order."""
    length = INTERVALS[interval] // SECOND
    counts: dict[int, int] = {}
    for anomaly in anomalies:
        at = anomaly.traded_at // SECOND
        counts[at - at % length] = counts.get(at - at % length, 0) + 1
    return [
        {"time": at, "text": "" if count == 1 else str(count)} for at, count in sorted(counts.items()) if at >= since
    ]


@dataclass(frozen=True)
class Day:
    """A symbol's last 24 hours, as exchanges print them."""

    last: float
    change: float  # fraction, over 24 hours or as far back as the bars go
    high: float
    low: float
    volume: float
    quote_volume: float
    direction: int  # of the last bar: 1 up, -1 down


def day(rows: pd.DataFrame) -> Day | None:
    """Return the last 24 hours of some bars, or None without bars."""
    if rows.empty:
        return None
    newest = rows.iloc[-1]
    recent = rows[rows["time"] > newest["time"] - DAY_S]
    first = float(recent["open"].iloc[0])
    return Day(
        last=float(newest["close"]),
        change=float(newest["close"]) / first - 1.0,
        high=float(recent["high"].max()),
        low=float(recent["low"].min()),
        volume=float(recent["volume"].sum()),
        quote_volume=float(recent["quote_volume"].sum()),
        direction=1 if newest["close"] >= newest["open"] else -1,
    )


@dataclass
class Ledger:
    """What one browser was sent, so that each message carries only the rows changed lately.

    Streamlit may drop a message when the next one comes before the browser drew it: each message therefore repeats the
    changes of the last `RESENT` messages and names the message it builds on (`since`); 0 means that it holds all rows.
    """

    id: str  # tells one chart's life from the next
    seq: int = 0
    sent: dict[int, tuple[int, Row]] = field(default_factory=dict)  # time → (message that changed it, row)

    def step(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Take the rows to be seen now and return the message."""
        self.seq += 1
        now: dict[int, tuple[int, Row]] = {}
        for row in rows:
            at = int(row[0] or 0)
            before = self.sent.get(at)
            now[at] = before if before is not None and before[1] == row else (self.seq, row)
        self.sent = now
        since = max(0, self.seq - RESENT)
        return {
            "id": self.id,
            "seq": self.seq,
            "since": since,
            "rows": [row for stamp, row in now.values() if stamp > since],
        }


def _stored(history: pd.DataFrame) -> pd.DataFrame:
    if history.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    opened = history["opened_at"].astype("datetime64[us, UTC]").astype("int64") // SECOND
    state = np.where(history["is_complete"].astype(bool), CLOSED, INCOMPLETE)
    return history.assign(time=opened, state=state)[list(COLUMNS)]


def _live(candles: Sequence[Candle]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (
                candle.opened_at // SECOND,
                *(value / UNIT for value in (candle.open, candle.high, candle.low, candle.close, candle.volume)),
                candle.quote_volume / QUOTE_UNIT,
                CLOSED if candle.is_complete else INCOMPLETE,
                candle.revision,
            )
            for candle in candles
        ],
        columns=list(COLUMNS),
    )


def _ratio(quote: pd.Series, volume: pd.Series) -> pd.Series:
    return quote / volume.where(volume > 0)
