"""The simulated exchange as a measurement needs it: how its clock stands to ours, and how much to ask of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from urllib.request import Request, urlopen

from quantstream.core.time import SECOND
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket

SEED = 1
CLOCK_PROBES = 30
WITHIN = 30.0  # seconds for an answer
PROBED_TRADES = 30_000  # of the busiest symbol: fewer would be chance
STARTS_WITHIN = 60  # seconds until a measurement begins


def clock_offset(rest: str) -> float:
    """Return what to add to the exchange's time (µs) for the wall's, by the quickest of some answers."""
    best = (float("inf"), 0.0)
    for _ in range(CLOCK_PROBES):
        sent = time.time_ns() / 1000
        request = Request(f"{rest}/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
        with urlopen(request, timeout=WITHIN) as answer:
            at = json.loads(answer.read())["serverTime"]
        received = time.time_ns() / 1000
        best = min(best, (received - sent, (sent + received) / 2 - at))
        time.sleep(0.013)  # at different places of the exchange's millisecond
    return best[1]


def busiest_rate(symbols: Sequence[str], rate: float, seconds: float) -> float:
    """Return the trades per second of the busiest symbol with which all of them together will trade `rate` a second at least.

    The synthetic market of `SEED` has hours and moods; how many trades the coming seconds hold, it tells
    beforehand. Counted is the slowest stretch of `seconds` that begins within the next minute.
    """
    start = int(time.time()) * SECOND
    probed = max(1.0, PROBED_TRADES / seconds)
    market = SyntheticMarket(MarketSeed(SEED, start, 1, probed), symbols)
    begins = [start + later * SECOND for later in range(0, STARTS_WITHIN + 1, 10)]
    return probed * rate * seconds / min(_trades(market, symbols, at, at + int(seconds * SECOND)) for at in begins)


def _trades(market: SyntheticMarket, symbols: Sequence[str], start: int, end: int) -> int:
    return sum(span.stop - span.start for symbol in symbols for span in trades_between(market, symbol, start, end))
