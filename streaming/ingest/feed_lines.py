"""Keeps ingest connected: one line per thousand symbols, all of them and the work beside them in one group of tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from zlib import crc32

from quantstream.binance import feed as feeds
from quantstream.binance.protocols import Feed
from quantstream.binance.time_unit import prints_micros
from quantstream.binance.transports import opener
from quantstream.core.errors import QuantStreamError
from streaming.ingest.feed_line import Line, LineMetrics, Plan
from streaming.ingest.stage import Ingest

TURN = 0.1  # seconds: how long a stop waits at most


def share_of(symbols: Sequence[str], number: int, count: int) -> list[str]:
    """Return the symbols of share `number` of `count` (from 1): the same ones whatever other symbols are asked for."""
    return [symbol for symbol in symbols if crc32(symbol.encode()) % count == number - 1]


async def keep_connected(ingest: Ingest, base: str, stop: threading.Event, plan: Plan | None = None) -> None:
    """Run `ingest` over its connections to the streams at `base` until `stop` is set.

    Raises: Misconfigured when the exchange refuses what is asked; Broken when the broker does not take trades.
    """
    plan = plan or Plan()

    def connecting(symbols: Sequence[str]) -> Callable[[], Awaitable[Feed]]:
        in_micros = prints_micros(base, plan.api)
        return partial(feeds.connect, base, ingest.streams(symbols), opener(plan.socket), plan.silence, in_micros)

    await keep_lines(ingest, connecting, stop, plan)


async def keep_lines(
    ingest: Ingest,
    connecting: Callable[[Sequence[str]], Callable[[], Awaitable[Feed]]],
    stop: threading.Event,
    plan: Plan,
) -> None:
    """Run one line per `plan.streams` symbols until `stop` is set; `connecting` gives each what opens its connections."""
    symbols, counts = list(ingest.feeds), LineMetrics.declared(ingest.metrics, ingest.shard)
    shares = [symbols[start : start + plan.streams] for start in range(0, len(symbols), plan.streams)]
    lines = [Line(number, share, ingest, connecting(share), plan, counts) for number, share in enumerate(shares)]
    ingest.silence.mute.lines = {symbol: line for line in lines for symbol in line.symbols}
    try:
        async with asyncio.TaskGroup() as group:
            ingest.spawn = ingest.silence.spawn = group.create_task
            works = (ingest.keep_time(), ingest.retry_gaps(), ingest.silence.watch(), ingest.delisted.ask_again())
            for work in (*(line.run() for line in lines), *works):
                group.create_task(work)
            await _until_stopped(ingest, lines, stop)
            raise _Stopped
    except BaseExceptionGroup as failed:
        known, other = failed.split((QuantStreamError, _Stopped))
        if other is not None:
            raise
        errors = [error for error in (known.exceptions if known else ()) if not isinstance(error, _Stopped)]
        if errors:
            raise errors[0] from None
    finally:
        ingest.health.not_ready("not connected to the exchange")


class _Stopped(Exception):
    pass


async def _until_stopped(ingest: Ingest, lines: Sequence[Line], stop: threading.Event) -> None:
    while not stop.is_set():
        ingest.health.beat()
        if all(line.is_up for line in lines) and ingest.log.has_room and not ingest.health.is_ready:
            ingest.health.ready()
        await asyncio.sleep(TURN)
