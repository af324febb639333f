"""A model of the exchange: each symbol's trades as drawn, their candles recomputed plainly, and what writes them to the topic."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from quantstream.binance.wire import LogPosition, heartbeat_event, trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.time import INTERVALS, SECOND
from quantstream.core.trade import Trade
from tests.dst.simulation import EPOCH, MS

Bar = tuple[int, int, int, int, int, int, int, int, int]  # open high low close volume quote count first last


@dataclass
class Market:
    """Trades of each symbol in order, from the market's time `EPOCH` on, which runs `speed` times as fast as the clock."""

    trades: dict[str, list[Trade]]
    speed: int
    end: int  # µs: the first instant after the last window
    interval: str

    def time(self, now: int) -> int:
        """Return the market's time (µs) at an instant of the world (µs since its beginning)."""
        return EPOCH + now * self.speed

    def candles(self) -> dict[tuple[str, int], Bar]:
        """Return what every window of every symbol comes to, flat ones included."""
        length = INTERVALS[self.interval]
        found: dict[tuple[str, int], Bar] = {}
        for symbol, trades in self.trades.items():
            windows: dict[int, list[Trade]] = {}
            for trade in trades:
                windows.setdefault(trade.traded_at // length * length, []).append(trade)
            close = 0
            for at in range(min(windows), self.end, length):
                bar = _bar(windows[at]) if at in windows else (close, close, close, close, 0, 0, 0, -1, -1)
                found[symbol, at] = bar
                close = bar[3]
        return found


def _bar(trades: Sequence[Trade]) -> Bar:
    prices = [trade.price for trade in trades]
    return (
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(trade.quantity for trade in trades),
        sum(trade.price * trade.quantity for trade in trades),
        len(trades),
        trades[0].id,
        trades[-1].id,
    )


def draw_market(rng: random.Random, symbols: int, trades: int, windows: int, speed: int) -> Market:
    """Draw a market of about so many trades over so many windows of a minute."""
    length = INTERVALS["1m"]
    drawn: dict[str, list[Trade]] = {}
    for number in range(symbols):
        name = f"S{rng.randrange(1000)}X{number}"
        times = sorted(rng.randrange(windows * length // MS) * MS for _ in range(max(2, trades // symbols)))
        if rng.random() < 0.3:  # a quiet stretch
            start = rng.randrange(windows) * length
            times = [at for at in times if not start <= at < start + 2 * length] or times[:2]
        times = [rng.randrange(2_000) * MS, *times[1:]]  # at the very beginning: who is there from then on knows it all
        times.sort()
        usual = [1 + rng.randrange(9) for _ in range(7)]
        drawn[name] = [
            Trade(
                name,
                n,
                n,
                n,
                (100 + rng.randrange(50)) * UNIT,
                usual[n % 7] * UNIT * (60 if rng.random() < 0.04 else 1),
                EPOCH + at,
                rng.random() < 0.5,
            )
            for n, at in enumerate(times)
        ]
    return Market(drawn, speed, EPOCH + windows * length, "1m")


def records(market: Market, lateness: int) -> list[tuple[int, str, bytes]]:
    """Return the records that an ingest writes, in order, each with the instant (µs of the world) from which it may."""
    found: list[tuple[int, int, str, bytes]] = []
    for symbol, trades in market.trades.items():
        found += [(trade.traded_at, 0, symbol, trade_event(trade)) for trade in trades]
        beats = range(trades[0].traded_at // SECOND * SECOND + 20 * SECOND, market.end, 20 * SECOND)
        for at in [*beats, market.end + lateness + SECOND]:
            found.append((at, 1, symbol, heartbeat_event(symbol, at, _position(trades, at))))
    found.sort(key=lambda item: item[:3])
    return [((at - EPOCH) // market.speed, symbol, raw) for at, _, symbol, raw in found]


def _position(trades: Sequence[Trade], at: int) -> LogPosition:
    before = [trade for trade in trades if trade.traded_at < at]
    last = before[-1] if before else None
    return (
        LogPosition()
        if last is None
        else msgspec.structs.replace(LogPosition(), last=last.id, last_at=last.traded_at, next=last.id + 1)
    )
