"""Calendar files read: CSV, JSON and iCalendar, each time with a zone or as a day at the kind's usual time in New York.

CSV has the columns `kind`, `at`, `source`, `announced_on`; JSON is as `quantstream/features/releases.json`, or a list of such
rows; of iCalendar the events are taken whose SUMMARY or CATEGORIES names a kind (as bls.gov's file does), all others counted.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ml.calendar.renewal import Given
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import EARLIEST, LATEST, micros, utc
from quantstream.features.releases import KINDS, Release, usual_time

LARGEST = 5_000_000  # bytes
NAMED = {  # how events are called in official calendars
    "consumer price index": "consumer_prices",
    "employment situation": "employment",
    "fomc meeting": "fed_decision",
    "fomc decision": "fed_decision",
}
ZONES = {
    "US-Eastern": "America/New_York",
    "Eastern Standard Time": "America/New_York",
    "US/Eastern": "America/New_York",
}
DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}")


@dataclass(frozen=True)
class Defaults:
    """What holds for rows that do not say: the source, the day of the announcement, and the last day that the file speaks of."""

    announced_on: str
    source: str = ""
    until: str = ""


def read(path: Path, defaults: Defaults) -> Given:
    """Return what a file holds.

    Raises: Misconfigured for one that cannot be read, DataRejected for what is wrong in it.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Misconfigured(f"{path} is no calendar: it should end in {', '.join(READERS)}")
    try:
        if path.stat().st_size > LARGEST:
            raise Misconfigured(f"{path} is larger than {LARGEST // 1_000_000} MB: no calendar is")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from None
    rows, known_until, ignored = reader(text)
    found = [_release(row, f"row {i}", defaults) for i, row in enumerate(rows, 1)]
    if path.suffix.lower() == ".ics":  # has no order
        found.sort()
    return Given(found, _ends(found, known_until, defaults.until), ignored)


def _release(row: Mapping[str, Any], where: str, defaults: Defaults) -> Release:
    told = {name: str(row.get(name) or "").strip() for name in ("kind", "at", "source", "announced_on")}
    if told["kind"] not in KINDS:
        raise DataRejected(f"{where}: {told['kind']!r} is no kind of release; known are {', '.join(KINDS)}")
    announced = told["announced_on"] or defaults.announced_on
    return Release(
        _time(told["at"], told["kind"], where),
        told["kind"],
        told["source"] or defaults.source,
        str(_day(announced, where)),
    )


def _time(text: str, kind: str, where: str) -> int:
    """Return µs UTC. Raises: DataRejected."""
    if DAY.fullmatch(text):
        return usual_time(kind, _day(text, where))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataRejected(
            f"{where}: {text!r} is no time; write 2027-01-27T14:00-05:00, …Z, or the day alone"
        ) from None
    if moment.tzinfo is None:
        raise DataRejected(f"{where}: {text!r} has no zone; write 2027-01-27T14:00-05:00, …Z, or the day alone")
    at = micros(moment.astimezone(UTC))
    if not EARLIEST <= at < LATEST:
        raise DataRejected(f"{where}: {text!r} is not of this century")
    return at


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DataRejected(f"{where}: {text!r} is no day; write 2027-01-27") from None


def _ends(found: Sequence[Release], told: Mapping[str, str], until: str) -> dict[str, date]:
    """Return the last day that a file speaks of, by kind: as told, or that of the kind's last release."""
    ends = {one.kind: str(utc(max(other.at for other in found if other.kind == one.kind)).date()) for one in found}
    return {kind: _day(until or told.get(kind, last), "known until") for kind, last in ends.items()}


Read = tuple[Sequence[Mapping[str, Any]], Mapping[str, str], int]


def _csv(text: str) -> Read:
    rows = list(csv.DictReader(io.StringIO(text)))
    names = set(rows[0]) if rows else set()
    if not {"kind", "at"} <= names:
        raise DataRejected("the file needs the columns kind and at, and may have source and announced_on")
    return rows, {}, 0


def _json(text: str) -> Read:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataRejected(f"the file is no JSON: {error}") from None
    whole = found if isinstance(found, dict) else {"releases": found}
    rows: Any = whole.get("releases") or []
    sources: Any = whole.get("sources") or {}
    ends: Any = whole.get("known_until") or {}
    are_right = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not (are_right and isinstance(sources, dict) and isinstance(ends, dict)):
        raise DataRejected("the file should be a list of objects with kind, at, source and announced_on")
    return [row | {"source": sources.get(row.get("source"), row.get("source"))} for row in rows], ends, 0


def _ics(text: str) -> Read:
    rows, others = [], 0
    for event in _events(text):
        summary = " ".join((event.get("SUMMARY", ("", ""))[1], event.get("CATEGORIES", ("", ""))[1])).strip()
        kind = _kind(event)
        if kind is None or "DTSTART" not in event:
            others += 1
            continue
        if "RRULE" in event:
            raise DataRejected(f"{summary!r} repeats by a rule; a calendar needs each release's own time")
        rows.append({"kind": kind, "at": _ics_time(*event["DTSTART"]), "source": event.get("URL", ("", ""))[1]})
    return rows, {}, others


def _kind(event: Mapping[str, tuple[str, str]]) -> str | None:
    for name in ("CATEGORIES", "SUMMARY"):
        text = event.get(name, ("", ""))[1].strip().lower()
        found = next((kind for words, kind in NAMED.items() if text == words or text.startswith(f"{words} for ")), None)
        if found or text in KINDS:
            return found or text
    return None


def _events(text: str) -> Iterator[dict[str, tuple[str, str]]]:
    """Yield each event's properties: parameters and value by name (RFC 5545; folded lines are joined)."""
    event: dict[str, tuple[str, str]] | None = None
    for line in re.sub(r"\r?\n[ \t]", "", text).splitlines():
        head, _, value = line.partition(":")
        name, _, parameters = head.partition(";")
        if line.strip() == "BEGIN:VEVENT":
            event = {}
        elif line.strip() == "END:VEVENT" and event is not None:
            yield event
            event = None
        elif event is not None:
            event[name.upper()] = (parameters, value.replace("\\,", ",").strip())


def _ics_time(parameters: str, value: str) -> str:
    """Return a DTSTART as ISO 8601 with its zone; a time without one stays so, and is refused. Raises: DataRejected."""
    if DAY.fullmatch(value):
        return f"{value[:4]}-{value[4:6]}-{value[6:]}" if "-" not in value else value
    zone = re.search(r'TZID="?([^";:]+)', parameters)
    if zone is None:
        return value
    try:
        known = ZoneInfo(ZONES.get(zone[1], zone[1]))
        return datetime.strptime(value, "%Y%m%dT%H%M%S").replace(tzinfo=known).isoformat()
    except (ZoneInfoNotFoundError, ValueError):
        raise DataRejected(f"the time {value!r} in the zone {zone[1]!r} cannot be read") from None


READERS = {".csv": _csv, ".json": _json, ".ics": _ics}
