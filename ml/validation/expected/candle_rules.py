"""What a candle, a trade or a score must be beyond what a library of checks knows: pure rules, a truth for each row.

Each takes columns (a frame in order of time) and bounds, and returns whether each row meets it. Great Expectations runs them
under the names in `ml/validation/custom.py`; `expectations/README.md` says in words what each is for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation.expected.decimals import NO_UNITS, floats
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.decimals import DECIMALS
from quantstream.core.rolling import Floats
from quantstream.core.time import WEEK

Truth = npt.NDArray[np.bool_]
CLOSE_TO_A_BOUND = 1e-9  # relative: nearer than that floats do not decide
KLINE_UNIT = 1e-8  # the exchange cuts each trade's quote volume off after eight digits
WAY_BACK = 2016  # windows, a week: what is farther from a row than weeks says nothing of it, and need not be read again
AROUND = 4 * WEEK  # µs
PRICES = ("open", "high", "low", "close")


def vwap_within_range(frame: pd.DataFrame) -> Truth:
    """Whether quote volume / volume lies within `[low, high]`. Column: vwap_excess, which `vwap_excess` computes."""
    return np.asarray(frame["vwap_excess"].to_numpy(np.float64) == 0, np.bool_)


def vwap_excess(candles: pa.Table) -> Floats:
    """Return by how much of the quote volume the average price lies outside `[low, high]`, exactly 0 where it does not.

    In exact decimals wherever floats cannot decide; a kline is given what it lost by cutting off digits. NaN for nulls.
    """
    low, high, volume, quote = (floats(candles[name]) for name in ("low", "high", "volume", "quote_volume"))
    least, most = low * volume, high * volume
    is_kline = pc.fill_null(pc.equal(candles["source"], "klines"), False).to_numpy(zero_copy_only=False)
    cut_off = np.where(is_kline, floats(candles["trade_count"]) * KLINE_UNIT, 0.0)
    with np.errstate(invalid="ignore"):
        excess = np.maximum(np.maximum(least - cut_off - quote, quote - most - cut_off), 0.0)
        near = CLOSE_TO_A_BOUND * np.maximum(np.abs(quote), np.abs(most))
        rows = np.flatnonzero(((np.abs(quote - least) <= near) | (np.abs(quote - most) <= near)) & ~is_kline)
    exact = [candles[name].take(pa.array(rows)).to_pylist() for name in ("low", "high", "volume", "quote_volume")]
    for row, (bottom, top, base, paid) in zip(rows.tolist(), zip(*map(_decimals, exact), strict=True), strict=True):
        excess[row] = float(max(bottom * base - paid, paid - top * base, Decimal(0)))
    return excess


def ids_follow(frame: pd.DataFrame) -> Truth:
    """Whether each candle's trades begin where those of the candle before ended, and are as many as their ids say.

    Judged where ids are known: candles of the exchange's klines carry none. Windows without trades pass ids on; after windows
    that are not there nothing is claimed. Columns: opened_at, first_trade_id, last_trade_id, trade_count, window_length.
    """
    first, last, count = (frame[name].to_numpy(np.int64) for name in ("first_trade_id", "last_trade_id", "trade_count"))
    at = frame["opened_at"].to_numpy(np.int64)
    has_ids = first != NO_TRADE_ID
    breaks = ~has_ids & (count != 0)
    breaks[1:] |= np.diff(at) > frame["window_length"].to_numpy(np.int64)[1:]
    chain = np.cumsum(breaks)
    rows = np.flatnonzero(has_ids)
    met = ~has_ids | (last - first + 1 == count)
    same = chain[rows[1:]] == chain[rows[:-1]]
    met[rows[1:]] &= ~same | (first[rows[1:]] == last[rows[:-1]] + 1)
    return np.asarray(met, np.bool_)


def no_copy(frame: pd.DataFrame) -> Truth:
    """Whether a candle that moved is another one than the candle before it: open, high, low, close and volume.

    Columns: these.
    """
    same = _same_as_before(frame)
    return ~(same & (frame["high"] > frame["low"]).to_numpy())


def not_stuck(frame: pd.DataFrame, longest: int, longest_silence: int, quiet_share: float) -> Truth:
    """Whether fewer than `longest` candles in a row are alike (price and volume), and no silence is out of character.

    A silence is `longest_silence` windows without a trade; a symbol of which more than `quiet_share` of the other windows four
    weeks around are without is one that is quiet at times. Declared outages are no silence. Columns: opened_at, open, high, low,
    close, volume, is_outage.
    """
    volume = frame["volume"].to_numpy(np.float64)
    is_silent = (volume == 0) & ~frame["is_outage"].to_numpy(np.bool_)
    is_alike = _run_lengths(_same_as_before(frame) & (volume != 0)) >= longest
    silence = np.zeros(len(frame), np.bool_)
    counts, at = np.concatenate([[0], np.cumsum(is_silent)]), frame["opened_at"].to_numpy(np.int64)
    for begin, end in _runs(is_silent):
        low, high = np.searchsorted(at, (at[begin] - AROUND, at[end - 1] + AROUND + 1))
        others = (high - low) - (end - begin)
        if end - begin >= longest_silence and others:
            silence[begin:end] = counts[high] - counts[low] - (end - begin) <= quiet_share * others
    return ~(is_alike | silence)


def jumps_shared(frame: pd.DataFrame, alone: float, ever: float, shared: float) -> Truth:
    """Whether no price moves by more than `alone` (log) unless the market does `shared` of it, and never by more than `ever`.

    After windows that are not there a price may have gone farther, by the root of their number. Rows between a jump and the way
    back within a week are the ones that are wrong; so is one whose high or low is farther than `ever` from both closes around
    it. Columns: high, low, close, steps (windows since the candle before), market_move.
    """
    high, low, close = (
        np.log(frame[name].where(frame[name] > 0).to_numpy(np.float64)) for name in ("high", "low", "close")
    )
    steps = np.sqrt(np.maximum(frame["steps"].to_numpy(np.float64), 1.0))
    before = np.concatenate([close[:1], close[:-1]])
    moved = close - before
    with np.errstate(invalid="ignore"):
        jumps = np.where(
            _is_jump(moved / steps, frame["market_move"].to_numpy(np.float64), alone, ever, shared), moved, 0.0
        )
        is_beyond = (high - np.fmax(close, before) > ever) | (np.fmin(close, before) - low > ever)
    return np.asarray(
        ~_between_jumps(np.nan_to_num(jumps), alone, np.cumsum(frame["steps"].to_numpy(np.float64))) & ~is_beyond,
        np.bool_,
    )


def on_the_tick(frame: pd.DataFrame, finer: int, share: float) -> Truth:
    """Whether prices have no more digits than their day's: a float where a decimal belongs shows in digits that nobody trades.

    The digits of a day are as many as `share` of its prices need; `finer` more are too many. Columns: day, open_units, …
    """
    digits = np.max(
        [_digits(frame[name].to_numpy(np.int64)) for name in frame.columns if name.endswith("_units")], axis=0
    )
    day, _ = pd.factorize(frame["day"])
    counts = np.zeros((day.max(initial=-1) + 1, DECIMALS + 1))
    np.add.at(counts, (day, digits), 1)
    of_day = (counts.cumsum(axis=1) >= share * counts.sum(axis=1, keepdims=True)).argmax(axis=1)
    return np.asarray(digits < of_day[day] + finer, np.bool_)


def in_season(frame: pd.DataFrame, farthest: float) -> Truth:
    """Whether a day's volume is within `farthest` (log) of what is usual at its hours. Column: volume_log_ratio."""
    return np.asarray(frame["volume_log_ratio"].abs() <= farthest, np.bool_)


def day_is_whole(frame: pd.DataFrame) -> Truth:
    """Whether no window of the day lacks its candle, declared outages aside. Column: missing."""
    return np.asarray(frame["missing"] == 0, np.bool_)


def keeps_the_clock(frame: pd.DataFrame) -> Truth:
    """Whether the day's moves come when the market's come, and not hours earlier or later. Column: clock_lag_minutes."""
    return np.asarray(frame["clock_lag_minutes"] == 0, np.bool_)


def _digits(units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how many digits behind the point each price needs."""
    found = np.full(len(units), DECIMALS)
    for digits in range(DECIMALS - 1, -1, -1):
        found[units % 10 ** (DECIMALS - digits) == 0] = digits
    found[units == NO_UNITS] = 0
    return found


def _decimals(values: list[Any]) -> list[Decimal]:
    return [value if isinstance(value, Decimal) else Decimal(str(value)) for value in values]


def _same_as_before(frame: pd.DataFrame) -> Truth:
    values = frame[[*PRICES, "volume"]].to_numpy(np.float64)
    same = np.zeros(len(frame), np.bool_)
    same[1:] = (values[1:] == values[:-1]).all(axis=1)
    return same


def _runs(is_true: Truth) -> list[tuple[int, int]]:
    """Return where each run of rows that are true begins and ends."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_true.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _run_lengths(follows: Truth) -> npt.NDArray[np.intp]:
    """Return of each row how many rows its run has; `follows` marks rows that go on with the run of the row before."""
    run = np.cumsum(~follows)
    return np.bincount(run)[run] if len(run) else np.zeros(0, np.intp)


def _is_jump(moved: Floats, market: Floats, alone: float, ever: float, shared: float) -> Truth:
    size = np.abs(moved)
    is_shared = np.isfinite(market) & (market * np.sign(moved) >= shared * size)
    return np.asarray((size > ever) | ((size > alone) & ~is_shared), np.bool_)


def _between_jumps(jumps: Floats, alone: float, place_of: Floats) -> Truth:
    """Mark the rows between a jump and the one that undoes it; of a jump that nothing undoes in time, its own row.

    `place_of` tells windows: a level that lasts longer than `WAY_BACK` of them is the market's, or nobody can tell.
    """
    marked = np.zeros(len(jumps), np.bool_)
    rows = np.flatnonzero(jumps)
    place = 0
    while place < len(rows):
        row, back = rows[place], rows[place + 1] if place + 1 < len(rows) else None
        is_undone = back is not None and abs(jumps[row] + jumps[back]) < alone
        if is_undone and place_of[back] - place_of[row] <= WAY_BACK:
            marked[row:back] = True
            place += 2
        else:
            marked[row] = True
            place += 1
    return marked
