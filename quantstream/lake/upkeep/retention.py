"""Trades are kept for some days, candles and scores for ever: whole days of trades are deleted once their candles are proved.

Of each symbol days go in order, the oldest first. A day whose candles are not complete, verified and still there stays, and so
do the days after it, and a sentence says why: what is deleted can never be compared again. What writers know (their progress, the
ids seen) is not touched, so a duplicate of a deleted trade is told as ever;
a late one that was never there, the sink refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import pyarrow.compute as pc

from quantstream.core.accounts import newest_of_each
from quantstream.core.day_condition import LEAST_TRADES_DAYS
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.time import DAY, micros, utc
from quantstream.lake import stored_states
from quantstream.lake.reads import newest_revisions
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake, files_at
from quantstream.lake.upkeep.compaction import Commit, commit_files, log_entries, removal
from quantstream.lake.upkeep.deleted_trades import APPLICATION, TRADES, DeletedTrades, deleted_trades

SETTLED = timedelta(minutes=5)  # a trade that was received so long before a proof was in the table by then
log = logging.getLogger(__name__)
Day = tuple[str, date]


@dataclass
class Retained:
    """What a run did: the days that it deleted, their rows, and in sentences which days it left though they are old."""

    days: list[Day] = field(default_factory=list)
    rows: int = 0
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Partition:
    """One symbol's day: its files as the log has them."""

    symbol: str
    day: date
    files: Sequence[Mapping[str, Any]]

    @property
    def rows(self) -> int:
        return sum(file["num_records"] for file in self.files)

    @property
    def received_at(self) -> datetime | None:
        """When the newest trade was received, by our clock; None where the log does not say."""
        times = [file.get("max.received_at") for file in self.files]
        return None if None in times else max(time for time in times if time is not None)


def retain(lake: Lake, keep_days: int, now: int) -> Retained:
    """Delete trades of days that ended more than `keep_days` days before `now` (µs); with 0 they are kept for ever.

    Raises: Misconfigured for fewer than `LEAST_TRADES_DAYS`; Fenced when a compaction is at work, for the next run; Unavailable.
    """
    done = Retained()
    if not keep_days or not lake.has(TRADES):
        return done
    if keep_days < LEAST_TRADES_DAYS:
        raise Misconfigured(
            f"trades are kept for {LEAST_TRADES_DAYS} days at least or for ever (0), not for {keep_days}"
        )
    end = utc(now).date() - timedelta(days=keep_days)
    table = lake.table(TRADES)
    gone = deleted_trades(lake, table)
    chosen: list[_Partition] = []
    for days in _old_days(table, end).values():
        chosen += _provable(lake, days, gone, done)
    if chosen:
        _delete(lake, table, chosen, gone)
        done.days, done.rows = [(one.symbol, one.day) for one in chosen], sum(one.rows for one in chosen)
    for sentence in done.refused:
        log.warning("trades stay though they are old", extra={"reason": sentence})
    log.info(
        "retention", extra={"days": len(done.days), "rows": done.rows, "stay": len(done.refused), "before": str(end)}
    )
    return done


def retained_lines(done: Retained, keep_days: int) -> list[str]:
    """Return what a run did for a person."""
    if not keep_days:
        return ["trades are kept for ever; set QUANTSTREAM_TRADES_DAYS to keep those of so many days"]
    first = f"trades of {len(done.days)} days deleted, {done.rows:,} rows; files go with the vacuum, a week later"
    return [first, *(f"not deleted: {sentence}" for sentence in done.refused)]


def _old_days(table: Any, end: date) -> dict[str, list[_Partition]]:
    """Return each symbol's days before `end`, in order."""
    found: dict[Day, list[Mapping[str, Any]]] = {}
    for file in log_entries(table):
        if file["partition.date"] < end:
            found.setdefault((file["partition.symbol"], file["partition.date"]), []).append(file)
    by_symbol: dict[str, list[_Partition]] = {}
    for (symbol, day), files in sorted(found.items()):
        by_symbol.setdefault(symbol, []).append(_Partition(symbol, day, files))
    return by_symbol


def _provable(
    lake: Lake, days: Sequence[_Partition], gone: Mapping[str, DeletedTrades], done: Retained
) -> list[_Partition]:
    """Return a symbol's days up to the first that must stay, which is noted as refused."""
    symbol, chosen = days[0].symbol, list[_Partition]()
    begin, end = _begin(days[0].day), _begin(days[-1].day) + timedelta(days=1)
    accounts = {row["day"].date(): row for row in newest_of_each(_accounts(lake, symbol, begin, end))}
    opened = snapshot(lake, ["candles"])
    for one in days:
        if symbol in gone and micros(_begin(one.day)) < gone[symbol].before:
            done.refused.append(
                f"{symbol} {one.day}: {one.rows} trades came after the day had been deleted; they stay: see where they come from"
            )
        elif why := _unproved(opened, one, accounts.get(one.day)):
            done.refused.append(f"{symbol} {one.day}: {why}; its trades stay, and so do those of the days after it")
            break
        else:
            chosen.append(one)
    return chosen


def _accounts(lake: Lake, symbol: str, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    return lake.read("accounts", [symbol], begin, end).to_pylist() if lake.has("accounts") else []


def _unproved(lake: Lake, one: _Partition, account: Mapping[str, Any] | None) -> str:
    """Say why a day's trades must stay, nothing if its candles are complete, verified and there."""
    verify = f"run quantstream verify --symbols {one.symbol} and look at it, or repair it"
    if account is None:
        return f"its candles were never verified: {verify}"
    if account["condition"] != "whole":
        return f"it is {account['condition']} ({account['why']}): {verify}"
    if one.received_at is None or one.received_at + SETTLED > account["made_at"] or one.rows < account["trades"]:
        return f"its trades are not those that were verified at {account['made_at']:%Y-%m-%d %H:%M}: {verify}"
    there = _complete_candles(lake, one)
    if there < account["candles"]:
        return f"of {account['candles']} candles that were verified {there} are there and complete: {verify}"
    return ""


def _complete_candles(lake: Lake, one: _Partition) -> int:
    rows = lake.read("candles", [one.symbol], _begin(one.day), _begin(one.day) + timedelta(days=1))
    newest = [
        newest_revisions(rows.filter(pc.field("interval") == interval))
        for interval in pc.unique(rows["interval"]).to_pylist()
    ]
    return sum(pc.sum(some["is_complete"]).as_py() or 0 for some in newest)


def _delete(lake: Lake, table: Any, chosen: Sequence[_Partition], gone: Mapping[str, DeletedTrades]) -> None:
    now = dict(gone)
    for one in chosen:
        before = now.get(one.symbol, DeletedTrades(0, 0))
        now[one.symbol] = DeletedTrades(micros(_begin(one.day)) + DAY, before.rows + one.rows)
    reached = lake.progress(TRADES, APPLICATION, table)
    number = (reached or 0) + 1
    files = files_at(f"{lake.url}/{TRADES}", lake.storage_options)
    removes = [
        removal(file, {"symbol": one.symbol, "date": str(one.day)}, True) for one in chosen for file in one.files
    ]
    try:
        stored_states.keep(files, APPLICATION, number, msgspec.json.encode(now))
        commit_files(table, Commit([], removes, {APPLICATION: number}))
        stored_states.drop_before(files, APPLICATION, reached, number)
    except OSError as error:
        raise Unavailable(f"the trades of {lake.url} were not deleted: {error}") from error


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
