"""Where the page's data comes from: the lake for what was, topics for what is, `/metrics` for how it runs, the registry for why.

Each source may be missing without the others: a source's `trouble` is one sentence for the page, empty when it is well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd

from dashboard.live import Tail
from dashboard.stages import Stages
from quantstream.errors import QuantStreamError, Unavailable
from quantstream.lake import Lake, utc
from quantstream.settings import Settings

HISTORY = timedelta(days=3)  # two whole sessions and the bands' run-up: more than the chart shows
HISTORY_TTL = 60.0  # seconds; what comes later is in the live tail
CHAMPIONS_EVERY = 5.0  # seconds


class History:
    """A symbol's stored candles, read at most once a minute."""

    def __init__(self, lake: Lake, ttl: float = HISTORY_TTL, clock: Callable[[], float] = time.monotonic) -> None:
        self.lake, self.ttl = lake, ttl
        self.trouble = ""
        self._clock = clock
        self._read: dict[tuple[str, str], tuple[float, pd.DataFrame]] = {}
        self._lock = threading.Lock()

    def candles(self, symbol: str, interval: str, until: int) -> pd.DataFrame:
        """Return the newest revisions of the last three days before `until` (exchange time, µs; 0: before the newest)."""
        with self._lock:
            read_at, frame = self._read.get((symbol, interval), (-self.ttl, pd.DataFrame()))
            if self._clock() - read_at < self.ttl:
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
            frame = self.lake.candle_frame([symbol], interval, start)
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        if len(frame) and start is None:
            frame = frame[frame["opened_at"] >= frame["opened_at"].iloc[-1] - HISTORY]
        return frame.reset_index(drop=True)

    def _is_there(self, table: str) -> bool:
        """A page that only reads must not make the table."""
        return "://" in self.lake.url or (Path(self.lake.url) / table / "_delta_log").is_dir()


@dataclass(frozen=True)
class Champion:
    """A registered model that carries an alias, as the page shows it."""

    name: str
    alias: str
    version: str
    since: str  # UTC, readable; empty when the registry does not say
    metrics: Mapping[str, float]
    reasons: Sequence[str]


class Champions:
    """The models in service, asked for in the background: a slow registry must not hold the page back."""

    def __init__(self, read: Callable[[], Sequence[Champion]]) -> None:
        """`read` asks the registry and raises Unavailable when it does not answer."""
        self.trouble = "asking the model registry"
        self._read = read
        self._models: tuple[Champion, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        """Begin asking in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()

    def all(self) -> tuple[Champion, ...]:
        """Return what the registry said last, also when it does not answer now."""
        return self._models

    def turn(self) -> None:
        """Ask once."""
        try:
            self._models = tuple(self._read())
            self.trouble = ""
        except QuantStreamError as error:
            self.trouble = str(error)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turn()
            self._stop.wait(CHAMPIONS_EVERY)


@dataclass(frozen=True)
class Sources:
    """Everything the pages read from; one of it for all browsers of this process."""

    settings: Settings
    history: History
    tail: Tail
    stages: Stages
    champions: Champions

    def start(self) -> None:
        """Begin reading in the background."""
        self.tail.start()
        self.stages.start()
        self.champions.start()

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
        history=History(Lake(settings.lake_url)),
        tail=Tail(settings.kafka),
        stages=Stages(settings.state / "stack.json"),
        champions=Champions(lambda: read_champions(settings.mlflow_url)),
    )


def read_champions(tracking_url: str) -> list[Champion]:
    """Ask the registry which models carry an alias.

    Raises: Unavailable.
    """
    raise Unavailable(f"the registry at {tracking_url} was not asked")
