"""A look at the lake again and again, in a thread: a lake that is slow to answer holds no record up."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from datetime import UTC, datetime

from quantstream.core.errors import Unavailable

log = logging.getLogger(__name__)
EVERY = 300.0  # seconds between two looks


class LakeLook(threading.Thread):
    """Keeps numbers up to date by what is in the lake; one that is away leaves them to grow old."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look until closed."""
        while True:
            try:
                self.look(datetime.now(UTC))
            except (Unavailable, OSError) as error:
                log.warning("the lake was not looked at", extra={"look": self.name, "reason": str(error)})
            if self._stopping.wait(EVERY):
                return

    @abstractmethod
    def look(self, now: datetime) -> None:
        """Look once.

        Raises: Unavailable, OSError.
        """

    def close(self) -> None:
        """Stop before the next look."""
        self._stopping.set()
