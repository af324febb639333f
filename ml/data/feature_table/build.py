"""Bring the table `features` up to the candles: months that are new, corrected or of other definitions are made anew.

What a version of the table holds is one training set: the symbols that were asked for, every month that they have candles of, no
other. A month that fails is named and left out, the others go on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ml.data.feature_table.columns import BY, TABLE, precision_for, schema
from ml.data.feature_table.looked_at import looked_at, remember
from ml.data.feature_table.months import bounds, month_at, span_of, stretches
from ml.data.feature_table.parts import Months, Source, Stretch, make
from quantstream import engine, features
from quantstream.core.errors import DataRejected, Fenced
from quantstream.core.time import utc
from quantstream.lake import partition_files
from quantstream.lake.instruments import history
from quantstream.lake.partition_files import Key, Made, Part
from quantstream.lake.quarantine import Partition, quarantine_of
from quantstream.lake.snapshots import at_version
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

log = logging.getLogger(__name__)
AT_ONCE = 256  # stretches in a commit: what a killed build has to make again at most
TRIES = 3  # of a build that another one outran


@dataclass
class Built:
    """What a build did: the version to read, the parts there are, and what was left out, with the reason."""

    version: int
    candles_version: int
    parts: int
    rows: int
    made: int = 0
    removed: int = 0
    unchanged: int = 0  # of those that were looked at
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in a sentence."""
        read = f", {self.unchanged:,} read again and found as they were" if self.unchanged else ""
        left = "".join(f"; left out {name}: {why}" for name, why in self.refused.items())
        return (
            f"features version {self.version}: {self.rows:,} rows in {self.parts:,} parts of candles version "
            f"{self.candles_version}, {self.made:,} made, {self.removed:,} removed{read}{left}"
        )


@dataclass(frozen=True)
class Plan:
    """What there is to do from a version of the table on."""

    source: Source
    base: Made
    wanted: frozenset[Key]
    stretches: tuple[Stretch, ...]
    looked: Mapping[Key, str] = field(default_factory=dict)  # months that were read again and found as they were

    @property
    def gone(self) -> list[Part]:
        """Parts of symbols and months that are not wanted."""
        return [part for key, part in self.base.parts.items() if key not in self.wanted]


def build(lake: Lake, symbols: Sequence[str], trailing: int = features.MONTH, dask: str = "") -> Built:
    """Bring the table up to the newest candles of these symbols; `dask` says where, as `quantstream.engine.spread` has it.

    Raises: DataRejected when there are no candles or none that could be used; Unavailable, after all others were made, for a
    month that another try may mend.
    """
    for _ in range(TRIES - 1):
        try:
            return _built(lake, symbols, trailing, dask)
        except Fenced as error:
            log.info("building goes on from what another made", extra={"reason": str(error)})
    return _built(lake, symbols, trailing, dask)


def plan(lake: Lake, symbols: Sequence[str], trailing: int = features.MONTH) -> Plan:
    """Return what is to be made of the newest candles; nothing is read but logs."""
    version = lake.version("candles")
    everything = contents(at_version(lake, "candles", version).table("candles"))
    candles = {symbol: everything[symbol] for symbol in sorted(set(symbols) & everything.keys())}
    precision = precision_for(sum(rows for parts in candles.values() for rows, _ in parts.values()))
    source = Source(lake.url, tuple(sorted((lake.storage_options or {}).items())), version, trailing, precision)
    base = partition_files.begin(lake, TABLE, BY, schema(precision))
    looked = looked_at(lake, base)
    listings, by, quarantine = history(lake), source.made_by, quarantine_of(lake)
    held_candles, held_features = (_by_symbol(quarantine.partitions(name)) for name in ("candles", TABLE))
    wanted, found = set[Key](), list[Stretch]()
    for symbol in candles:
        away, pieces = tuple(listings.away(symbol)), {span_of(name): rows for name, rows in candles[symbol].items()}
        held, muted = (days.get(symbol, ()) for days in (held_candles, held_features))
        stale: dict[str, tuple[str, str]] = {}
        for month in sorted({month_at(start) for start, _ in pieces}):
            wanted.add((symbol, month))
            part, seen = (
                base.parts.get((symbol, month)),
                _seen(pieces, month, source.back, (away, _left_out(month, source.back, held, muted))),
            )
            is_ours = part is not None and part.facts["made_by"] == by
            if part is None or not is_ours or seen not in (part.facts["seen"], looked.get((symbol, month))):
                stale[month] = seen, part.facts["made_of"] if part is not None and is_ours else ""
        for months in stretches(stale):
            seen_of, before = zip(*(stale[month] for month in months), strict=True)
            found.append(Stretch(source, symbol, months, seen_of, min(pieces)[0], away, before, held, muted))
    return Plan(source, base, frozenset(wanted), tuple(found), looked)


def _built(lake: Lake, symbols: Sequence[str], trailing: int, dask: str) -> Built:
    planned = plan(lake, symbols, trailing)
    if not planned.wanted:
        raise DataRejected("there are no candles to learn from; run the history_backfill pipeline first")
    work = _Work(lake, planned.source, planned.base)
    for some in _portions(engine.spread(make, planned.stretches, dask)):
        work.take(some)
    if work.later is not None:
        raise work.later
    work.replace([], planned.gone)
    if work.looked:
        remember(lake, work.at, {**planned.looked, **work.looked})
    if not work.at.parts:
        raise DataRejected(
            f"no candles could be made into features: {next(iter(work.refused.values()), 'none is listed')}"
        )
    rows = sum(part.rows for part in work.at.parts.values())
    counts = (work.made, work.removed, work.unchanged)
    result = Built(work.at.version, planned.source.version, len(work.at.parts), rows, *counts, work.refused)
    log.info("%s", result)
    return result


@dataclass
class _Work:
    """A build under way: the table as it is by now, and what came of the stretches so far."""

    lake: Lake
    source: Source
    at: Made
    made: int = 0
    removed: int = 0
    unchanged: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    looked: dict[Key, str] = field(default_factory=dict)  # of months that are unchanged
    later: Exception | None = None  # the first error that another try may mend

    def take(self, some: Sequence[engine.Done[Stretch, Months]]) -> None:
        """Commit what some stretches came to."""
        adds, emptied = list[Part](), set[Key]()
        for done in some:
            symbol, months = done.item.symbol, done.item.months
            if done.result is not None:
                adds += done.result.parts
                emptied |= {(symbol, month) for month in done.result.empty}
                other = {part.key[1] for part in done.result.parts} | {*done.result.empty}
                seen = {
                    (symbol, name): said for name, said in zip(months, done.item.seen, strict=True) if name not in other
                }
                self.unchanged, self.looked = self.unchanged + len(seen), self.looked | seen
            elif isinstance(done.error, DataRejected):
                self.refused[str(done.item)] = str(done.error)
                log.warning("left out of the features", extra={"months": str(done.item), "reason": str(done.error)})
                emptied |= {(symbol, month) for month in months}
            else:
                self.later = self.later or done.error
        self.replace(adds, [part for key, part in self.at.parts.items() if key in emptied])

    def replace(self, adds: Sequence[Part], gone: Sequence[Part]) -> None:
        """Put parts in the place of those of before, and take some out."""
        if not (adds or gone):
            return
        before = [self.at.parts[part.key] for part in adds if part.key in self.at.parts]
        notes = {"candles_version": str(self.source.version), "feature_hash": features.FEATURE_HASH}
        self.at = partition_files.commit(self.lake, TABLE, self.at, adds, [*before, *gone], notes)
        self.made, self.removed = self.made + len(adds), self.removed + len(gone)


def _seen(pieces: Mapping[tuple[int, int], tuple[int, int]], month: str, back: int, rest: object) -> str:
    """A digest of what the log says of the candles that a month is made of, and of what is left out of them."""
    start, end = bounds(month)
    start, end = start - back, end + features.HOUR * features.STEP_US
    facts = [(span, rows) for span, rows in sorted(pieces.items()) if span[0] < end and span[1] > start]
    return hashlib.blake2b(repr((min(pieces)[0] < start, facts, rest)).encode(), digest_size=16).hexdigest()


def _by_symbol(partitions: Iterable[Partition]) -> dict[str, tuple[date, ...]]:
    found: dict[str, list[date]] = {}
    for symbol, day in sorted(partitions):
        found.setdefault(symbol, []).append(day)
    return {symbol: tuple(days) for symbol, days in found.items()}


def _left_out(month: str, back: int, held: Sequence[date], muted: Sequence[date]) -> object:
    """Return which days in quarantine a month's rows depend on: of candles all that it reads, of features its own; 0 for none."""
    start, end = bounds(month)
    first, last = utc(start - back).date(), utc(end + features.HOUR * features.STEP_US).date()
    found = [str(day) for day in held if first <= day <= last], [str(day) for day in muted if f"{day:%Y-%m}" == month]
    return found if any(found) else 0


def _portions(done: Iterable[engine.Done[Stretch, Months]]) -> Iterator[list[engine.Done[Stretch, Months]]]:
    portion = []
    for one in done:
        portion.append(one)
        if len(portion) >= AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion
