"""Where the page's data comes from: the lake for what was, topics for what is, `/metrics` for how it runs, the registry for why.

Each source may be missing without the others: a source's `trouble` is one sentence for the page, empty when it is well.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dashboard.background import Background
from dashboard.balance_cards import DayConditions
from dashboard.book.book_card import Book
from dashboard.charts import SHOWN_BARS
from dashboard.live import Tail
from dashboard.model_troubles import CalendarEnd
from dashboard.proof_cards import Proofs
from dashboard.quality.data_docs import DataDocs
from dashboard.quality.quarantine_card import HeldDays
from dashboard.stage_status import Stages
from ml.validation.shelf import Shelf
from quantstream.core.errors import Unavailable
from quantstream.core.time import utc
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_NAMES
from quantstream.settings import Settings

if TYPE_CHECKING:
    from ml.serving.registry import Card

HISTORY = timedelta(days=3)  # two whole sessions and the bands' run-up: more than the chart shows
HISTORY_TTL = 60.0  # seconds; what comes later is in the live tail
GROWING_TTL = 5.0  # seconds, while the lake holds less than the chart shows: a backfill may be under way
CHAMPIONS_EVERY = 10.0  # seconds
FIRST_ASKED_AFTER = 3.0  # seconds: the registry's client is slow to import, and the first visitor's chart comes first


class History:
    """A symbol's stored candles, read at most once a minute."""

    def __init__(self, lake: Lake, clock: Callable[[], float] = time.monotonic) -> None:
        self.lake = lake
        self.trouble = ""
        self._clock = clock
        self._read: dict[tuple[str, str], tuple[float, pd.DataFrame]] = {}
        self._lock = threading.Lock()

    def candles(self, symbol: str, interval: str, until: int) -> pd.DataFrame:
        """Return the newest revisions of the last three days before `until` (exchange time, µs; 0: before the newest)."""
        with self._lock:
            read_at, frame = self._read.get((symbol, interval), (-math.inf, pd.DataFrame()))
            if self._clock() - read_at < (HISTORY_TTL if len(frame) >= SHOWN_BARS else GROWING_TTL):
                return frame
            try:
                frame = self._fetch(symbol, interval, until)
                self.trouble = ""
            except Unavailable as error:
                self.trouble = str(error)
            self._read[symbol, interval] = (self._clock(), frame)
            return frame

    def _fetch(self, symbol: str, interval: str, until: int) -> pd.DataFrame:
        """Raises: Unavailable."""
        if not self._is_there("candles"):
            raise Unavailable(
                "the lake holds no candles yet; the chart shows what came since this page's process started"
            )
        start = utc(until) - HISTORY if until else None
        try:
            frame = self.lake.candle_frame([symbol], interval, start, with_quarantined=True)
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        if len(frame) and start is None:
            frame = frame[frame["opened_at"] >= frame["opened_at"].iloc[-1] - HISTORY]
        return frame.reset_index(drop=True)

    def _is_there(self, table: str) -> bool:
        """A page that only reads must not make the table."""
        return "://" in self.lake.url or (Path(self.lake.url) / table / "_delta_log").is_dir()


class Champions(Background):
    """The models that carry an alias, and why they do."""

    def __init__(self, read: Callable[[], Sequence[Card]]) -> None:
        """`read` asks the registry and raises Unavailable when it does not answer."""
        super().__init__("champions", CHAMPIONS_EVERY, after=FIRST_ASKED_AFTER)
        self.trouble = "asking the model registry"
        self._read = read
        self._cards: tuple[Card, ...] = ()

    def all(self) -> tuple[Card, ...]:
        """Return the registry's last answer, also when it does not answer now."""
        return self._cards

    def turn(self) -> None:
        """Ask once.

        Raises: Unavailable.
        """
        self._cards = tuple(self._read())
        self.trouble = ""


class RegistryCards:
    """Asks the registry which version each alias names, and for the evidence of those it has not seen."""

    def __init__(self, tracking_url: str) -> None:
        self.tracking_url = tracking_url
        self._known: dict[tuple[str, str, str], Card] = {}

    def __call__(self) -> list[Card]:
        """Return one card for each model and alias, champions first.

        Raises: Unavailable.
        """
        from ml.serving import registry  # takes seconds to import: the page must not wait for it

        asked = registry.Registry(self.tracking_url)
        now: dict[tuple[str, str, str], Card] = {}
        for alias in (registry.CHAMPION, registry.CHALLENGER, registry.PREVIOUS):
            for name in MODEL_NAMES:
                version = asked.alias_version(name, alias)
                card = None if version is None else self._known.get((name, alias, version)) or asked.card(name, alias)
                if card is not None:
                    now[name, alias, card.version] = card
        self._known = now
        return list(now.values())


@dataclass(frozen=True)
class Sources:
    """Everything the pages read from; one of it for all browsers of this process."""

    settings: Settings
    history: History
    tail: Tail
    stages: Stages
    champions: Champions
    proofs: Proofs
    conditions: DayConditions
    held: HeldDays
    calendar: CalendarEnd
    docs: DataDocs
    book: Book

    def start(self) -> None:
        """Begin reading in the background."""
        self.tail.start()
        self.stages.start()
        self.champions.start()
        self.proofs.start()
        self.conditions.start()
        self.held.start()
        self.calendar.start()
        self.book.start()

    def troubles(self) -> list[str]:
        """Return one sentence for each source that is missing, most important first."""
        named = [("Live data", self.tail.trouble), ("History", self.history.trouble)]
        return [f"{name}: {trouble}." for name, trouble in named if trouble]

    def symbols(self) -> list[str]:
        """Return the symbols to choose from: those set, then any others the topics hold."""
        return list(dict.fromkeys((*self.settings.symbols, *self.tail.symbols())))


def connect(settings: Settings) -> Sources:
    """Return the sources the settings name, not yet started."""
    return Sources(
        settings=settings,
        history=History(Lake(settings.lake_url, may_create=False)),
        tail=Tail(settings.kafka),
        stages=Stages(settings.state / "stack.json", stages=settings.stages),
        champions=Champions(RegistryCards(settings.mlflow_url)),
        proofs=Proofs(Lake(settings.lake_url, may_create=False)),
        conditions=DayConditions(Lake(settings.lake_url, may_create=False)),
        held=HeldDays(Lake(settings.lake_url, may_create=False)),
        calendar=CalendarEnd(Lake(settings.lake_url, may_create=False)),
        docs=DataDocs(Shelf.of(Lake(settings.lake_url, may_create=False), settings.state.absolute())),
        book=Book(Lake(settings.lake_url, may_create=False), settings.positions),
    )
