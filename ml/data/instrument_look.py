"""One look at what the exchange lists: what changed since the last goes into the lake and is said; who was listed when."""

from __future__ import annotations

from datetime import UTC, datetime

from quantstream.binance.instrument_list import fetch_instruments
from quantstream.binance.rest import BlockingRest
from quantstream.core.decimals import units_text
from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.core.instrument import Instrument
from quantstream.core.time import micros, utc
from quantstream.lake.instruments import APPLICATION, TABLE, history, note
from quantstream.lake.store import Lake
from quantstream.settings import Settings

PLAIN = ("status", "base", "quote")
EXACT = ("tick", "lot", "min_notional")
FIRST_TRIES = 2  # what waits for the look is worth more than it
NAMED = 20  # symbols that a sentence names


def look(settings: Settings, known_at: int, accepts_any: bool = False, rest: BlockingRest | None = None) -> list[str]:
    """Ask the exchange, note what changed and say it, a sentence each; `known_at` is our clock, µs.

    Raises: DataRejected for a list that is none or cannot be right, Fenced when another look came in between; Unavailable.
    """
    rest = rest or BlockingRest(settings.endpoints.rest + settings.endpoints.api)
    at, listed = fetch_instruments(rest)
    changes = note(Lake(settings.lake_url), listed, at, known_at, accepts_any)
    return [_change(before, now) for before, now in changes]


def first_look(settings: Settings, known_at: int, rest: BlockingRest | None = None) -> str:
    """Look if nobody ever did, so that the first training knows who was listed; return what came of it, empty without a look.

    It is asked in passing: an exchange that does not answer, or not believably, is told in the sentence and holds nobody up.
    Raises: Unavailable when the lake does not answer.
    """
    lake = Lake(settings.lake_url)
    if lake.has(TABLE) and lake.progress(TABLE, APPLICATION) is not None:
        return ""
    rest = rest or BlockingRest(settings.endpoints.rest + settings.endpoints.api, tries=FIRST_TRIES)
    try:
        return f"{len(look(settings, known_at, rest=rest))} symbols noted by the first look at the exchange's list"
    except QuantStreamError as error:
        return f"the exchange's list could not be noted, the pipeline instruments_watch looks again within the hour: {error}"


def said(settings: Settings, at: str | None = None) -> str:
    """Say who was listed at a time (ISO 8601, UTC where it does not say; the last look without one), and who is gone since.

    Raises: Misconfigured when it is no time; Unavailable.
    """
    listings = history(Lake(settings.lake_url, may_create=False))
    if listings.known_since is None:
        return "The lake has no look at the exchange's list yet; --refresh makes one, the pipeline instruments_watch one an hour."
    newest = max(states[-1][0] for states in listings.states.values())
    asked = newest if at is None else _moment(at)
    then, now = listings.listed(asked), listings.listed(max(newest, asked))
    lines = [f"{len(then)} symbols could be traded at {utc(asked):%Y-%m-%d %H:%M} UTC{_names(sorted(then))}"]
    if gone := sorted(then.keys() - now.keys()):
        lines.append(f"{len(gone)} of them cannot any more{_names(gone)}")
    if asked < listings.known_since:
        lines.append(
            f"Before {utc(listings.known_since):%Y-%m-%d %H:%M} UTC nobody looked: others may have been listed."
        )
    return "\n".join(lines)


def _change(before: Instrument | None, now: Instrument) -> str:
    if before is None:
        return f"{now.symbol} is new: {now.status}, tick {units_text(now.tick)}, lot {units_text(now.lot)}"
    found = [f"{name} {getattr(before, name)} → {getattr(now, name)}" for name in PLAIN if _differ(before, now, name)]
    found += [
        f"{name} {units_text(getattr(before, name))} → {units_text(getattr(now, name))}"
        for name in EXACT
        if _differ(before, now, name)
    ]
    found += ["its day of listing"] if before.listed_at != now.listed_at else []
    return f"{now.symbol} changed: {', '.join(found)}"


def _differ(before: Instrument, now: Instrument, name: str) -> bool:
    return bool(getattr(before, name) != getattr(now, name))


def _names(symbols: list[str]) -> str:
    return ": " + ", ".join(symbols[:NAMED]) + (", …" if len(symbols) > NAMED else "") if symbols else ""


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text!r} is no time; write it like 2026-03-01T14:05") from None
    return micros(found if found.tzinfo else found.replace(tzinfo=UTC))
