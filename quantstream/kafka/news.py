"""Waiting for news: that something was written to a topic, heard without a group, is why to look elsewhere now and not later.

What is missed is not lost: whoever waits looks by itself when its time is over. So a broker that is away changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_END

from quantstream.core.errors import QuantStreamError
from quantstream.kafka.reader import Reader
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka

log = logging.getLogger(__name__)
PLACE = 0  # the partition of news: of one writer and seldom, so there is one


class News:
    """Hears what is written to a topic of one partition from now on."""

    def __init__(
        self,
        kafka: Kafka,
        topic: Topic,
        reader: Callable[[Kafka], Any] = Reader,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is asked for yet; `reader` makes what reads without a group."""
        self.kafka, self.topic = kafka, topic
        self._make, self._clock, self._sleep = reader, clock, sleep
        self._reader: Any = None
        self._is_deaf = False

    def wait(self, seconds: float) -> bool:
        """Return True as soon as something is written, False after so many seconds. Never raises."""
        over_at = self._clock() + seconds
        while (left := over_at - self._clock()) > 0:
            try:
                if self._listening().poll(left, 1):
                    self._is_deaf = False
                    return True
            except Exception as error:  # noqa: BLE001  news are for speed only: their lack must not end who waits
                self._note(error)
                self.close()
                self._sleep(max(0.0, over_at - self._clock()))
        return False

    def close(self) -> None:
        """Hear no more."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _listening(self) -> Any:
        if self._reader is None:
            self._reader = self._make(self.kafka)
            self._reader.assign({(self.topic.name, PLACE): OFFSET_END})
        return self._reader

    def _note(self, error: Exception) -> None:
        if not self._is_deaf:
            why = str(error) if isinstance(error, QuantStreamError) else f"{type(error).__name__}: {error}"
            log.warning("news are not heard; what they tell of is looked for all the same", extra={"reason": why})
        self._is_deaf = True
