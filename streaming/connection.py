"""Keeps ingest connected: reconnects with jittered back-off, and says when the feed went away and came back."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Coroutine

from quantstream.errors import Unavailable
from quantstream.topics import Event
from streaming.feed import open_feed
from streaming.ingest import Ingest

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; 300 attempts per 5 minutes are allowed, this makes at most 15
LASTING = 30.0  # seconds after which a connection counts as a good one and the back-off starts over


async def keep_connected(ingest: Ingest, base: str, stop: threading.Event) -> None:
    """Run `ingest` over one connection after another until `stop` is set.

    Raises: Misconfigured when the exchange refuses what is asked; Broken when the broker does not take trades.
    """
    pause, is_down = FIRST_PAUSE, False
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        started = loop.time()
        try:
            async with open_feed(base, ingest.streams) as feed:
                if is_down:
                    _tell(ingest, "feed_recovered", "the exchange's stream is back")
                    is_down = False
                await _until_stopped(ingest.run(feed), stop)
        except Unavailable as error:
            ingest.health.not_ready(str(error))
            if not is_down:
                _tell(ingest, "feed_stalled", str(error))
            is_down = True
            pause = FIRST_PAUSE if loop.time() - started > LASTING else min(pause * 2, LONGEST_PAUSE)
            await _sleep(pause * random.uniform(0.5, 1.0), ingest, stop)


async def _until_stopped(work: Coroutine[None, None, None], stop: threading.Event) -> None:
    task = asyncio.create_task(work)
    while not task.done() and not stop.is_set():
        await asyncio.wait([task], timeout=0.2)
    if not task.done():
        task.cancel()
    await asyncio.gather(task, return_exceptions=stop.is_set())


async def _sleep(seconds: float, ingest: Ingest, stop: threading.Event) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not stop.is_set() and (left := end - asyncio.get_running_loop().time()) > 0:
        ingest.health.beat()  # waiting for the exchange is not hanging
        await asyncio.sleep(min(left, 0.5))


def _tell(ingest: Ingest, kind: str, text: str) -> None:
    ingest.log.event(Event("ingest", kind, text, ingest.now()))
