"""Who was listed then: candles of a symbol count only while it was, and what survivorship costs a result is said beside it.

Symbols that are chosen today have survived. A model that is judged on them alone is judged on the lucky: how many of those that
were listed when the data begin are gone, and how many of these are in the data, the lake's table `instruments` tells. Where some
are, the difference that they make is a figure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from ml.data.dataset import Dataset
from quantstream.core.time import DAY
from quantstream.lake.instruments import History

MONTH = 30 * DAY  # µs
UNKNOWN = (
    "who was listed when is not known: results are of symbols that were chosen afterwards, so of survivors, and flatter by as "
    "much as the dead would have cost"
)
NOT_NOTED = f"{UNKNOWN}; the lake's table instruments is empty, `quantstream lake instruments --refresh` begins it"


def outside(frame: pd.DataFrame, away: Iterable[tuple[int, int | None]]) -> pd.DataFrame:
    """Return one symbol's candles without those that opened within `[from, to)` (µs) of some times; None for no end."""
    at = frame["opened_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    is_away = np.zeros(len(frame), np.bool_)
    for start, end in away:
        is_away |= (at >= start) & (at < (np.iinfo(np.int64).max if end is None else end))
    return frame.loc[~is_away].reset_index(drop=True) if is_away.any() else frame


def survivorship(symbols: Collection[str], start: int, end: int, listings: History) -> str:
    """Say in a sentence who of the market at the beginning of the data is in them, and who is gone at their end (µs)."""
    since = listings.known_since
    if since is None or not symbols:
        return NOT_NOTED
    at = start if listings.listed(start) else since
    then, now = listings.listed(at), listings.listed(max(end, at))
    quotes = {state.quote for symbol, state in {**now, **then}.items() if symbol in symbols}
    peers = [symbol for symbol, state in then.items() if state.quote in quotes]
    gone = [symbol for symbol in peers if symbol not in now]
    held = sum(symbol in symbols for symbol in gone)
    before = f"who was listed before {_day(since)} is known in part at most: " if start < since else ""
    cost = (
        ""
        if held == len(gone) and not before
        else "; results are of survivors, and flatter by as much as the others cost"
    )
    return (
        f"{before}of {len(peers)} symbols with the same quote that were listed on {_day(at)}, {len(gone)} are gone on "
        f"{_day(max(end, at))}, {held} of these are in the data{cost}"
    )


def flattery(data: Dataset, listings: History) -> str:
    """Say by how much the symbols that are listed at the end of the data did otherwise than all; empty where none is gone.

    A month of a symbol counts as one: held from its first candle to its last, mean log return.
    """
    alive = listings.listed(int(data.opened_at.max()))
    held = [(name, *span) for name, span in zip(data.symbols, data.spans, strict=True) if span[1] - span[0] > 1]
    gone = [name for name, *_ in held if name not in alive]
    data.forget()
    if not gone or len(gone) == len(held):
        return ""
    returns = np.array([np.log(data.close[end - 1] / data.close[start]) for _, start, end in held])
    months = np.array([data.opened_at[end - 1] - data.opened_at[start] for _, start, end in held]) / MONTH
    lives = np.array([name in alive for name, *_ in held])
    every, lucky = (100 * returns[some].sum() / months[some].sum() for some in (np.ones_like(lives), lives))
    return (
        f"; held for a month, one of all {len(held)} symbols in the data made {every:+.2f} % (mean log return), one of the "
        f"{lives.sum()} that are still listed {lucky:+.2f} %: survivors alone flatter by {lucky - every:+.2f} points a month"
    )


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at):%Y-%m-%d}"
