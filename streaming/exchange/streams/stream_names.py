"""What a stream's name means, on spot and on the futures, and in words what is not offered.

The exchange acknowledges any name and stays silent on those it does not know. Here a name that would stay silent for ever is
refused: nobody shall wait for data that never come. Two silences are kept, because they are the real exchange's own and clients
must find them: that of a symbol that is not listed, and that of a stream asked for at the wrong one of the futures' addresses.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from quantstream.core.time import MINUTE, SECOND
from streaming.exchange.market.market_klines import INTERVALS

Kind = Literal["spot", "futures"]
Route = Literal["public", "market", "private"]
EAST_8 = 8 * 60 * MINUTE
WINDOWS = ("1h", "4h", "1d")
LISTEN_KEY = 40  # letters from which on a name without a channel must be a key to user data; ccxt connects to /ws/0
ALL = "!"  # in the place of a symbol: the streams of all of them
_KLINE = re.compile(r"kline_(\w+?)(@\+08:00)?")
_CONTINUOUS = re.compile(r"continuousKline_(\w+)")
_WINDOW = re.compile(r"ticker_(\w+)")
_DEPTH = re.compile(r"depth(5|10|20)?(?:@(\d+)ms)?")
_ALL = re.compile(r"(miniTicker|ticker|ticker_(?:1h|4h|1d))@arr(?:@(\d+)ms)?")
_SPEEDS = {"spot": ("1000", "100"), "futures": ("250", "500", "100")}  # of depth, ms; the first without being named
_SPOT_WORDS = (
    "trade, aggTrade, kline_<interval>[@+08:00], miniTicker, ticker, ticker_<1h|4h|1d>, bookTicker, avgPrice, depth"
)
_FUTURES_WORDS = "trade, aggTrade, kline_<interval>, continuousKline_<interval>, miniTicker, ticker, bookTicker, depth"
_WORDS = {
    "spot": f"{_SPOT_WORDS}[5|10|20][@100ms], !miniTicker@arr, !ticker_<1h|4h|1d>@arr",
    "futures": f"{_FUTURES_WORDS}[5|10|20][@100ms|@500ms], !miniTicker@arr, !ticker@arr, !bookTicker",
}
_REASONS = {
    "blockTrade": "no block trades happen in this market",
    "referencePrice": "this market has no reference prices",
    "markPrice": "this market has no mark prices",
    "forceOrder": "this market tells of no liquidations",
}
_RETIRED = "the exchange retired it on 2026-03-26; use !miniTicker@arr or <symbol>@ticker"


class Stream(NamedTuple):
    """A symbol's channel, the symbol in upper case.

    `channel` is one of trade, aggTrade, kline, continuousKline, window, ticker, miniTicker, bookTicker, avgPrice, depth and
    partialDepth; `detail` a kline's interval, a window's size or the number of levels; `offset` its time zone and `every` the
    pause between events, in µs.
    """

    symbol: str
    channel: str
    detail: str = ""
    offset: int = 0
    every: int = SECOND

    @property
    def route(self) -> Route:
        """Which of the futures' addresses fills it."""
        return "public" if self.channel in ("trade", "bookTicker", "depth", "partialDepth") else "market"


def parse_stream(name: str, kind: Kind = "spot") -> Stream | None:
    """Return what a stream's name means, or None when no such stream is offered; symbols in names are lower case."""
    if name.startswith(ALL):
        return _all_market(name, kind)
    symbol, _, channel = name.partition("@")
    found = _channel(channel, kind)
    if found and found.channel == "continuousKline":
        symbol = symbol.removesuffix("_perpetual")
    return found._replace(symbol=symbol.upper()) if found and symbol == symbol.lower() else None


def why_not_offered(name: str, kind: Kind) -> str | None:
    """Return in words why nothing could ever come on a stream, None when something may."""
    symbol, _, channel = name.partition("@")
    if not name.startswith(ALL) and _channel(channel, kind) is not None:
        return None
    if name.startswith(ALL) and _all_market(name, kind) is not None:
        return None
    if "@" not in name and not name.startswith(ALL):
        if len(name) < LISTEN_KEY:
            return None
        reason = "it has no accounts and no user data"
    elif kind == "spot" and name.startswith("!ticker@arr"):
        reason = _RETIRED
    else:
        word = re.split(r"[@_]", symbol[1:] if symbol.startswith(ALL) else channel)[0]
        reason = _REASONS.get(word, f"streams here are {_WORDS[kind]}")
    return f"the simulated exchange does not offer the stream {name[:80]}: {reason}"


def _all_market(name: str, kind: Kind) -> Stream | None:
    if name == "!bookTicker" and kind == "futures":
        return Stream(ALL, "bookTicker", every=5 * SECOND)
    found = _ALL.fullmatch(name[1:])
    if found is None or ((found[1] == "ticker") != (kind == "futures") and found[1] != "miniTicker"):
        return None
    every = max(SECOND, int(found[2] or 0) * 1000)
    if found[1].startswith("ticker_"):
        return Stream(ALL, "window", found[1].removeprefix("ticker_"), every=every)
    return Stream(ALL, found[1], every=every)


def _channel(channel: str, kind: Kind) -> Stream | None:
    if channel in ("trade", "aggTrade", "miniTicker", "ticker") or (channel == "avgPrice" and kind == "spot"):
        return Stream("", channel)
    if channel == "bookTicker":
        return Stream("", channel, every=0)
    if found := _KLINE.fullmatch(channel):
        return _kline(found[1], found[2] is not None, kind)
    if (found := _CONTINUOUS.fullmatch(channel)) and found[1] in INTERVALS and found[1] != "1s" and kind == "futures":
        return Stream("", "continuousKline", found[1])
    if found := _WINDOW.fullmatch(channel):
        return Stream("", "window", found[1]) if found[1] in WINDOWS and kind == "spot" else None
    if found := _DEPTH.fullmatch(channel):
        speed = found[2] or _SPEEDS[kind][0]
        name = "partialDepth" if found[1] else "depth"
        return Stream("", name, found[1] or "", every=int(speed) * 1000) if speed in _SPEEDS[kind] else None
    return None


def _kline(interval: str, is_east: bool, kind: Kind) -> Stream | None:
    if interval not in INTERVALS or (kind == "futures" and (interval == "1s" or is_east)):
        return None
    every = SECOND if interval == "1s" or kind == "futures" else 2 * SECOND
    return Stream("", "kline", interval, EAST_8 if is_east else 0, every)
