"""The table `instruments`: every change of what the exchange lists, with its time; so one can ask who was listed at a time.

A row says: from `changed_at` (the exchange's time at which it was seen) on the symbol stood so. A symbol that is named no more
gets a row of its own. Symbols that died before anybody looked come from elsewhere (`source`), say the exchange's archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from quantstream.core.decimals import units_decimal
from quantstream.core.errors import DataRejected
from quantstream.core.instrument import DELISTED, Instrument
from quantstream.core.time import micros, utc
from quantstream.lake.schemas import KNOWN_AT, PRICE, SCHEMAS
from quantstream.lake.store import Lake, Step

TABLE, APPLICATION = "instruments", "instruments"
LISTING = "exchangeInfo"
MOST_GONE, FEW = 0.2, 5  # of those that trade, a larger part does not vanish between two looks: an answer lacks them
Row = dict[str, Any]


class History:
    """Every symbol's states in order of time, from one reading of the table."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """`rows` of the table, in any order."""
        self.states: dict[str, list[tuple[int, Instrument]]] = {}
        for row in sorted(rows, key=lambda row: (row["changed_at"], row[KNOWN_AT])):
            self.states.setdefault(row["symbol"], []).append((micros(row["changed_at"]), _instrument(row)))

    @property
    def known_since(self) -> int | None:
        """The time (µs) before which nothing is known of who was listed; None when nothing is known at all."""
        return min((states[0][0] for states in self.states.values()), default=None)

    def at(self, at: int) -> dict[str, Instrument]:
        """Return how each symbol stood at a time (µs): as last seen, or as first seen if it says it was listed by then."""
        found = {}
        for symbol, states in self.states.items():
            seen = [state for changed_at, state in states if changed_at <= at]
            if seen:
                found[symbol] = seen[-1]
            elif 0 < states[0][1].listed_at <= at:
                found[symbol] = states[0][1]
        return found

    def listed(self, at: int) -> dict[str, Instrument]:
        """Return the symbols that could be traded at a time (µs)."""
        return {symbol: state for symbol, state in self.at(at).items() if state.is_trading}

    def away(self, symbol: str) -> list[tuple[int, int | None]]:
        """Return the times `[from, to)` (µs) over which a symbol could not be traded, None for an end that has not come.

        Of a symbol in BREAK or HALT candles go on, flat: what is learnt of them is learnt of no market.
        """
        states = self.states.get(symbol, [])
        spans: list[tuple[int, int | None]] = []
        if states and states[0][1].listed_at:
            spans.append((0, states[0][1].listed_at))
        gone_at: int | None = None
        for changed_at, state in states:
            if not state.is_trading:
                gone_at = changed_at if gone_at is None else gone_at
            elif gone_at is not None:
                spans.append((gone_at, changed_at))
                gone_at = None
        return spans if gone_at is None else [*spans, (gone_at, None)]


def history(lake: Lake, as_of: datetime | None = None) -> History:
    """Return what the lake knows of who was listed when, empty when nobody has noted it; `as_of`: what was known by then.

    Raises: Unavailable.
    """
    return History(lake.read(TABLE, as_of=as_of).to_pylist() if lake.has(TABLE) else ())


def note(
    lake: Lake, listed: Sequence[Instrument], at: int, known_at: int, accepts_any: bool = False
) -> list[tuple[Instrument | None, Instrument]]:
    """Write what changed since the last look at the exchange's time `at` (µs), and return it: before (None: new) and now.

    The same again writes nothing. Raises: DataRejected for a look older than the last, or when so many symbols are gone that the
    answer must lack them, unless it `accepts_any`; Fenced when another look came in between; Unavailable.
    """
    before = lake.progress(TABLE, APPLICATION)
    if before is not None and at < before:
        raise DataRejected(
            f"the exchange's answer is of {utc(at):%Y-%m-%d %H:%M:%S}, the last one was later; nothing was noted"
        )
    past, now = history(lake).at(at), {one.symbol: one for one in listed}
    there = [symbol for symbol, state in past.items() if state.status != DELISTED]
    gone = [symbol for symbol in there if symbol not in now]
    if len(gone) > max(FEW, MOST_GONE * len(there)) and not accepts_any:
        raise DataRejected(
            f"{len(gone)} of {len(there)} symbols are not in the exchange's list any more, {', '.join(gone[:3])} among them: "
            "nothing was noted; if it is so, repeat with --accept"
        )
    dead = [msgspec.structs.replace(past[symbol], status=DELISTED) for symbol in gone]
    changes = [(past.get(one.symbol), one) for one in (*listed, *dead) if past.get(one.symbol) != one]
    if changes:
        rows = instrument_rows([one for _, one in changes], at, known_at, LISTING)
        lake.append(TABLE, rows, {APPLICATION: Step(before, at)})
    return changes


def instrument_rows(states: Sequence[Instrument], at: int, known_at: int, source: str) -> pa.Table:
    """Return rows of the table: how symbols stood from `at` (µs) on, who says so, and when that became known."""
    exact = ("tick", "lot", "min_notional")
    rows = [
        msgspec.structs.asdict(one)
        | {name: units_decimal(getattr(one, name), PRICE.scale) for name in exact}
        | {"listed_at": utc(one.listed_at) if one.listed_at else None}
        | {"changed_at": utc(at), "source": source, KNOWN_AT: utc(known_at)}
        for one in states
    ]
    return pa.Table.from_pylist(rows, pa.schema([each for each in SCHEMAS[TABLE] if each.name != "date"]))


def _instrument(row: Row) -> Instrument:
    units = {name: int(row[name].scaleb(PRICE.scale)) for name in ("tick", "lot", "min_notional")}
    listed_at = micros(row["listed_at"]) if row["listed_at"] else 0
    return Instrument(row["symbol"], row["status"], row["base"], row["quote"], **units, listed_at=listed_at)
