"""The lake's table `accounts`: a row for each symbol and day with its condition, why, and what the sink says of its trades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from quantstream.core.accounts import Account, newest_of_each
from quantstream.core.day_condition import DayProof, account_trouble
from quantstream.core.time import utc
from quantstream.lake.schemas import ACCOUNT_COUNTS, SCHEMAS, SINK_COUNTS
from quantstream.lake.store import Lake
from streaming.sink.symbol_state import sink_accounts

Row = dict[str, Any]


def keep_accounts(lake: Lake, days: Sequence[DayProof], at: int) -> list[Row]:
    """Write a row for each day, made at `at` (wall clock, µs), and return them. A day written before is written anew.

    The sink's counts go on for ever: the newest day of a symbol gets them as they are, an older one keeps those it had.
    Raises: Unavailable.
    """
    if not days:
        return []
    accounts, rows = sink_accounts(lake)
    before = {(row["symbol"], row["day"]): row for row in kept_accounts(lake, utc(min(day.day for day in days)))}
    newest = {day.symbol: max(other.day for other in days if other.symbol == day.symbol) for day in days}
    made = []
    for day in days:
        is_newest = day.day == newest[day.symbol]
        account = accounts.get(day.symbol, Account() if accounts else None)
        count = rows.get(day.symbol, 0)
        condition, why = day.judged(account_trouble(account, count) if is_newest else "")
        sink = _sink(account, count) if is_newest else _as_before(before.get((day.symbol, utc(day.day))))
        counts = {name: getattr(day, name) for name in ACCOUNT_COUNTS}
        entry = {"condition": condition, "why": why, "made_at": utc(at), "day": utc(day.day), "symbol": day.symbol}
        made.append({**entry, **counts, **sink})
    schema = pa.schema([each for each in SCHEMAS["accounts"] if each.name != "date"])
    lake.append("accounts", pa.Table.from_pylist(made, schema))
    return made


def kept_accounts(lake: Lake, start: datetime) -> list[Row]:
    """Return the newest row of each symbol and day from `start` on, in order.

    Raises: Unavailable.
    """
    return newest_of_each(lake.read("accounts", start=start).to_pylist())


def _sink(account: Account | None, rows: int) -> Row:
    counts = msgspec.structs.astuple(account) if account else [None] * len(Account.__struct_fields__)
    return dict(zip(SINK_COUNTS, [*counts, rows], strict=True))


def _as_before(row: Row | None) -> Row:
    return {name: row[name] if row else None for name in SINK_COUNTS}
