"""The unit of the exchange's times: µs where it prints them on request, so that what is lived through is what its archive holds.

Spot prints ms unless a request has the header, or a stream's address the parameter (github.com/binance/binance-spot-api-docs,
rest-api.md and web-socket-streams.md, "General Information"); its archive is in µs since 2025. Futures, and binance.us, print
and archive ms. Times in requests are in ms everywhere: all hosts read these.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from quantstream.binance.endpoint_weights import SPOT_API, is_american

HEADER, PARAMETER, MICROS = "X-MBX-TIME-UNIT", "timeUnit", "MICROSECOND"
STILL_MS = (
    "the exchange prints milliseconds though it was asked for microseconds: trades that are lived through will differ "
    "from its archive by what milliseconds cannot hold"
)


def prints_micros(base: str, api: str) -> bool:
    """Tell whether the host of an address prints µs when it is asked to; `api` is the path before each method."""
    return api == SPOT_API and not is_american(urlsplit(base).hostname)


def headers_for(address: str) -> Mapping[str, str]:
    """Return what a request over REST says of times; `address` has its path, such as `/api/v3`."""
    base = address.removesuffix(SPOT_API)
    return {HEADER: MICROS} if base != address and prints_micros(base, SPOT_API) else {}
