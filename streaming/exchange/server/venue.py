"""What differs between the exchange's markets, spot and USD-M futures: paths, endpoints, limits and manners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streaming.exchange.rest import endpoints, futures, weights
from streaming.exchange.streams.client import Rules
from streaming.exchange.streams.stream_names import Kind, Route


@dataclass(frozen=True, slots=True)
class Venue:
    """One market of the exchange.

    `routes` are the prefixes of its WebSocket addresses and what comes there (None: all), `later_versions` the paths of another
    version of the API that answer as an endpoint does.
    """

    kind: Kind
    api: str
    endpoints: Mapping[str, endpoints.Endpoint]
    weight_of: Callable[[str, Mapping[str, str]], int]
    weight_limit: int
    takes_micros: bool
    rules: Rules
    routes: Mapping[str, Route | None]
    later_versions: Mapping[str, str] = field(default_factory=dict)


SPOT = Venue("spot", "/api/v3", endpoints.SPOT, weights.weight_of, weights.LIMIT_A_MINUTE, True, Rules(), {"": None})
FUTURES = Venue(
    kind="futures",
    api="/fapi/v1",
    endpoints=futures.FUTURES,
    weight_of=futures.weight_of,
    weight_limit=2400,
    takes_micros=False,
    rules=Rules(ping_every=180.0, pong_within=600.0, messages_per_second=10),
    later_versions={"/fapi/v2/ticker/price": "ticker/price"},
    # Addresses without a route still get what is public; market streams are acknowledged there and never filled.
    routes={"/market": "market", "/public": "public", "/private": "private", "": "public"},
)
VENUES: Mapping[Kind, Venue] = {"spot": SPOT, "futures": FUTURES}
