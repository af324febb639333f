"""The WebSocket side: opens connections at `/ws` and `/stream`, keeps them to the exchange's rules, and cuts them by plan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from urllib.parse import unquote

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from streaming.exchange.clock import Clock
from streaming.exchange.error_answers import Refused
from streaming.exchange.formats.spot_wire import MILLISECONDS, unit_named
from streaming.exchange.rest.weights import Attempts
from streaming.exchange.server.venue import SPOT, Venue
from streaming.exchange.streams.client import Connection, Event, Rules, TooManyMessages
from streaming.exchange.streams.publisher import Publisher
from streaming.exchange.streams.stream_names import why_not_offered
from streaming.exchange.streams.stream_requests import MAX_STREAMS, Subscriptions

log = logging.getLogger(__name__)
MAX_REASON = 123  # bytes that a close frame has room for
TIME_TO_READ = 1.0  # seconds until who is turned away is cut: some clients lose what comes with the end
FAREWELL = 0.05  # seconds for the announcement to go out
ENDED = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class Sockets:
    """All connections."""

    def __init__(self, publisher: Publisher, clock: Clock, rules: Rules, venue: Venue = SPOT) -> None:
        self._publisher = publisher
        self._clock = clock
        self._rules = rules
        self._venue = venue
        self._attempts = Attempts(rules.attempts, rules.attempts_within)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [route for prefix in self._venue.routes for route in self._routes_at(prefix)]

    def _routes_at(self, prefix: str) -> list[web.RouteDef]:
        async def raw(request: web.Request) -> web.StreamResponse:
            return await self._open(request, prefix, request.match_info.get("streams", ""), combined=False)

        async def combined(request: web.Request) -> web.StreamResponse:
            return await self._open(request, prefix, _asked_for(request), combined=True)

        return [
            web.get(f"{prefix}/ws", raw),
            web.get(prefix + "/ws/{streams:.*}", raw),
            web.get(f"{prefix}/stream", combined),
            web.get(f"{prefix}/stream/", combined),
        ]

    async def shut_down(self) -> None:
        """Announce the end to everyone and say goodbye."""
        connections = list(self._publisher.connections)
        for connection in connections:
            announce_shutdown(connection, self._clock)
        if connections:
            await asyncio.sleep(FAREWELL)
        await asyncio.gather(*(self._dismiss(connection) for connection in connections))

    async def _dismiss(self, connection: Connection) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # it left by itself, or does not answer
            await asyncio.wait_for(connection.close(WSCloseCode.GOING_AWAY, "Server shutdown"), 1.0)

    async def _open(self, request: web.Request, prefix: str, streams: str, combined: bool) -> web.StreamResponse:
        names = [name for name in streams.split("/") if name]
        try:
            self._attempts.count(request.remote or "")
            unit = unit_named(request.query.get("timeUnit")) if self._venue.takes_micros else MILLISECONDS
        except Refused as refused:
            log.warning("connection refused", extra={"reason": str(refused)})
            return web.Response(status=refused.status, text=refused.body, headers=refused.headers)
        if len(names) > MAX_STREAMS:
            return web.Response(status=400, text=f"a connection may listen to at most {MAX_STREAMS} streams")
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await socket.prepare(request)
        names_and_keys = [*names, *request.query.getall("listenKey", [])]
        if reason := next((why for name in names_and_keys if (why := why_not_offered(name, self._venue.kind))), None):
            return await _turn_away(socket, reason)
        subscriptions = Subscriptions(names, combined, self._venue.kind)
        connection = Connection(socket, subscriptions, unit, self._rules, self._venue.routes[prefix])
        connection.attach(request.transport)
        self._publisher.listen(connection, names)
        log.info("client connected", extra={"streams": len(names)})
        try:
            async with self._tasks(connection):
                await self._read(socket, connection)
        finally:
            self._publisher.leave(connection)
            log.info("client left", extra={"code": socket.close_code})
        return socket

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        while True:
            message = await socket.receive()
            if message.type in ENDED:
                return
            if message.type is WSMsgType.PING:  # the pong is to say: all that traded before the ping was sent
                self._publisher.step(self._clock.now())
            try:
                request = connection.receive(message)
            except TooManyMessages:
                await connection.close(WSCloseCode.POLICY_VIOLATION, "Too many requests")
                return
            if request is not None:
                reply = connection.subscriptions.answer(request)
                connection.send(reply)
                self._publisher.listen(connection, connection.subscriptions.names)

    @contextlib.asynccontextmanager
    async def _tasks(self, connection: Connection) -> AsyncIterator[None]:
        """Write, ping and cut by plan while inside."""
        jobs = (connection.write(), connection.ping(), self._cut_in_time(connection))
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, ConnectionError):
                    raise ended

    async def _cut_in_time(self, connection: Connection) -> None:
        notice = min(self._rules.shutdown_notice, self._rules.lifetime)
        await asyncio.sleep(self._rules.lifetime - notice)
        await cut_after_notice(connection, self._clock, notice)


def _asked_for(request: web.Request) -> str:
    """Return the parameter `streams` of an address, in which a plus is a plus: clients do not escape that of a time zone."""
    for parameter in request.rel_url.raw_query_string.split("&"):
        name, _, value = parameter.partition("=")
        if name == "streams":
            return unquote(value)
    return ""


async def _turn_away(socket: web.WebSocketResponse, reason: str) -> web.WebSocketResponse:
    """Say in words, in a frame and in the goodbye, that a stream of the address is not offered."""
    log.warning("connection refused", extra={"reason": reason})
    error = {"error": {"code": 2, "msg": f"Invalid request: {reason}"}, "id": None}
    await socket.send_str(msgspec.json.encode(error).decode())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(socket.receive(), TIME_TO_READ)
    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode()[:MAX_REASON])
    return socket


def announce_shutdown(connection: Connection, clock: Clock) -> None:
    """Send the event that precedes a planned cut, in the connection's form."""
    raw = msgspec.json.encode({"e": "serverShutdown", "E": clock.now() // connection.unit}).decode()
    connection.send_event(Event("!serverShutdown", {connection.unit: raw}))


async def cut_after_notice(connection: Connection, clock: Clock, seconds: float) -> None:
    """Announce a cut, wait, cut."""
    announce_shutdown(connection, clock)
    await asyncio.sleep(seconds)
    await connection.close(WSCloseCode.GOING_AWAY, "Server shutdown")
