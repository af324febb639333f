"""Faults on demand: what goes wrong, how often, and how often it did.

An order for a fault holds for a number of occasions (`count`), or for each occasion with a `probability`. An occasion is a
trade event about to be sent (`skip`, `duplicate`, `reorder`, `malformed`, `mute`; `drop` and `stall` of its connection) or a
REST request. `mute` and `delist` last for a window of the exchange's own time, whatever its speed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from quantstream.core.errors import Misconfigured
from quantstream.core.time import LATEST, SECOND

L = TypeVar("L")
KINDS = {
    "drop": "the connection is cut without a close frame",
    "skip": "a trade is not sent; REST has it",
    "duplicate": "a trade is sent twice",
    "reorder": "a trade is sent after the one that follows it on its stream",
    "malformed": "a trade's frame is cut in half",
    "stall": "nothing is sent for some seconds, not even pings unless `pings` is true; then all of it",
    "mute": "streams bring nothing for some seconds of exchange time, though pings are answered and REST has it all",
    "delist": "a symbol is unknown for some seconds of exchange time: REST refuses it, its streams bring nothing",
    "shutdown": "serverShutdown is announced, and the connection cut after some seconds",
    "rest_429": "a request is refused, with Retry-After of some seconds",
    "rest_418": "a request is refused as from a banned address, with Retry-After of some seconds",
    "rest_500": "a request fails inside the exchange",
    "rest_timeout": "a request is left without an answer for some seconds, then cut",
    "archive_500": "the archive does not answer a request for a file",
    "archive_absent": "a file of the archive, or its checksum, is not there",
    "archive_damaged": "a file of the archive comes with a wrong byte",
}


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One order. `seconds` is how long a stall, a shutdown's notice, a timeout or a Retry-After lasts, in wall time.

    Of `mute` and `delist` it is exchange time, 0 for until further notice; with a count they begin at once.
    """

    kind: str
    count: int | None = None
    probability: float | None = None
    seconds: float = 1.0
    pings: bool = False
    stream: str = ""  # only on this stream; on any when empty
    streams: list[str] = []  # of mute: these; all when neither is given
    symbol: str = ""  # of delist

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no fault; use one of {', '.join(KINDS)}")
        if (self.count is None) == (self.probability is None):
            raise ValueError("give either a count or a probability")
        if (self.count or 0) < 0 or not 0 <= (self.probability or 0) <= 1 or self.seconds < 0:
            raise ValueError("count and seconds are not negative, a probability lies between 0 and 1")
        if (self.kind == "delist") != bool(self.symbol) or (self.kind == "delist" and self.count is None):
            raise ValueError('delist needs a symbol and a count, like {"kind":"delist","symbol":"XRPUSDT","count":1}')


class Faults:
    """The orders that hold now."""

    def __init__(self, rng: random.Random | None = None, orders: Iterable[Fault] = ()) -> None:
        self._rng = rng or random.Random(0)
        self.active = list(orders)
        self.injected: Counter[str] = Counter()
        self.muted: dict[str, int] = {}  # by stream, or "" for all: until when, µs by the exchange
        self.delisted: dict[str, int] = {}  # by symbol, likewise

    def mute(self, fault: Fault, now: int, stream: str = "") -> None:
        """Let streams bring nothing from `now` (µs) on: those the fault names, else `stream`, else all."""
        for name in fault.streams or [fault.stream or stream]:
            self.muted[name] = _until(fault, now)

    def delist(self, fault: Fault, now: int) -> None:
        """Let a symbol be unknown from `now` (µs) on."""
        self.injected["delist"] += 1
        self.delisted[fault.symbol] = _until(fault, now)

    def mutes(self, stream: str, now: int) -> bool:
        """Tell whether an event of a stream is not to be sent, and count it."""
        symbol = stream.partition("@")[0].upper()
        is_muted = max(self.muted.get(stream, 0), self.muted.get("", 0)) > now or self.delisted.get(symbol, 0) > now
        self.injected["mute"] += is_muted
        return is_muted

    def listed(self, listings: Mapping[str, L], now: int) -> Mapping[str, L]:
        """Return the listings without those that are delisted."""
        gone = {symbol for symbol, until in self.delisted.items() if until > now}
        return {symbol: listing for symbol, listing in listings.items() if symbol not in gone} if gone else listings

    def order(self, fault: Fault) -> None:
        """Add an order."""
        self.active.append(fault)

    def clear(self) -> None:
        """Withdraw all orders; the counts stay."""
        self.active.clear()
        self.muted.clear()
        self.delisted.clear()

    def strike(self, kind: str, stream: str = "") -> Fault | None:
        """Return the fault that happens on this occasion, if one does, and count it."""
        for fault in self.active:
            if fault.kind == kind and fault.stream in ("", stream) and self._hits(fault):
                self.injected[kind] += 1
                return fault
        return None

    def _hits(self, fault: Fault) -> bool:
        if fault.count is None:
            return self._rng.random() < (fault.probability or 0)
        fault.count -= 1
        if fault.count <= 0:
            self.active.remove(fault)
        return fault.count >= 0


def _until(fault: Fault, now: int) -> int:
    return now + int(fault.seconds * SECOND) if fault.seconds else LATEST


def parse_faults(text: str) -> list[Fault]:
    """Return the orders of a command line such as `drop=0.001,stall=0.0001:5` (probability, and seconds after the colon).

    Raises: Misconfigured.
    """
    return [_parse_fault(part.strip()) for part in text.split(",") if part.strip()]


def _parse_fault(text: str) -> Fault:
    kind, _, figures = text.partition("=")
    probability, _, seconds = figures.partition(":")
    try:
        return Fault(kind=kind, probability=float(probability), seconds=float(seconds) if seconds else 1.0)
    except ValueError as error:
        raise Misconfigured(f"--faults {text!r}: {error}; write it like drop=0.001,stall=0.0001:5") from None


def parse_order(raw: bytes) -> Fault:
    """Return the order in a control request's body.

    Raises: ValueError with the reason.
    """
    return msgspec.json.decode(raw, type=Fault)


def describe(faults: Faults) -> Mapping[str, object]:
    """Return what the control endpoint shows."""
    return {
        "injected": dict(faults.injected),
        "active": [msgspec.to_builtins(fault) for fault in faults.active],
        "muted": dict(faults.muted),
        "delisted": dict(faults.delisted),
    }
