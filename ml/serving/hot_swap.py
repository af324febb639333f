"""Champions, swapped while the stage runs: loaded and warmed beside the old ones, taken over between two messages.

A model that does not load changes nothing and is not tried again until the alias moves, unless it was only its files that could
not be fetched; the one that it would have replaced stays in memory for an instant rollback. Nothing ends the watching: what
nobody foresaw is told, and looked at again later.

Challengers are kept up the same way, in the same thread, after the champions: a promotion then finds its model in memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from quantstream.core.errors import ModelRejected, QuantStreamError, Unavailable, Unfetched

log = logging.getLogger(__name__)
POLL_EVERY = 2.0  # seconds between looks at the registry: a promotion is served well within 10 s
RETRY_AFTER = (
    300.0  # seconds until a version is tried again that failed as no model of ours does: a full disk, no memory
)
FETCH_AGAIN_AFTER = 15.0  # seconds until a version is tried again whose files the registry could not give
FOR_GOOD = float("inf")
CHAMPION, CHALLENGER = "champion", "challenger"  # as the registry has them, which is slow to import


class Model(Protocol):
    """A loaded model, as far as swapping cares."""

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    @property
    def version(self) -> str:
        """Version in the registry."""
        ...

    def warm(self) -> None:
        """Run once on made-up input, so that the first real one is not slow. Raises: ModelRejected."""
        ...


class ModelSource(Protocol):
    """The registry, as far as swapping cares."""

    def alias_version(self, name: str, alias: str) -> str | None:
        """Return the version behind an alias. Raises: Unavailable."""
        ...

    def load(self, name: str, version: str) -> Model:
        """Fetch and check a version. Raises: Unavailable, Unfetched, ModelRejected."""
        ...


@dataclass
class HotSwap:
    """Keeps `current` at the versions behind an alias. Reading it is one reference: no lock, never half swapped."""

    source: ModelSource
    names: Sequence[str]
    on_swap: Callable[[Model, str], None]
    on_refuse: Callable[[str, str, str], None]
    on_look: Callable[[], None] = lambda: None  # after each look that got every answer
    on_trouble: Callable[[str], None] = lambda text: (
        None
    )  # when a look failed as nobody foresaw; once until one succeeds
    clock: Callable[[], float] = time.monotonic
    poll_every: float = POLL_EVERY
    make_ready: Callable[[Any], None] = lambda model: None  # before a model is taken over
    alias: str = CHAMPION
    is_left: bool = False  # whether an alias that points nowhere takes its model out of `current`
    beside: HotSwap | None = None  # looked at by the same thread, after this one; its models need no second load here
    wait_for_news: Callable[[float], object] | None = (
        None  # at most so many seconds, less when there is a reason to look
    )
    current: dict[str, Model] = field(default_factory=dict)
    previous: dict[str, Model] = field(default_factory=dict)
    refused: dict[tuple[str, str], float] = field(default_factory=dict)  # until when, by `clock`
    _refusals: dict[str, tuple[str, str]] = field(default_factory=dict)  # the last that was told, version and reason
    _stop: threading.Event = field(default_factory=threading.Event)
    _is_unreachable: bool = False
    _has_answered: threading.Event = field(default_factory=threading.Event)
    _trouble: str = ""

    def start(self) -> None:
        """Watch the registry from a thread of its own."""
        threading.Thread(target=self._watch, name="hotswap", daemon=True).start()

    def stop(self) -> None:
        """End the watching."""
        self._stop.set()

    def wait(self, beat: Callable[[], None], is_over: Callable[[], bool], every: float = 1.0) -> bool:
        """Return once the registry has answered for every name; False when `is_over` says so first. Calls `beat` meanwhile.

        What a stage judges before that, it would judge without a champion that there is.
        """
        while not self._has_answered.wait(every):
            if is_over():
                return False
            beat()
        return True

    def look(self) -> None:
        """Look once and swap what moved. Never raises: a registry that is away, a bad model or an odd answer changes nothing."""
        is_whole = True
        for name in self.names:
            try:
                version = self.source.alias_version(name, self.alias)
                self._note_reachable()
                if version is None:
                    self._leave(name)
                elif self._is_news(name, version):
                    self._swap(name, version)
            except Unavailable as error:
                if not self._is_unreachable:
                    log.warning("registry does not answer; the champions in service stay", extra={"reason": str(error)})
                self._is_unreachable = True
                return
            except Exception as error:  # noqa: BLE001  one model's oddity must not end the watching of the others
                is_whole = False
                self._note_trouble(f"{name} could not be looked up: {_reason(error)}", error)
        self._has_answered.set()  # whoever answers oddly must not hold the others up
        if is_whole:
            self._trouble = ""
            self._call(self.on_look)

    def _is_news(self, name: str, version: str) -> bool:
        serving = self.current.get(name)
        if serving is not None and serving.version == version:
            return False
        return self.clock() >= self.refused.get((name, version), float("-inf"))

    def _leave(self, name: str) -> None:
        if self.is_left and name in self.current:
            self.current = {other: model for other, model in self.current.items() if other != name}
            self.previous.pop(name, None)

    def _kept(self, name: str, version: str) -> Model | None:
        """Return a version that is in memory already: the one before, or one that was scored in the shadow."""
        beside = self.beside.current.get(name) if self.beside is not None else None
        found = [one for one in (self.previous.get(name), beside) if one is not None and one.version == version]
        return found[0] if found else None

    def _swap(self, name: str, version: str) -> None:
        serving = self.current.get(name)
        try:
            model = self._kept(name, version) or self.source.load(name, version)
            model.warm()
        except ModelRejected as error:
            self._refuse(name, version, str(error), FOR_GOOD)
            return
        except Unfetched as error:
            self._refuse(name, version, str(error), self.clock() + FETCH_AGAIN_AFTER)
            return
        except Unavailable:
            raise
        except Exception as error:
            log.exception("a model failed to load as nobody foresaw", extra={"model": name, "version": version})
            self._refuse(name, version, _reason(error), self.clock() + RETRY_AFTER)
            return
        self._call(lambda: self.make_ready(model))
        if serving is not None and not self.is_left:  # a challenger that has left does not come back
            self.previous[name] = serving
        self.current = {**self.current, name: model}
        self._refusals.pop(name, None)
        self._call(lambda: self.on_swap(model, serving.version if serving else ""))

    def _refuse(self, name: str, version: str, reason: str, until: float) -> None:
        self.refused[name, version] = until
        if self._refusals.get(name) == (version, reason):
            return  # told already
        self._refusals[name] = version, reason
        self._call(lambda: self.on_refuse(name, version, reason))

    def _call(self, tell: Callable[[], None]) -> None:
        """Tell operators; an error of theirs changes nothing here."""
        try:
            tell()
        except Exception as error:  # noqa: BLE001
            self._note_trouble(f"what became of a champion could not be told: {_reason(error)}", error)

    def _note_trouble(self, text: str, error: Exception) -> None:
        if text == self._trouble:
            return
        self._trouble = text
        log.error(text, exc_info=error)
        try:
            self.on_trouble(text)
        except Exception:
            log.exception("nobody could be told")

    def _note_reachable(self) -> None:
        if self._is_unreachable:
            log.info("registry answers again")
        self._is_unreachable = False

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            if self.beside is not None:
                self.beside.look()
            (self.wait_for_news or self._stop.wait)(self.poll_every)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, QuantStreamError) else f"{type(error).__name__}: {error}"
