"""The table `outcomes` brought up to the scores and candles of the lake: symbol by symbol and month by month, nothing twice.

Labels are those that models learn from (`ml.data.labels`), on the newest revisions of the candles. Each run reads what is new
since the last; a month whose candles were corrected, held or released is joined anew, and once a day every month that grew, for a
gap may have been filled in its midst. Where that changes an outcome, a new row says so: readers take the newest (`newest`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.data import labels
from ml.monitoring import joined_months
from ml.monitoring.joined_months import Joined, Stored
from ml.monitoring.outcomes import COLUMNS, KEY, LABELS, joined
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.time import SCORED, micros, utc
from quantstream.lake.quarantine import without
from quantstream.lake.reads import month_bounds
from quantstream.lake.schemas import OUTCOMES, SHADOW_SCORES
from quantstream.lake.snapshots import Snapshot, snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

log = logging.getLogger(__name__)
ROLES = {"scores": "champion", SHADOW_SCORES: "challenger"}  # by the table that the scores are in
READ = [
    *("symbol", "interval", "opened_at", "revision", "scored_at"),
    *("forecasts", "action", "buy", "hold", "sell", "usually_up", "risk", "models"),
]
BACK = (features.MONTH + features.HOUR) * features.STEP_US  # how far labels look back
AHEAD = features.HOUR * features.STEP_US
SETTLES = timedelta(days=2)  # after a month: gaps of its last hour's outcomes are filled by then
AT_ONCE = 50_000  # rows of a commit


@dataclass
class Done:
    """What a run joined, and which symbols failed, with the reason."""

    symbols: int = 0
    months: int = 0  # that were read
    rows: int = 0  # that were written: new ones, and those whose outcome is another by now
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in a sentence."""
        left = "".join(f"; left out {symbol}: {why}" for symbol, why in self.failed.items())
        return f"{self.rows:,} outcomes of {self.symbols:,} symbols joined, {self.months:,} months read{left}"


@dataclass(frozen=True)
class _Month:
    """A month of one symbol's scores that is to be joined from a time on."""

    symbol: str
    name: str
    start: datetime
    seen: str
    following: str
    lasting: str
    is_whole: bool


def join(lake: Lake, now: datetime, symbols: Iterable[str] | None = None) -> Done:
    """Bring the table up to the lake of now (our clock), for some symbols or all that have scores.

    Raises: Unavailable. What was joined until then stays joined.
    """
    tables = [name for name in ROLES if lake.has(name)]
    if not (tables and lake.has("candles")):
        return Done()
    there = snapshot(lake, [*tables, "candles", OUTCOMES])
    done, pending, reached = Done(), list[pa.Table](), dict[str, dict[str, Joined]]()
    for symbol, stored in _stored(there, tables, symbols):
        before = joined_months.remembered(lake, symbol)
        try:
            months = [one for one in _months(symbol, stored, before, now) if one is not None]
            found = [_join(there, tables, month, now) for month in months]
        except DataRejected as error:
            done.failed[symbol] = str(error)
            log.warning("its scores are not joined", extra={"symbol": symbol, "reason": str(error)})
            continue
        if not months:
            continue
        pending += [rows for rows, _ in found if rows.num_rows]
        marks = {month.name: _mark(month, until, before, now) for month, (_, until) in zip(months, found, strict=True)}
        reached[symbol] = {**before, **marks}
        done.symbols, done.months = done.symbols + 1, done.months + len(months)
        if sum(rows.num_rows for rows in pending) >= AT_ONCE:
            done.rows += _commit(lake, pending, reached)
    done.rows += _commit(lake, pending, reached)
    return done


def newest(rows: pa.Table) -> pa.Table:
    """Return the newest row of each score, in order of symbol, time, model, version and role."""
    if rows.num_rows < 2:
        return rows
    rows = rows.sort_by([(name, "ascending") for name in (*KEY, "known_at")])
    is_last = np.zeros(rows.num_rows, dtype=bool)
    is_last[-1] = True
    for name in KEY:
        column = rows[name].combine_chunks()
        is_last[:-1] |= pc.not_equal(column[:-1], column[1:]).to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(is_last))


def _stored(there: Snapshot, tables: Sequence[str], symbols: Iterable[str] | None) -> Iterator[tuple[str, Stored]]:
    scores, candles = [contents(there.table(name)) for name in tables], contents(there.table("candles"))
    held: dict[str, set[date]] = {}
    for symbol, day in there.held("candles") | there.held("scores"):
        held.setdefault(symbol, set()).add(day)
    scored = {symbol for one in scores for symbol in one}
    for symbol in sorted(scored if symbols is None else scored & set(symbols)):
        facts = [one.get(symbol, {}) for one in scores]
        yield symbol, Stored(facts, candles.get(symbol, {}), sorted(held.get(symbol, ())))


def _months(symbol: str, stored: Stored, before: Mapping[str, Joined], now: datetime) -> Iterator[_Month | None]:
    for name in stored.months:
        known, seen, lasting = before.get(name), stored.seen(name), stored.lasting(name)
        following, (begins, ends) = stored.following(name), month_bounds(name)
        if known is not None and (known.seen, known.lasting) == (seen, lasting):
            is_over = known.until >= micros(ends) and known.whole_on >= f"{ends + SETTLES:%Y-%m-%d}"
            if is_over or known.following == following:
                continue
        grew = known is not None and known.lasting == lasting and known.whole_on == f"{now:%Y-%m-%d}"
        start = max(begins, utc(known.until)) if known is not None and grew else begins
        yield _Month(symbol, name, start, seen, following, lasting, not grew)


def _mark(month: _Month, until: int, before: Mapping[str, Joined], now: datetime) -> Joined:
    whole_on = f"{now:%Y-%m-%d}" if month.is_whole else before[month.name].whole_on
    return Joined(month.seen, month.following, month.lasting, whole_on, until)


def _join(there: Snapshot, tables: Sequence[str], month: _Month, now: datetime) -> tuple[pa.Table, int]:
    """Return the rows of a month that are not stored yet, and up to where (µs) no later candle will add any."""
    end = month_bounds(month.name)[1]
    start, stop = micros(month.start), micros(end)
    candles = there.candle_frame([month.symbol], SCORED, utc(start - BACK), utc(stop + AHEAD))
    at = features.opened_at_us(candles) if len(candles) else np.zeros(0, dtype=np.int64)
    count = int((at >= start).sum())
    if not count:
        return pa.schema(COLUMNS).empty_table(), start
    came = labels.compute(candles, rows=count, names=LABELS).set_axis(at[-count:])
    parts = [joined(_scores(there, name, month, end), came, ROLES[name], now) for name in tables]
    return _unknown(there, pa.concat_tables(parts), month, end), max(
        start, min(int(at[-1]) - AHEAD + features.STEP_US, stop)
    )


def _scores(there: Snapshot, table: str, month: _Month, end: datetime) -> pa.Table:
    stored = pa.schema(there.table(table).schema()).names  # a lake of before lacks some until it is migrated
    rows = there.read(table, [month.symbol], month.start, end, [name for name in READ if name in stored])
    rows = rows.filter(pc.equal(rows["interval"], SCORED))
    return without(rows, "scores", there.held("scores"))


def _unknown(there: Snapshot, rows: pa.Table, month: _Month, end: datetime) -> pa.Table:
    """Leave out rows that are stored and still so."""
    if not rows.num_rows:
        return rows
    known = newest(there.read(OUTCOMES, [month.symbol], month.start, end, [*KEY, "actual", "loss", "known_at"]))
    facts = {_key(row): (row["actual"], row["loss"]) for row in known.to_pylist()}
    asked = rows.select([*KEY, "actual", "loss"]).to_pylist()
    return rows.filter(pa.array([facts.get(_key(row)) != (row["actual"], row["loss"]) for row in asked], pa.bool_()))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _commit(lake: Lake, pending: list[pa.Table], reached: dict[str, dict[str, Joined]]) -> int:
    rows: int = sum(part.num_rows for part in pending)
    if rows:
        lake.append(OUTCOMES, pa.concat_tables(pending))
    for symbol, months in reached.items():
        joined_months.remember(lake, symbol, months)
    pending.clear()
    reached.clear()
    return rows
