"""A symbol's stored candles as the two frames that are validated: a row a candle, and a row a day.

Rows are the newest revision of each candle, repeated ones included: what a reader would silently choose from is to be seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation.expected.candle_rules import vwap_excess
from ml.validation.expected.decimals import floats, plain, units
from ml.validation.market import Market
from ml.validation.outages import Outage, is_declared
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, HOUR, INTERVALS, MINUTE, SCORED, WEEK, utc

LENGTH = INTERVALS[SCORED]
SETTLE = HOUR  # repair comes every quarter of an hour: what is still missing then is missing
LAGS = range(
    -14 * HOUR // LENGTH, 14 * HOUR // LENGTH + 1, 30 * MINUTE // LENGTH
)  # of the world's time zones, in windows
FEWEST = 50  # windows of a day in which both moved, before their correlation is looked at
OUTERMOST = 2.0  # times the day's median move, beyond which a move counts no more
SURE = 8.0  # standard errors from none: of a million days, with 57 lags each, chance gets so far on none
WEEKS = 4  # on each side, of the same hour of the week: a season that follows the market's level
AVERAGED = ("low", "high", "volume", "quote_volume", "trade_count", "source")
FLOATS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
DAY_COLUMNS = ("day", "rows", "missing", "missing_from", "declared", "clock_lag_minutes", "volume_log_ratio")
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Frames:
    """What is validated of one symbol: its rows in order of time, and its days; `day` of both is in ISO 8601."""

    rows: pd.DataFrame
    days: pd.DataFrame


def newest_with_copies(stored: pa.Table) -> pa.Table:
    """Return the newest revision of each candle in order, with every row that repeats it."""
    order = ("opened_at", "revision", "is_complete", "source")
    rows = stored.sort_by([(name, "ascending") for name in order])
    at = rows["opened_at"].cast(pa.int64()).to_numpy()
    if not len(at):
        return rows
    last = np.append(np.flatnonzero(np.diff(at)), len(at) - 1)[np.cumsum(np.append(0, np.diff(at) != 0))]
    same = np.ones(len(at), np.bool_)
    for name in ("revision", "is_complete", "source"):
        codes = pc.dictionary_encode(rows[name].combine_chunks()).indices.fill_null(-1).to_numpy(zero_copy_only=False)
        same &= codes == codes[last]
    return rows.filter(pa.array(same))


def candle_frames(
    stored: pa.Table, symbol: str, market: Market, outages: Sequence[Outage], now: int, is_first: bool = True
) -> Frames:
    """Return the frames of one symbol's stored rows at one interval (any revisions, in any order); `now` in µs.

    A column that is missing is left out of the rows, for the suite to tell. `is_first` says that no candle is older than these.
    """
    table = newest_with_copies(stored)
    rows = _rows(table, symbol, market, outages)
    return Frames(rows, _days(rows, symbol, market, outages, now, is_first))


def _rows(table: pa.Table, symbol: str, market: Market, outages: Sequence[Outage]) -> pd.DataFrame:
    at = table["opened_at"].cast(pa.int64()).to_numpy()
    columns: dict[str, object] = {
        "day": pd.Categorical(days_of(at)),
        "opened_at": at,
        "closed_at": at + LENGTH,
        "window_length": LENGTH,
    }
    for name in table.column_names:
        if name in FLOATS:
            columns[name] = floats(table[name])
        elif name not in ("opened_at", "date", "known_at"):
            columns[name] = plain(table[name])
    if all(name in table.column_names for name in AVERAGED):
        columns["vwap_excess"] = vwap_excess(table)
    for name in ("open", "high", "low", "close"):
        if name in table.column_names:
            columns[f"{name}_units"] = units(table[name])
    columns["boundary_offset_us"] = at % LENGTH
    columns["steps"] = np.diff(at, prepend=at[:1]) // LENGTH
    columns["is_outage"] = is_declared(outages, symbol, at, LENGTH)
    columns["market_move"] = market.moves(symbol, at)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(at)))


def _days(
    rows: pd.DataFrame, symbol: str, market: Market, outages: Sequence[Outage], now: int, is_first: bool
) -> pd.DataFrame:
    """Return a row for each day that has candles: what it lacks, and how it stands to market and season."""
    at = rows["opened_at"].to_numpy(np.int64)
    present = np.unique(at[at % LENGTH == 0])
    if not len(present):
        return pd.DataFrame({name: [] for name in DAY_COLUMNS})
    days = np.unique(at // DAY)
    due = _due(present, days, now, is_first)
    lacking = due[~np.isin(due, present)]
    is_known = is_declared(outages, symbol, lacking, LENGTH)
    declared, lacking = lacking[is_known], lacking[~is_known]
    grid = np.arange(days[0] * DAY, (days[-1] + 1) * DAY, LENGTH)
    close, volume = (_on_grid(rows, grid, name) for name in ("close", "volume"))
    return pd.DataFrame(
        {
            "day": days_of(days * DAY),
            "rows": _counts(at // DAY, days),
            "missing": _counts(lacking // DAY, days),
            "missing_from": _first_times(lacking, days),
            "declared": _counts(declared // DAY, days),
            "clock_lag_minutes": _clock_lags(close, market.moves(symbol, grid))[days - days[0]],
            "volume_log_ratio": _season(volume, grid)[days - days[0]],
        }
    )


def _due(present: Times, days: Times, now: int, is_first: bool) -> Times:
    """Return the windows that should be there on some days: from the first candle on, up to the end of days that are over.

    Of a day that goes on, those up to its newest candle, the last hour's left to ingest and repair.
    """
    grid = (days[:, None] * DAY + np.arange(0, DAY, LENGTH)[None, :]).ravel()
    settled = now - SETTLE
    last = present[-1]
    is_over = (grid // DAY + 1) * DAY <= settled
    due: Times = grid[((grid >= present[0]) | (not is_first)) & (is_over | (grid <= min(last, settled)))]
    return due


def _counts(values: Times, days: Times) -> npt.NDArray[np.int64]:
    place = np.searchsorted(days, values)
    return np.bincount(place, minlength=len(days)).astype(np.int64)


def _first_times(windows: Times, days: Times) -> list[str]:
    """Return of each day when its first of some windows opens, empty where it has none."""
    first = dict(zip((windows // DAY).tolist()[::-1], windows.tolist()[::-1], strict=True))
    return [f"{utc(first[day]):%H:%M}" if day in first else "" for day in days.tolist()]


def _on_grid(rows: pd.DataFrame, grid: Times, name: str) -> Floats:
    found = np.full(len(grid), np.nan)
    if name in rows:
        at = rows["opened_at"].to_numpy(np.int64)
        found[(at - grid[0]) // LENGTH] = rows[name].to_numpy(np.float64)
    return found


def _clock_lags(close: Floats, market: Floats, poor: float = 0.2, good: float = 0.5) -> Floats:
    """Return of each day by how many minutes its moves come after the market's, 0 where they go with it or nothing is clear.

    Clear is a correlation of `good` at another whole half-hour where that with the market now is `poor`. On a quiet day, of few
    windows in which both moved, it must be higher: so many lags are tried that chance alone would find one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.diff(np.log(np.where(close > 0, close, np.nan)), prepend=np.nan)
    mine, others = (_moves(values.reshape(-1, DAY // LENGTH)) for values in (own, market))
    best, lag_of = np.full(len(mine), good), np.zeros(len(mine))
    now, _ = _correlations(mine, others)
    suspects = now < poor
    if not suspects.any():
        return lag_of
    for lag in LAGS:
        moved = np.full(others.size, np.nan)
        moved[max(0, lag) : others.size + min(0, lag)] = others.ravel()[max(0, -lag) : others.size - max(0, lag)]
        found, chance = _correlations(mine[suspects], moved.reshape(others.shape)[suspects])
        is_better = (found > best[suspects]) & (found > chance)
        rows = np.flatnonzero(suspects)[is_better]
        best[rows], lag_of[rows] = found[is_better], lag * LENGTH / MINUTE
    return lag_of


def _moves(returns: Floats) -> Floats:
    """Return each day's moves cut at `OUTERMOST` usual ones, NaN where there is none: (days, windows).

    So a correlation is of many windows, and never of the one with the largest move.
    """
    moves = np.where(returns == 0, np.nan, returns)
    reach = OUTERMOST * pd.DataFrame(np.abs(moves)).median(axis=1).to_numpy()[:, None]
    return np.clip(moves, -reach, reach)


def _correlations(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return the correlation of each pair of days over the windows in which both moved, and what chance may come to at most.

    NaN where these are fewer than `FEWEST`.
    """
    both = np.isfinite(one) & np.isfinite(other)
    count = both.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (
            np.where(both, values - np.where(both, values, 0.0).sum(axis=1, keepdims=True) / count[:, None], 0.0)
            for values in (one, other)
        )
        found: Floats = (left * right).sum(axis=1) / np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    chance = np.tanh(SURE / np.sqrt(np.maximum(count - 3, 1)))  # Fisher's transformation
    return np.where(count >= FEWEST, found, np.nan), chance


def _season(volume: Floats, grid: Times) -> Floats:
    """Return of each day the log of its volume over what is usual: the median, over its hours, of the same hours weeks around."""
    hours = np.nansum(volume.reshape(-1, HOUR // LENGTH), axis=1)
    hours[np.isnan(volume.reshape(-1, HOUR // LENGTH)).any(axis=1)] = np.nan
    offset = int(grid[0] % WEEK // HOUR)
    weeks = np.full(-(-(offset + len(hours)) // 168) * 168, np.nan)
    weeks[offset : offset + len(hours)] = hours
    by_week = pd.DataFrame(weeks.reshape(-1, 168))
    usual = by_week.rolling(2 * WEEKS + 1, center=True, min_periods=3).median().to_numpy().ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(np.maximum(hours, 0.0) / usual[offset : offset + len(hours)])
    per_day = pd.DataFrame(ratio.reshape(-1, 24)).median(axis=1).to_numpy(np.float64)
    return np.where(np.isfinite(per_day), per_day, 0.0)


def days_of(at: Times) -> npt.NDArray[np.str_]:
    """Return the day of each time (µs) in ISO 8601."""
    return (at // DAY).astype("datetime64[D]").astype(str)
