"""How long releases are known for, and a process that follows the lake's calendar: it tells of renewals and of the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ml.calendar import stored
from quantstream.core.errors import QuantStreamError
from quantstream.core.time import DAY
from quantstream.features import releases
from quantstream.features.releases import KINDS, Calendar
from quantstream.lake.store import Lake
from quantstream.messages.payloads import EventKind

log = logging.getLogger(__name__)
LOOK_EVERY = 30.0  # seconds: far less than `renewal.MARGIN`, within which nothing changes
FIRST = 10.0  # seconds that a start waits for the first look
WARNED = 14 * DAY  # µs before a kind's releases are no longer known
RENEW = "quantstream calendar renew FILE"


def ends(calendar: Calendar, now: int) -> dict[str, str]:
    """Return a sentence for each kind of release that is known no longer, or for less than `WARNED`, at `now` (µs)."""
    found = {}
    for kind, (words, _) in KINDS.items():
        day, left = calendar.known_until[kind], calendar.ends(kind) - now
        if left <= 0:
            found[kind] = f"when {words} comes is known until {day} only: hours after that count as ordinary; {RENEW}"
        elif left <= WARNED:
            found[kind] = f"when {words} comes is known until {day}: {-(-left // DAY)} days more; {RENEW}"
    return found


def until(calendar: Calendar) -> str:
    """Say until when each kind is known."""
    return ", ".join(f"{kind} until {day}" for kind, day in sorted(calendar.known_until.items()))


@dataclass
class Following:
    """Takes up the lake's calendar while a process runs, and tells operators once of each renewal and of each end."""

    lake: Lake
    tell: Callable[[EventKind, str, str], None]
    now: Callable[[], int]  # µs
    _known: Calendar | None = None
    _told: set[tuple[str, bool, str]] = field(default_factory=set)
    _trouble: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _has_looked: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Look in a thread of its own, and wait for its first look: the first score reads that calendar.

        A lake that hangs holds nobody up for longer than `FIRST`.
        """
        threading.Thread(target=self._follow, name="calendar", daemon=True).start()
        if not self._has_looked.wait(FIRST):
            log.warning("the calendar of releases was not read in time; scores begin with that of this version")

    def stop(self) -> None:
        """End it."""
        self._stop.set()

    def look(self) -> None:
        """Look once. Never raises: with a lake that cannot be read the calendar stays as it is, which the log says once."""
        try:
            stored.take_up(self.lake)
            self._trouble = ""
        except (QuantStreamError, OSError, ValueError) as error:
            if not self._trouble:
                log.warning("the calendar of releases stays as it is known", extra={"reason": str(error)})
            self._trouble = str(error)
        found = releases.current()
        if self._known is not None and found != self._known:
            self.tell(EventKind.CALENDAR_RENEWED, f"releases are known: {until(found)}", "")
        self._known = found
        for kind, text in ends(found, self.now()).items():
            case = kind, found.ends(kind) > self.now(), str(found.known_until[kind])
            if case not in self._told:
                self._told.add(case)
                self.tell(EventKind.CALENDAR_ENDS, text, "")

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:  # nothing ends it: a calendar that is not followed would be noticed by nobody
                log.exception("the calendar of releases could not be looked at")
            self._has_looked.set()
            self._stop.wait(LOOK_EVERY)
