"""Champions, swapped while the stage runs: loaded and warmed beside the old ones, taken over between two messages.

A model that does not load changes nothing and is not tried again until the alias moves; the one it would have replaced
stays in memory for an instant rollback.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quantstream.errors import ModelRejected, Unavailable

log = logging.getLogger(__name__)
POLL_EVERY = 2.0  # seconds between looks at the registry: a promotion is served well within 10 s


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
        """Fetch and check a version. Raises: Unavailable, ModelRejected."""
        ...


@dataclass
class HotSwap:
    """Keeps `current` at the champions of the registry. Reading it is one reference: no lock, never half swapped."""

    source: ModelSource
    names: Sequence[str]
    on_swap: Callable[[Model, str], None]
    on_refuse: Callable[[str, str, str], None]
    current: dict[str, Model] = field(default_factory=dict)
    previous: dict[str, Model] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _is_unreachable: bool = False
    _has_answered: threading.Event = field(default_factory=threading.Event)

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
        """Look once and swap what moved. Never raises for a registry that is away or a model that is bad."""
        for name in self.names:
            try:
                version = self.source.alias_version(name, "champion")
                self._note_reachable()
                if version is not None and self._is_news(name, version):
                    self._swap(name, version)
            except Unavailable as error:
                if not self._is_unreachable:
                    log.warning("registry does not answer; the champions in service stay", extra={"reason": str(error)})
                self._is_unreachable = True
                return
        self._has_answered.set()

    def _is_news(self, name: str, version: str) -> bool:
        serving = self.current.get(name)
        return (serving is None or serving.version != version) and (name, version) not in self.refused

    def _swap(self, name: str, version: str) -> None:
        serving, kept = self.current.get(name), self.previous.get(name)
        try:
            model = kept if kept is not None and kept.version == version else self.source.load(name, version)
            model.warm()
        except ModelRejected as error:
            self.refused.add((name, version))
            self.on_refuse(name, version, str(error))
            return
        if serving is not None:
            self.previous[name] = serving
        self.current = {**self.current, name: model}
        self.on_swap(model, serving.version if serving else "")

    def _note_reachable(self) -> None:
        if self._is_unreachable:
            log.info("registry answers again")
        self._is_unreachable = False

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(POLL_EVERY)
