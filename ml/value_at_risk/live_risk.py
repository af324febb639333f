"""One look at value at risk, live: forecasts of the newest hours into the lake, and those of before held against what came.

What came is no table of its own: it follows from the forecasts and the newest candles, and is found anew at each look over the
last `JUDGED`, symbol by symbol from the candles that the new forecasts need as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from ml.value_at_risk.backtests.judged_hours import JudgedHours, of_rows
from ml.value_at_risk.forecast_rows import Moment, Row, forecasts, table_of
from ml.value_at_risk.observations import HORIZONS, Observations, observe
from ml.value_at_risk.stored_risk import Asked, read_candles
from quantstream.core.errors import DataRejected
from quantstream.core.time import HOUR, micros, utc
from quantstream.lake.reads import month_bounds
from quantstream.lake.schemas import VALUE_AT_RISK
from quantstream.lake.snapshots import Snapshot, snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

SETTLES = timedelta(minutes=5)  # our clock: what became known by then is in the lake, of a restarted sink as well
MOST_SYMBOLS = 200  # that are told each hour, half a second each; of any other `quantstream var` tells on demand
MOST_HOURS = 48  # that are made up for after a pause, and where the market's clock runs faster than ours
JUDGED = timedelta(days=90)  # of the market
MONTH = timedelta(days=31)
log = logging.getLogger(__name__)


@dataclass
class Looked:
    """What a look wrote, which symbols have no figure and why, and by horizon the judged hours up to `until` (market time)."""

    rows: int = 0
    symbols: int = 0
    without: dict[str, str] = field(default_factory=dict)
    judged: dict[str, list[JudgedHours]] = field(default_factory=lambda: {one.name: [] for one in HORIZONS})
    until: datetime | None = None

    def __str__(self) -> str:
        """Say it in a sentence."""
        left = "".join(f"; {why}" for why in self.without.values())
        return f"{self.rows:,} forecasts of value at risk of {self.symbols:,} symbols{left}"


def look(lake: Lake, now: datetime, most_symbols: int = MOST_SYMBOLS) -> Looked:
    """Write the forecasts of the hours since the last look, at a time of our clock, and hold those of before against what came.

    Raises: Unavailable, and nothing is written.
    """
    looked, made = Looked(), list[Row]()
    if not lake.has("candles"):
        return looked
    there = snapshot(lake, ["candles"])
    months = {symbol: max(stored) for symbol, stored in contents(there.table("candles")).items()}
    if not months:
        return looked
    hours = _hours(max(months.values()))
    before = _before(lake, int(hours[0]))
    for symbol in sorted(months)[:most_symbols]:
        try:
            found = _Symbol(symbol, before.get(symbol, []), Moment(now, now - SETTLES))
            made += found.look(there, months[symbol], hours, looked)
        except DataRejected as error:
            looked.without[symbol] = str(error)
            log.warning("no value at risk", extra={"symbol": symbol, "reason": str(error)})
    if made:
        lake.append(VALUE_AT_RISK, table_of(made))
    _trim(looked)
    return looked


@dataclass(frozen=True)
class _Symbol:
    """One symbol, its forecasts of before, and the moment that new ones are made at."""

    name: str
    before: list[Row]
    moment: Moment

    def look(self, there: Snapshot, month: str, hours: npt.NDArray[np.int64], looked: Looked) -> list[Row]:
        """Return its new forecasts, and note its judged hours. Raises: DataRejected, Unavailable."""
        candles = read_candles(there, self.name, month, Asked(None, self.moment.known_by))
        if not len(candles):
            return []
        seen = observe(candles)
        made = list(forecasts(self.name, candles, seen, self._missing(seen), self.moment))
        for horizon in HORIZONS:
            rows = [*self.before, *made]
            looked.judged[horizon.name].append(of_rows(self.name, rows, seen, horizon, hours))
        looked.symbols, looked.rows = looked.symbols + 1, looked.rows + len(made)
        return made

    def _missing(self, seen: Observations) -> list[int]:
        """The full hours up to the newest close that have no forecast yet; of the first look the newest alone."""
        newest = int(seen.closed_at[-1]) // HOUR * HOUR
        last = max((micros(row["told_at"]) for row in self.before), default=newest - HOUR)
        return list(range(max(last + HOUR, newest - (MOST_HOURS - 1) * HOUR), newest + 1, HOUR))


def _hours(newest_month: str) -> npt.NDArray[np.int64]:
    """The full hours of all that may be judged, up to the end of the newest month (2025-11) of candles."""
    end = month_bounds(newest_month)[1]
    return np.arange(micros(end - JUDGED - MONTH), micros(end), HOUR)


def _before(lake: Lake, start: int) -> dict[str, list[Row]]:
    """The forecasts from a time (µs) on, by symbol."""
    found: dict[str, list[Row]] = {}
    for row in lake.read(VALUE_AT_RISK, start=utc(start)).to_pylist() if lake.has(VALUE_AT_RISK) else ():
        found.setdefault(row["symbol"], []).append(row)
    return found


def _trim(looked: Looked) -> None:
    """Cut the judged hours to the newest ones that there are forecasts of."""
    every = [one for judged in looked.judged.values() for one in judged]
    last = max((int(one.at[np.isfinite(one.columns["sigma"])].max(initial=0)) for one in every), default=0)
    if not last:
        return
    looked.until = utc(last)
    for name, judged in looked.judged.items():
        looked.judged[name] = [one.between(last - JUDGED // timedelta(microseconds=1), last) for one in judged]
