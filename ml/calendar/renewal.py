"""What a file's releases make of a calendar: later ones are taken, those of the past stay as they were. Pure.

Features of candles that closed must not change, live and in training: a feature reads the hour before and after a candle's
close, and a scorer takes a calendar up within a minute or so. So releases before `MARGIN` from now stay as they are known, right
or wrong: one that a file adds there is left out, and said; one that it lacks stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY, MINUTE, utc
from quantstream.features import releases
from quantstream.features.grid import Times
from quantstream.features.releases import AHEAD_US, KINDS, Calendar, Release

MARGIN = AHEAD_US + 15 * MINUTE  # µs
LONGEST = 5 * 366  # days ahead: nobody announces farther
SHOWN = 5


@dataclass(frozen=True)
class Given:
    """What a file holds: releases in order of time, the last day that it speaks of by kind, and what of it was not taken."""

    releases: Sequence[Release]
    known_until: Mapping[str, date]
    ignored: int = 0  # events of other kinds


@dataclass(frozen=True)
class Renewal:
    """The calendar that results, and what is other in it."""

    calendar: Calendar
    added: Sequence[Release] = ()
    dropped: Sequence[Release] = ()  # known before, no longer scheduled
    left_out: Sequence[Release] = ()  # of the past, not known before

    def sentences(self) -> list[str]:
        """Say what it did."""
        told = [f"{len(self.added)} releases added{_named(self.added)}"]
        if self.dropped:
            told.append(f"{len(self.dropped)} no longer scheduled{_named(self.dropped)}")
        if self.left_out:
            told.append(
                f"{len(self.left_out)} left out{_named(self.left_out)}: they lie in the past, whose features do not change"
            )
        return told


def renewed(before: Calendar, given: Given, now: int, drops: bool = False) -> Renewal:
    """Return the calendar after a file's releases; `drops` lets releases go that the file lacks between its first and its last.

    Raises: DataRejected, in a sentence that says what is wrong with the file.
    """
    if not given.releases:
        raise DataRejected("the file holds no release of a known kind: " + ", ".join(KINDS))
    _check(given, now)
    kinds = [_of_kind(kind, before, given, now) for kind in KINDS]
    added, dropped, left_out = (sorted(one for each in kinds for one in each[i]) for i in (1, 2, 3))
    known_until = {**before.known_until, **given.known_until}
    if dropped and not drops:
        raise DataRejected(
            f"the file lacks {len(dropped)} releases that are scheduled{_named(dropped)}; nothing was changed: "
            "with --drop they are taken out"
        )
    result = Renewal(
        Calendar(tuple(sorted(one for each in kinds for one in each[0])), known_until), added, dropped, left_out
    )
    if not (added or dropped) and known_until == dict(before.known_until):
        raise DataRejected(f"the file tells nothing new: {'; '.join(result.sentences())}")
    return result


Some = list[Release]


def _of_kind(kind: str, before: Calendar, given: Given, now: int) -> tuple[Some, Some, Some, Some]:
    """Return all releases of a kind, those added, those dropped and those left out."""
    old, new = ([one for one in each if one.kind == kind] for each in (before.releases, given.releases))
    if not new:
        return old, [], [], []
    if given.known_until[kind] < before.known_until[kind]:
        raise DataRejected(
            f"the file knows {kind} until {given.known_until[kind]}, the calendar until {before.known_until[kind]}: "
            "a calendar does not become shorter"
        )
    open_from = now + MARGIN
    known, fresh = {one.at for one in old}, {one.at: one for one in new if one.at >= open_from}
    first = max(min(one.at for one in new), open_from)
    dropped = [one for one in old if one.at >= first and one.at not in fresh]
    kept = [one for one in old if one.at not in fresh and one not in dropped]
    left_out = [one for one in new if one.at < open_from and one.at not in known]
    return [*kept, *fresh.values()], [one for at, one in fresh.items() if at not in known], dropped, left_out


def _check(given: Given, now: int) -> None:
    last: dict[str, Release] = {}
    for one in given.releases:
        text, before = f"{one.kind} of {utc(one.at):%Y-%m-%d %H:%M} UTC", last.get(one.kind)
        local = int(releases.new_york(_one(one.at))[0])
        if before is not None and one.at < before.at:
            raise DataRejected(
                f"{text} stands after that of {utc(before.at):%Y-%m-%d %H:%M}: put each kind's times in order"
            )
        if before is not None and int(releases.new_york(_one(before.at))[0]) // DAY == local // DAY:
            raise DataRejected(f"{text} is there twice for that day")
        if releases.is_weekend(_one(local))[0]:
            raise DataRejected(f"{text} is on a weekend in New York, when nothing is released: is its zone right?")
        if one.at > now + LONGEST * DAY:
            raise DataRejected(f"{text} is more than five years ahead")
        if not one.source:
            raise DataRejected(f"{text} has no source: give the column source, or --source")
        if one.at >= now + MARGIN and one.announced_on > min(f"{utc(now):%Y-%m-%d}", f"{utc(one.at):%Y-%m-%d}"):
            raise DataRejected(f"{text} was announced on {one.announced_on}, which is after it or after today")
        last[one.kind] = one
    for kind, one in last.items():
        if f"{utc(one.at):%Y-%m-%d}" > str(given.known_until[kind]):
            raise DataRejected(
                f"{kind} is said to be known until {given.known_until[kind]}, and its last release is later"
            )


def _one(at: int) -> Times:
    return np.array([at], dtype=np.int64)


def _named(some: Sequence[Release]) -> str:
    if not some:
        return ""
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    return f" ({', '.join(f'{one.kind} {utc(one.at):%Y-%m-%d %H:%M}' for one in some[:SHOWN])}{more})"
