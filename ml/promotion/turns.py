"""One training of a kind at a time, and what becomes of a version whose training was killed before it was judged.

A training claims its registered model by a tag, which it renews while it lives, and puts the claim's id on the version that it
registers. So a version without a decision is either one whose claim stands, or one that nobody will judge any more. The registry
knows no lock: two claims made within the same moment are told apart by reading back. Were both to go on, each would still be held
against the champion of the moment in which it is promoted.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from ml.serving.descriptions import DECISION
from ml.serving.registry import Kept
from quantstream.core.errors import Unavailable

log = logging.getLogger(__name__)
TRAINING = "training"  # tag of a registered model: the claim; of a version: its id
BEAT = 15.0  # seconds between renewals
OVER = 120.0  # seconds after the last one: the registry may be slow and clocks differ, but a killed training is tried again soon
SETTLES = 1.0  # seconds from a claim to reading it back: longer than a read and a write of another's take


class UnderWay(Unavailable):
    """Another training of the kind is under way."""


class Listed(Protocol):
    """The registry, as far as one reads in it. All methods raise Unavailable."""

    def versions(self, name: str) -> list[Kept]:
        """Return every version of a model."""

    def model_tag(self, name: str, key: str) -> str:
        """Return a tag of a registered model."""


class Shelf(Listed, Protocol):
    """The registry, as far as claims are made in it."""

    def tag_model(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""


class Claim(msgspec.Struct, frozen=True):
    """Who trains a model."""

    id: str
    by: str
    since: float  # seconds since the epoch
    at: float  # of its last renewal

    def stands(self, now: float) -> bool:
        """Tell whether whoever made it lives, as far as is known."""
        return abs(now - self.at) < OVER

    def __str__(self) -> str:
        """Say it in words."""
        return f"begun {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC by {self.by}"


@dataclass(frozen=True)
class Undecided:
    """A version that was registered and not judged; `claim` is its training's while that is under way."""

    version: str
    registered_at: int  # µs
    claim: Claim | None

    @property
    def why(self) -> str:
        """Why nothing was decided of it, in words."""
        if self.claim is not None:
            return f"its training is under way, {self.claim}"
        return "its training was interrupted before it was judged; it serves nobody"


def undecided(shelf: Listed, name: str, now: float) -> list[Undecided]:
    """Return the versions of a model of which nothing is decided, the oldest first. Raises: Unavailable."""
    claim = _claim(shelf, name)  # first: one that has ended since has its decision by the time that versions are read
    found = []
    for one in shelf.versions(name):
        made_by = one.tags.get(TRAINING, "")
        if made_by and not any(key.startswith(DECISION) for key in one.tags):
            is_its = claim is not None and claim.id == made_by and claim.stands(now)
            found.append(Undecided(one.version, one.registered_at, claim if is_its else None))
    return sorted(found, key=lambda one: one.registered_at)


def drop_expired(shelf: Shelf, name: str, now: float) -> None:
    """Remove a claim that was not renewed: whoever made it, and lives after all, finds so and gives up. Raises: Unavailable."""
    claim = _claim(shelf, name)
    if claim is not None and not claim.stands(now):
        shelf.tag_model(name, TRAINING, "")


class Turn:
    """The claim of a training that is under way."""

    def __init__(self, shelf: Shelf, name: str, by: str, now: Callable[[], float] = time.time) -> None:
        """Nothing is claimed yet."""
        self._shelf, self._name, self._by, self._now = shelf, name, by, now
        self.id = uuid.uuid4().hex
        self._since = now()

    def take(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Claim the model.

        Raises: UnderWay where another training has it, Unavailable.
        """
        self._expect_free()
        self._write()
        sleep(SETTLES)
        self.check()

    def check(self) -> None:
        """Raise UnderWay where another one has taken the claim over, or removed it because it had not been renewed."""
        claim = _claim(self._shelf, self._name)
        if claim is None or claim.id != self.id:
            rival = f"another one took its place, {claim}" if claim is not None else "it was not heard of for too long"
            raise UnderWay(f"this training of {self._name} was given up: {rival}")

    def renew(self) -> None:
        """Say that it lives, unless the claim is another's by now. Raises: UnderWay, Unavailable."""
        self.check()
        self._write()

    def leave(self) -> None:
        """Give the claim up."""
        try:
            self.check()
            self._shelf.tag_model(self._name, TRAINING, "")
        except Unavailable as error:  # it runs out by itself
            log.warning("the claim of a training was left behind", extra={"model": self._name, "reason": str(error)})

    def _expect_free(self) -> None:
        claim = _claim(self._shelf, self._name)
        if claim is not None and claim.id != self.id and claim.stands(self._now()):
            raise UnderWay(
                f"another training of {self._name} is under way, {claim}; try again when it has ended (one that was killed "
                f"counts as ended after {OVER / 60:.0f} minutes)"
            )

    def _write(self) -> None:
        claim = Claim(self.id, self._by, self._since, self._now())
        self._shelf.tag_model(self._name, TRAINING, msgspec.json.encode(claim).decode())


@contextmanager
def turn(shelf: Shelf, name: str, by: str) -> Iterator[Turn]:
    """Hold the claim of a model while a training is under way.

    Raises: UnderWay where another one is, Unavailable.
    """
    held, is_over = Turn(shelf, name, by), threading.Event()
    held.take()
    beating = threading.Thread(target=_beat, args=(held, is_over), name="training", daemon=True)
    beating.start()
    try:
        yield held
    finally:
        is_over.set()
        beating.join(BEAT)
        held.leave()


def _beat(held: Turn, is_over: threading.Event) -> None:
    while not is_over.wait(BEAT):
        try:
            held.renew()
        except UnderWay as error:
            log.warning("%s", error)
            return
        except Unavailable:  # told by whoever needs it; the next renewal may succeed
            continue


def _claim(shelf: Listed, name: str) -> Claim | None:
    text = shelf.model_tag(name, TRAINING)
    try:
        return msgspec.json.decode(text, type=Claim) if text else None
    except msgspec.MsgspecError:
        return None  # somebody edited it
