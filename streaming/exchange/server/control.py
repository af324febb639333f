"""The control endpoint, which the real exchange does not have: orders faults and tells which happened."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault, Faults, describe, parse_order
from streaming.exchange.server.sockets import cut_after_notice
from streaming.exchange.streams.publisher import Publisher


class Control:
    """`POST /control/faults` orders one, `GET` shows what was injected and what still holds, `DELETE` withdraws all.

    `drop`, `stall` and `shutdown` with a count and without a stream happen at once, to every connection; `mute` and `delist`
    with a count begin at once.
    """

    def __init__(self, faults: Faults, publisher: Publisher, clock: Clock) -> None:
        self._faults = faults
        self._publisher = publisher
        self._clock = clock
        self._cuts: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        path = "/control/faults"
        return [web.post(path, self._order), web.get(path, self._show), web.delete(path, self._clear)]

    async def _order(self, request: web.Request) -> web.Response:
        try:
            fault = parse_order(await request.read())
        except (msgspec.MsgspecError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        if fault.count is not None and fault.kind == "mute":
            self._faults.mute(fault, self._clock.now())
        elif fault.kind == "delist":
            self._faults.delist(fault, self._clock.now())
        elif fault.count is not None and not fault.stream and fault.kind in ("drop", "stall", "shutdown"):
            self._strike_now(fault)
        else:
            self._faults.order(fault)
        return await self._show(request)

    def _strike_now(self, fault: Fault) -> None:
        for connection in list(self._publisher.connections):
            self._faults.injected[fault.kind] += 1
            if fault.kind == "drop":
                connection.abort()
            elif fault.kind == "stall":
                connection.stall(fault.seconds, fault.pings)
            else:
                task = asyncio.create_task(cut_after_notice(connection, self._clock, fault.seconds))
                self._cuts.add(task)
                task.add_done_callback(self._cuts.discard)

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(describe(self._faults)), content_type="application/json")

    async def _clear(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return await self._show(request)
