"""The course of a synthetic symbol, minute by minute: price, volatility, and how many orders and trades each minute holds.

A pure function of (seed, symbol): each day is drawn by a generator of its own and continues where the day before ended, so that
history, now, and a restarted exchange agree. Volatility clusters (log-volatility as a sum of fast and slow autoregressions,
partly shared by the whole market), prices jump, activity follows the hour and the day of the week. Counts are fixed here, so that
any trade's id is known without making the trades before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from quantstream.core.time import DAY, MINUTE
from streaming.exchange.market.listing import Character
from streaming.exchange.market.tape import Ints

Floats = npt.NDArray[np.float64]
MINUTES_A_DAY = DAY // MINUTE
MINUTES_A_YEAR = 525_600
EXTRA_FILLS = 0.4  # trades beyond the first that a taker order fills, on average
FAST_MEMORY = np.exp(-1 / 90)  # log-volatility forgets with time constants of 90 minutes
SLOW_MEMORY = np.exp(-1 / 4320)  # and of three days
DRIFT_MEMORY = np.exp(-1 / 120)  # a faint momentum of two hours,
DRIFT_SHARE = 0.03  # this part of a minute's spread
JUMPS_A_DAY = 1.5
JUMP_SIZE = 12.0  # in standard deviations of one minute
PULL = 1 / (90 * MINUTES_A_DAY)  # back to the opening price over 90 days, so that years of it stay plausible


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a symbol, by minute. `price` and the ids have an edge more: as the minute opens, and as the last one closes."""

    price: Floats
    spread: Floats  # standard deviation of each minute's log return
    orders: Ints
    trades: Ints
    off_book: Ints  # trades of a futures market beside those, numbered too
    trade_ids: Ints
    aggregate_ids: Ints


@dataclass(frozen=True, slots=True)
class _Mood:
    """What the next day continues from."""

    log_price: float
    fast: float
    slow: float
    drift: float
    trade_id: int
    aggregate_id: int


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Return the generator that belongs to a seed, a name and numbers: the same in every process."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *numbers])


@dataclass(frozen=True, slots=True)
class Regime:
    """A planted change: from `changes_at` (µs) on every symbol's moves are `factor` times as large, for ever."""

    changes_at: int
    factor: float

    def factors(self, at: Ints) -> Floats:
        """Return by how much moves are larger at some times (µs)."""
        return np.where(at < self.changes_at, 1.0, self.factor)


class Climate:
    """What all symbols share: the market's own returns and its part of the volatility, per day since the beginning."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._days: list[tuple[Floats, Floats]] = []
        self._level = 0.0

    def day(self, index: int) -> tuple[Floats, Floats]:
        """Return the market's standard returns and log-volatility of each minute of a day."""
        while len(self._days) <= index:
            rng = generator(self._seed, "*", len(self._days))
            returns = rng.standard_normal(MINUTES_A_DAY)
            level = _autoregression(rng, float(FAST_MEMORY), self._level)
            self._level = float(level[-1])
            self._days.append((returns, level))
        return self._days[index]


class SymbolPath:
    """The days of one symbol from `begins_at` (midnight, µs) on, drawn as they are asked for."""

    def __init__(
        self,
        symbol: str,
        character: Character,
        seed: int,
        climate: Climate,
        begins_at: int,
        trade_rate: Callable[[Ints], Floats],
        off_book_rate: float = 0.0,
        regime: Regime | None = None,
    ) -> None:
        """`trade_rate` gives the mean trades per second at each of many times (µs); `off_book_rate` is a minute's."""
        self._off_book_rate, self._regime = off_book_rate, regime
        self.symbol = symbol
        self.begins_at = begins_at
        self._character = character
        self._seed = seed
        self._climate = climate
        self._trade_rate = trade_rate
        self._days: list[Day] = []
        self._mood = _Mood(float(np.log(character.price)), 0.0, 0.0, 0.0, trade_id=1, aggregate_id=1)

    def day_at(self, at: int) -> tuple[Day, int]:
        """Return the day that holds `at`, and when it opened."""
        index = (at - self.begins_at) // DAY
        while len(self._days) <= index:
            self._draw()
        return self._days[index], self.begins_at + index * DAY

    def minute_of_trade(self, trade_id: int, until: int) -> int | None:
        """Return the opening time of the minute with trade `trade_id`, or None when that trades in no minute before `until`."""
        return self._minute_of(trade_id, until, lambda day: day.trade_ids)

    def minute_of_aggregate(self, aggregate_id: int, until: int) -> int | None:
        """Return the opening time of the minute with aggregate `aggregate_id`, like `minute_of_trade`."""
        return self._minute_of(aggregate_id, until, lambda day: day.aggregate_ids)

    def _minute_of(self, number: int, until: int, ids: Callable[[Day], Ints]) -> int | None:
        self.day_at(until - 1)
        low, high = 0, (until - 1 - self.begins_at) // DAY
        if number >= ids(self._days[high])[-1]:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if number < ids(self._days[middle])[-1] else (middle + 1, high)
        minute = max(0, int(np.searchsorted(ids(self._days[low]), number, side="right")) - 1)
        at = self.begins_at + low * DAY + minute * MINUTE
        return at if at < until else None

    def _draw(self) -> None:
        index, mood, character = len(self._days), self._mood, self._character
        rng = generator(self._seed, self.symbol, 0, index)
        market_returns, market_level = self._climate.day(index)
        fast = _autoregression(rng, float(FAST_MEMORY), mood.fast)
        slow = _autoregression(rng, float(SLOW_MEMORY), mood.slow)
        drift = _autoregression(rng, float(DRIFT_MEMORY), mood.drift)
        level = 0.30 * market_level + 0.25 * fast + 0.25 * slow
        rhythm = _rhythm(self.begins_at + index * DAY)
        spread = character.volatility / np.sqrt(MINUTES_A_YEAR) * np.sqrt(rhythm) * np.exp(level - 0.1)
        if self._regime is not None:
            spread = spread * self._regime.factors(self.begins_at + index * DAY + np.arange(MINUTES_A_DAY) * MINUTE)
        own = rng.standard_normal(MINUTES_A_DAY)
        beta = character.beta
        returns = spread * (np.sqrt(beta) * market_returns + np.sqrt(1 - beta) * own + DRIFT_SHARE * drift)
        returns += _jumps(rng, spread) - PULL * (mood.log_price - np.log(character.price))
        edges = np.concatenate(([mood.log_price], mood.log_price + np.cumsum(returns)))
        orders, trades = self._counts(rng, index, rhythm * np.exp(0.8 * level))
        off_book = self._off_book(index, orders)
        trade_ids = mood.trade_id + np.concatenate(([0], np.cumsum(trades + off_book)))
        aggregate_ids = mood.aggregate_id + np.concatenate(([0], np.cumsum(orders)))
        self._days.append(Day(np.exp(edges), spread, orders, trades, off_book, trade_ids, aggregate_ids))
        ends = (float(edges[-1]), float(fast[-1]), float(slow[-1]), float(drift[-1]))
        self._mood = _Mood(*ends, int(trade_ids[-1]), int(aggregate_ids[-1]))

    def _counts(self, rng: np.random.Generator, index: int, activity: Floats) -> tuple[Ints, Ints]:
        opened_at = self.begins_at + index * DAY + np.arange(MINUTES_A_DAY) * MINUTE
        mean = self._trade_rate(opened_at) * 60 * activity
        orders = rng.poisson(mean / (1 + EXTRA_FILLS))
        extra = np.where(orders > 0, rng.poisson(EXTRA_FILLS * orders), 0)
        return orders.astype(np.int64), (orders + extra).astype(np.int64)

    def _off_book(self, index: int, orders: Ints) -> Ints:
        if not self._off_book_rate:
            return np.zeros_like(orders)
        drawn = generator(self._seed, self.symbol, 3, index).poisson(self._off_book_rate, MINUTES_A_DAY)
        return np.where(orders > 0, drawn, 0).astype(np.int64)


def _autoregression(rng: np.random.Generator, memory: float, start: float) -> Floats:
    """Return a day of a first-order autoregression of unit variance that continues from `start`."""
    shocks = (rng.standard_normal(MINUTES_A_DAY) * np.sqrt(1 - memory**2)).tolist()
    values = accumulate(shocks, lambda level, shock: memory * level + shock, initial=start)
    return np.array(list(values)[1:])


def _jumps(rng: np.random.Generator, spread: Floats) -> Floats:
    happens = rng.random(MINUTES_A_DAY) < JUMPS_A_DAY / MINUTES_A_DAY
    return np.where(happens, rng.standard_normal(MINUTES_A_DAY) * JUMP_SIZE * spread, 0.0)


def _rhythm(day_opened_at: int) -> Floats:
    """Return each minute's usual activity: busiest when Europe and America overlap, calmer at weekends; a weekday's mean is 1."""
    hours = np.arange(MINUTES_A_DAY) / 60
    curve = 0.55 + 1.1 * np.exp(-(((hours - 14.5) / 3.5) ** 2)) + 0.35 * np.exp(-(((hours - 1.5) / 2.5) ** 2))
    weekday = (day_opened_at // DAY + 3) % 7  # the epoch was a Thursday; Monday is 0
    rhythm: Floats = curve / curve.mean() * (0.65 if weekday >= 5 else 1.0)
    return rhythm
