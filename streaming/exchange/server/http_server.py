"""The exchange as a server: WebSocket and REST on one port, the publisher's loop, and the control endpoint.

`serve` runs it inside a loop that is already running: the command does so, and tests do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from quantstream.core.errors import Misconfigured
from streaming.exchange.clock import Clock
from streaming.exchange.clock_file import Keeper
from streaming.exchange.faults import Faults
from streaming.exchange.market.protocol import Market
from streaming.exchange.rest.weights import Allowance
from streaming.exchange.server.archive import Archive
from streaming.exchange.server.control import Control
from streaming.exchange.server.gateway import PATIENCE, Rest
from streaming.exchange.server.sockets import Sockets
from streaming.exchange.server.venue import SPOT, Venue
from streaming.exchange.streams.client import Rules
from streaming.exchange.streams.publisher import Publisher
from streaming.exchange.truth import Truth


@dataclass(frozen=True, slots=True)
class Options:
    """How an exchange is served. `identity` is what the clock file says the market is."""

    host: str = "127.0.0.1"
    port: int = 0
    venue: Venue = SPOT
    weight_limit: int | None = None  # as the venue's
    data_only: bool = False
    rules: Rules | None = None  # as the venue's
    waits_for_listener: bool = False
    patience: float = PATIENCE
    clock_file: Path | None = None
    truth_file: Path | None = None
    archive: Path | None = None  # a folder of files of the public archive, served before those that the market makes
    identity: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """A running exchange: its base addresses, its parts for tests to look at, and its work, which ends only by an error."""

    ws: str
    rest: str
    faults: Faults
    publisher: Publisher
    work: asyncio.Future[list[None]]


@contextlib.asynccontextmanager
async def serve(
    market: Market, clock: Clock, options: Options | None = None, faults: Faults | None = None
) -> AsyncIterator[Served]:
    """Serve a market by a clock while inside.

    Raises: Misconfigured when the port is taken, or a file cannot be written.
    """
    options = options or Options()
    faults = faults or Faults(random.Random(0))
    async with contextlib.AsyncExitStack() as stack:
        truth = stack.enter_context(contextlib.closing(Truth(options.truth_file))) if options.truth_file else None
        venue = options.venue
        publisher = Publisher(market, clock, faults, truth, venue.kind)
        sockets = Sockets(publisher, clock, options.rules or venue.rules, venue)
        allowance = Allowance(venue.weight_limit if options.weight_limit is None else options.weight_limit)
        rest = Rest(market, clock, faults, allowance, options.data_only, venue, options.patience)
        app = web.Application()
        app.add_routes(rest.routes())
        app.add_routes(sockets.routes())
        app.add_routes(Archive(market, clock, faults, venue, options.archive).routes())
        app.add_routes(Control(faults, publisher, clock).routes())
        port = await _listening(app, options, stack)
        keeper = Keeper(clock, options.clock_file, options.identity) if options.clock_file else None
        if not options.waits_for_listener:
            clock.start()
        work = asyncio.gather(publisher.run(), *([keeper.run()] if keeper else []))
        try:
            yield Served(f"ws://{options.host}:{port}", f"http://{options.host}:{port}", faults, publisher, work)
        finally:
            await sockets.shut_down()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            if keeper:
                keeper.finish()


async def _listening(app: web.Application, options: Options, stack: contextlib.AsyncExitStack) -> int:
    """Open the port until the stack closes; return it."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, options.host, options.port)
    try:
        await site.start()
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
        raise Misconfigured(
            f"port {options.port} of {options.host} {reason}; choose another with --port, or --port 0 for a free one"
        ) from None
    return int(runner.addresses[0][1])
