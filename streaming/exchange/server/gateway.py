"""The REST side: the door that all endpoints share.

The door weighs each request, injects ordered faults, and turns refusals into the exchange's own errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from streaming.exchange.clock import Clock
from streaming.exchange.error_answers import Query, Refused
from streaming.exchange.faults import Faults
from streaming.exchange.formats import spot_wire
from streaming.exchange.market.protocol import Market
from streaming.exchange.rest.endpoints import Asked, Endpoint
from streaming.exchange.rest.exchange_info import exchange_info
from streaming.exchange.rest.weights import Allowance, banned, too_much, used_weight
from streaming.exchange.server.venue import SPOT, Venue

FULL_ONLY = ("historicalTrades", "ticker/tradingDay")  # not on the market-data-only hosts: faqs/market_data_only.md
OTHER_APIS = {"/api/v3": ("/fapi/v1", "/dapi/v1"), "/fapi/v1": ("/api/v3", "/dapi/v1")}
WITHOUT_DATA = ("ping", "time", "exchangeInfo")  # whoever asks these wants no trades yet
PATIENCE = 5.0  # seconds of wall time that a recording waits for a listener, once REST asked for data
NOT_OFFERED = (
    "This operation is not supported. The simulated exchange offers market data of {kind}, at {api}/: {names}; "
    "it has no accounts, no orders and no WebSocket API."
)


def _nothing_listed(asked: Asked) -> Any:
    """Libraries that load all kinds of markets at once find none of the other kinds here."""
    return exchange_info([], asked.now, asked.weight_limit)


class Rest:
    """The door of all endpoints."""

    def __init__(
        self,
        market: Market,
        clock: Clock,
        faults: Faults,
        allowance: Allowance,
        data_only: bool = False,
        venue: Venue = SPOT,
        patience: float = PATIENCE,
    ) -> None:
        """`data_only` as on the real exchange's market-data-only hosts: single trades are not given out by their ids.

        `patience` is how long, after the first question for data, a clock goes on waiting for a listener.
        """
        hidden = FULL_ONLY if data_only else ()
        self._offered = {name: answer for name, answer in venue.endpoints.items() if name not in hidden}
        self._market = market
        self._clock = clock
        self._faults = faults
        self._allowance = allowance
        self._venue = venue
        self._patience = patience
        self._start: asyncio.TimerHandle | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve; the last ones take what is offered by none."""
        api = self._venue.api
        offered = [web.get(f"{api}/{name}", self._handler(name, answer)) for name, answer in self._offered.items()]
        offered += [
            web.get(path, self._handler(name, self._offered[name])) for path, name in self._venue.later_versions.items()
        ]
        others = [
            web.get(f"{other}/exchangeInfo", self._handler("exchangeInfo", _nothing_listed))
            for other in OTHER_APIS[api]
        ]
        rest = "/{family:api|sapi|fapi|dapi|eapi|papi|ws-api|ws-fapi}/{path:.*}"
        return [*offered, *others, web.route("*", rest, self._handler("", self._not_offered))]

    def _not_offered(self, _: Asked) -> Any:
        names = ", ".join(self._offered)
        raise Refused(-1020, NOT_OFFERED.format(kind=self._venue.kind, api=self._venue.api, names=names), 404)

    def _handler(self, name: str, answer: Endpoint) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            headers: dict[str, str] = {}
            try:
                used = self._allowance.use(request.remote or "", self._venue.weight_of(name, request.query))
                headers = used_weight(used)
                await self._fail_if_ordered(request, used)
                if name and name not in WITHOUT_DATA:
                    self._start_in_time()
                body = answer(self._asked(request))
            except Refused as refused:
                return _json(refused.body, refused.status, headers | dict(refused.headers))
            text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
            return _json(text, 200, headers)

        return handle

    def _start_in_time(self) -> None:
        """Let the clock of a recording start without a listener: whoever polls REST alone is to see it go on."""
        if self._start is None and not self._clock.is_running:
            self._start = asyncio.get_running_loop().call_later(self._patience, self._clock.start)

    def _asked(self, request: web.Request) -> Asked:
        unit, now = spot_wire.MILLISECONDS, self._clock.now()
        if self._venue.takes_micros:
            unit = spot_wire.unit_named(request.headers.get("X-MBX-TIME-UNIT"))
        listings = self._faults.listed(self._market.listings, now)
        query = Query(request.query, listings, self._venue.takes_micros)
        return Asked(self._market, query, now, unit, self._allowance.limit, request.headers)

    async def _fail_if_ordered(self, request: web.Request, used: int) -> None:
        if fault := self._faults.strike("rest_429"):
            raise too_much(self._allowance.limit, max(1, round(fault.seconds)), used)
        if fault := self._faults.strike("rest_418"):
            raise banned(max(1, round(fault.seconds)), used)
        if self._faults.strike("rest_500"):
            raise Refused(-1000, "An unknown error occurred while processing the request.", 500)
        if fault := self._faults.strike("rest_timeout"):
            await asyncio.sleep(fault.seconds)
            if request.transport is not None:
                request.transport.abort()


def _json(text: str, status: int, headers: Any) -> web.Response:
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
