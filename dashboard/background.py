"""A source of the page that is read by a thread of its own, so that whatever is slow or away never holds a page back."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from quantstream.core.errors import QuantStreamError

log = logging.getLogger(__name__)


class Background(ABC):
    """Repeats its turn until closed. `trouble` is one sentence that says what is wrong, empty when all is well."""

    trouble = ""
    has_turned = False  # whether a first turn has ended, well or not

    def __init__(self, name: str, every: float, after: float = 0.0) -> None:
        """`every` is the pause between two turns, `after` the one before the first, in seconds."""
        self._every, self._after = every, after
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the current turn."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether the current turn should end."""
        return self._stopping.is_set()

    @property
    def word(self) -> str:
        """How it is, in a word or two for a tile: who was not heard yet is not held to be silent."""
        if not self.trouble:
            return "well"
        return "not answering" if self.has_turned else "asking"

    @abstractmethod
    def turn(self) -> None:
        """Read once.

        Raises: QuantStreamError, which becomes the trouble.
        """

    def _run(self) -> None:
        self._stopping.wait(self._after)
        while not self.is_stopping:
            try:
                self.turn()
            except QuantStreamError as error:
                self.trouble = str(error)
            except (
                Exception
            ) as error:  # this is the thread's entry point: a defect here must show on the page, not end the thread
                log.exception("reading in the background failed")
                self.trouble = f"reading failed ({type(error).__name__}); the dashboard's log says more"
            self.has_turned = True
            self._stopping.wait(self._every)
