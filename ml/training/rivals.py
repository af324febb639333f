"""What a new version is held against: the champion, the reference that does not move with champions, and the lake's own candles.

The reference is the best champion so far: a champion takes its place only where it is surely better on rows that both never saw.
So champions may come and go within the gate's tolerance of it, and never farther down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from ml.data.feature_table.columns import TABLE
from ml.data.feature_table.months import bounds
from ml.data.feature_table.parts import Source, Stretch, is_made_of, read
from ml.data.feature_table.reading import Lineage
from ml.promotion.decisions import Decision
from ml.promotion.gate import Outcome, against, is_better_reference
from ml.promotion.moves import Moves
from ml.serving.descriptions import KINDS
from ml.serving.loaded import LoadedModel
from ml.serving.registry import CHAMPION, REFERENCE, Registry
from ml.training.examination import Examined, Rivals
from quantstream.core.errors import DataRejected, Misconfigured, ModelRejected, Unfetched
from quantstream.core.time import DAY
from quantstream.lake import partition_files
from quantstream.lake.instruments import history
from quantstream.lake.partition_files import Part
from quantstream.lake.quarantine import Partition
from quantstream.lake.store import Lake

MONTHS = 2  # the newest: held-out candles that are looked at lie within the last twenty days


def rivals_of(registry: Registry, name: str) -> Rivals:
    """Return champion and reference, loaded; what cannot be loaded is none, and is noted.

    Raises: Unavailable when the registry does not answer.
    """
    found: dict[str, LoadedModel | None] = {}
    notes: list[str] = []
    versions = {alias: registry.alias_version(name, alias) for alias in (CHAMPION, REFERENCE)}
    versions[REFERENCE] = versions[REFERENCE] or versions[CHAMPION]  # of a registry of before references
    for alias, version in versions.items():
        try:
            same = alias == REFERENCE and version == versions[CHAMPION]
            found[alias] = found[CHAMPION] if same else registry.load(name, version) if version else None
        except (ModelRejected, Unfetched) as error:
            if isinstance(error, Unfetched) and alias == CHAMPION:
                raise  # the store is away and may come back; a reference that alone is lost gives way to the champion
            found[alias] = None
            notes.append(f"the {alias}, version {version}, cannot be compared: {error}")
    return Rivals(found[CHAMPION], found[REFERENCE], notes)


def keep_reference(moves: Moves, name: str, version: str, examined: Examined) -> Decision | None:
    """Let the alias `reference` point to the best champion so far, once `version` was examined; the first one begins it.

    Raises: Unavailable.
    """
    best, why, evidence = _best(KINDS[name], version, examined)
    if not best or moves.registry.alias_version(name, REFERENCE) == best:
        return None
    return moves.refer(name, best, why, evidence)


def _best(kind: str, version: str, examined: Examined) -> tuple[str, str, dict[str, Any]]:
    """The reference from now on, empty where there is none yet; why, and the figures it is known from."""
    champion, fixed = examined.champion, examined.reference
    if fixed is None:  # none yet, or one that this release cannot read
        first = version if examined.verdict.outcome is Outcome.PROMOTED else ""
        why = "there was no reference that can be read, and this is the champion"
        return champion.version if champion is not None else first, why, {}
    if champion is not None and is_better_reference(kind, champion.report, fixed.report):
        compared = against(champion.report, fixed.report)
        told = {name: str(one) for name, one in compared.items()}
        why = f"as champion it is surely better than version {fixed.version} on the rows that version {version} is judged on"
        return champion.version, why, {"judged_with": version, "compared": told}
    return fixed.version, "", {}


def candles_of(lake: Lake, lineage: Lineage, trailing: int, symbols: Sequence[str]) -> Mapping[str, pd.DataFrame]:
    """Return the candles that the newest months of a features table were made of, as far back as features look.

    Raises: DataRejected when those candles cannot be had any more, Unavailable.
    """
    made = partition_files.made(lake, TABLE, lineage.version)
    if made is None:
        raise DataRejected(f"version {lineage.version} of the table {TABLE} is gone")
    options = tuple(sorted((lake.storage_options or {}).items()))
    source = Source(lake.url, options, lineage.candles_versions[1], trailing, lineage.made_by.rpartition("/")[2])
    listings, held, muted = history(lake), lake.held("candles"), lake.held(TABLE)
    found = {}
    for symbol in symbols:
        months = tuple(sorted(lineage.parts[symbol])[-MONTHS:])
        first = bounds(months[0])[0] - source.back - DAY  # whether the history began before what is read
        stretch = Stretch(
            *(source, symbol, months, ("",) * len(months), first, tuple(listings.away(symbol)), ()),
            held=_days(held, symbol),
            muted=_days(muted, symbol),
        )
        found[symbol] = _read(stretch, [made.parts[symbol, month] for month in months])
    return found


def _read(stretch: Stretch, parts: Sequence[Part]) -> pd.DataFrame:
    """Return a stretch's candles if they are those of the parts: what was corrected or held back since makes other features."""
    try:
        candles = read(stretch)
    except Misconfigured as error:  # that version of the candles is no more
        raise DataRejected(str(error)) from error
    if not is_made_of(candles, stretch, parts):
        raise DataRejected(f"the candles of {stretch} are others by now than those that features were made of")
    return candles


def _days(partitions: Iterable[Partition], symbol: str) -> tuple[date, ...]:
    return tuple(sorted(day for one, day in partitions if one == symbol))
