"""Challengers judge the candles that the champions have judged: recorded, shown to nobody, and never in a champion's way.

A challenger takes its champion's place in a set of models with a memory of its own, so that what it predicts is what it would
predict in service. It is stopped for good when it raises, gives something that is not a number, or takes too long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import Memory
from ml.serving.scoring import ModelSet, Watcher, score
from quantstream.features import Series
from quantstream.messages.models import MODEL_KINDS, registered_name
from quantstream.messages.payloads import Score
from quantstream.setting_groups import ROUND_TRIP

PER_CANDLE = 0.1  # seconds of processor time that a model may take for one candle, some twenty times what ours take
PER_REBUILDING = 10.0  # seconds more for each symbol whose past had to be rebuilt, some thirty times what ours take
OF_NOVELTY = {"forecast", "signal"}  # kinds whose parts depend on what the anomaly model says of the candle
BLANK: dict[str, dict[str, Any]] = {
    "forecast": {"forecasts": []},
    "signal": {"signal": None, "reasons": []},
    "risk": {"risk": None},
    "anomaly": {"novelty": None},
}  # the parts of a score, by kind, where its model says nothing
Version = tuple[str, str]  # registered name and number


class Shadowing(Watcher):
    """Scores candles with the challengers of the moment; one thread at a time."""

    def __init__(
        self,
        champions: Callable[[], ModelSet],
        challengers: Callable[[], Mapping[str, LoadedModel]],
        now: Callable[[], int],
        processor_time: Callable[[], float] = time.thread_time,
        cost: float = ROUND_TRIP,
    ) -> None:
        """`challengers` are by registered name; `now` in µs; `processor_time` in seconds, of the thread that scores.

        `cost` of entering and leaving is a share of the price, as the champions' actions go by.
        """
        self.champions, self.challengers, self.now, self._time = champions, challengers, now, processor_time
        self.cost = cost
        self.stopped: dict[Version, str] = {}  # why
        self._memory = Memory(self._rebuilt)
        self._asked: dict[str, LoadedModel] = {}
        self._judging: LoadedModel | None = None
        self._since, self._rebuildings, self._candles = 0.0, 0, 0

    def wanted(self) -> dict[str, LoadedModel]:
        """Return the challengers that are to be asked, by kind."""
        names = {registered_name(kind): kind for kind in MODEL_KINDS}
        found = {names[name]: loaded for name, loaded in self.challengers().items() if name in names}
        return {kind: loaded for kind, loaded in found.items() if _version(loaded) not in self.stopped}

    def score(self, histories: Mapping[str, Series]) -> list[Score]:
        """Return what the challengers say of the newest candle of each history: the parts of their kinds alone.

        Those that fail meanwhile are in `stopped` afterwards, and their parts are left out.
        """
        asked = self.wanted()
        if asked != self._asked:
            self._memory.keep(asked.values())  # models that have left are held by nobody here
        self._asked = asked
        if not asked:
            return []
        self._candles = len(histories)
        beside = {"anomaly"} if OF_NOVELTY & set(asked) else set()
        champions = dict(self.champions())
        models = ModelSet(**{kind: asked.get(kind) or champions[kind] for kind in {*asked, *beside}})
        kinds = {kind for kind, loaded in models if loaded is not None}
        found = score(models, histories, self.now(), self._memory, kinds, self, cost=self.cost)
        left = {kind: loaded for kind, loaded in asked.items() if _version(loaded) not in self.stopped}
        return [_recorded(each, left) for each in found] if left else []

    def goes_on(self, symbol: str, series: Series) -> bool:
        """Tell whether the newest candle of a symbol can be scored without rebuilding its past, which takes a second."""
        return self._memory.goes_on(self.wanted().values(), symbol, series)

    def rest(self) -> None:
        """Hold no model while there is none to ask."""
        self.score({})

    def stop(self, loaded: LoadedModel, reason: str) -> None:
        """Ask a challenger no more."""
        if loaded in self._asked.values():
            self.stopped.setdefault(_version(loaded), reason)

    def hangs(self, reason: str) -> None:
        """Stop the challenger that is at work, from another thread; what it still answers goes to nobody."""
        at_work = self._judging
        for loaded in [at_work] if at_work in self._asked.values() else list(self._asked.values()):
            if loaded is not None:
                self.stop(loaded, reason)

    def hand_over(self, loaded: LoadedModel, memory: Memory) -> None:
        """Give a champion's memory what a challenger's past has come to: it then serves without rebuilding it."""
        memory.take_over(self._memory, loaded)

    def anew(self) -> Shadowing:
        """Return another one in the place of one that hangs: it has the same models stopped and a memory of its own."""
        other = Shadowing(self.champions, self.challengers, self.now, self._time, self.cost)
        other.stopped = self.stopped
        return other

    def judges(self, loaded: LoadedModel | None) -> None:
        """Account for the time of the model before."""
        at = self._time()
        took, allowed = at - self._since, self._candles * PER_CANDLE + self._rebuildings * PER_REBUILDING
        if self._judging is not None and took > allowed:
            self.stop(
                self._judging, f"it took {took:.2f} s for {self._candles} candles, where {allowed:.2f} s are allowed"
            )
        self._judging, self._since, self._rebuildings = loaded, at, 0

    def failed(self, loaded: LoadedModel, reason: str) -> None:
        """Stop a model that cannot judge what it can read."""
        self.stop(loaded, reason)

    def _rebuilt(self) -> None:
        self._rebuildings += 1


def _version(loaded: LoadedModel) -> Version:
    return loaded.name, loaded.version


def _recorded(found: Score, challengers: Mapping[str, LoadedModel]) -> Score:
    """Return a score without the parts of models that are no challengers, but for the novelty that changed one of theirs."""
    kept = {*challengers, "anomaly"} if OF_NOVELTY & set(challengers) else set(challengers)
    blank = {name: value for kind, parts in BLANK.items() if kind not in kept for name, value in parts.items()}
    names = {loaded.name for loaded in challengers.values()}
    models = {name: version for name, version in found.models.items() if name in names}
    return msgspec.structs.replace(found, models=models, **blank)
