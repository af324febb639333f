"""A small market written to real topics and a real lake, one step at a time, for the page to show."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.partial_sums import SymbolState
from quantstream.core.time import MINUTE, SECOND
from quantstream.kafka import Writer
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Anomaly, DeadRecord, Event, Forecast, OpenCandles, Score, Signal, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, EVENTS, OPEN_CANDLES, SCORES
from quantstream.settings import Kafka

STEP = 5 * MINUTE
BEGAN_AT = 1_768_521_600 * SECOND  # 2026-01-16 00:00 UTC: candles begin two days before
TICKS = {"BTCUSDT": (UNIT // 100, 64_000.0), "ETHUSDT": (UNIT // 100, 3_400.0), "XRPUSDT": (UNIT // 10_000, 0.6210)}
MODELS = {"quantstream-forecast": "3", "quantstream-signal": "5", "quantstream-risk": "2"}


class Market:
    """Some symbols' walk; every method is one thing that happens."""

    def __init__(self, kafka: Kafka, lake: Lake, symbols: Sequence[str], seed: int = 7) -> None:
        self.writer, self.lake = Writer(kafka), lake
        self.rng = random.Random(seed)
        self.candles: dict[str, list[Candle]] = {symbol: [] for symbol in symbols}
        self.building: dict[str, Candle] = {}
        self.ids = itertools.count(1)

    def fill(self, count: int = 620, live: int = 40) -> None:
        """Walk `count` candles of each symbol: the lake gets all but the last few, the topic the last `live`."""
        for symbol, made in self.candles.items():
            price = TICKS[symbol][1]
            volatility = 0.0011
            for i in range(count):
                volatility = 0.94 * volatility + 0.06 * 0.0011 + 0.0004 * max(0.0, self.rng.gauss(0, 0.35))
                made.append(self._candle(symbol, BEGAN_AT + (i - count) * STEP, price, volatility, 1.0, i != count - 9))
                price = made[-1].close / UNIT
            self.lake.append("candles", candle_rows(made[: -(live // 2)]))
            for candle in made[-live:]:
                self.writer.send(CANDLES, symbol, encode(candle))
            self.trade(symbol, 0.4)
        self.writer.flush()

    def trade(self, symbol: str, share: float, price: float | None = None) -> Candle:
        """Publish the candle being built after `share` of its five minutes."""
        last = self.candles[symbol][-1]
        candle = self._candle(symbol, last.closed_at, last.close / UNIT, 0.0012 * math.sqrt(share), share, False)
        if price is not None:
            units = round(price * UNIT)
            candle = _replace(candle, close=units, high=max(candle.high, units), low=min(candle.low, units))
        self.building[symbol] = candle
        self._snapshot(symbol, candle.opened_at + int(share * STEP), [candle])
        return candle

    def close(self, symbol: str) -> Candle:
        """Close the candle being built and begin the next."""
        candle = _replace(self.building[symbol], is_complete=True)
        self.candles[symbol].append(candle)
        self.writer.send(CANDLES, symbol, encode(candle))
        self.trade(symbol, 0.05)
        return candle

    def score(self, symbol: str, action: str = "Buy", risk: float = 41.0, revision: int = 0) -> Score:
        """Publish a score of the newest closed candle."""
        candle = self.candles[symbol][-1]
        close = candle.close / UNIT
        levels = [0.05, 0.25, 0.5, 0.75, 0.95]
        forecasts = []
        for horizon, steps in (("5m", 1), ("15m", 3), ("1h", 12)):
            spread = 0.0012 * math.sqrt(steps)
            returns = [0.0004 * steps**0.5 + spread * z for z in (-1.64, -0.67, 0.0, 0.67, 1.64)]
            forecasts.append(Forecast(horizon, levels, returns, [close * math.exp(r) for r in returns]))
        shares = {"Buy": (0.58, 0.29, 0.13), "Hold": (0.22, 0.61, 0.17), "Sell": (0.14, 0.27, 0.59)}[action]
        score = Score(
            symbol, "5m", candle.opened_at, revision, close, candle.closed_at, "3f2a",
            forecasts, Signal(action, *shares, 0.47, shares[0] - shares[2], 0.00021, 0.002), risk, 0.31,  # type: ignore[arg-type]
            ["taker imbalance of 1 h is high: +0.34", "price stands 1.2 σ above the 24 h VWAP", "volatility is falling"],
            MODELS, elapsed_ms=12.0,
        )  # fmt: skip
        self._send(SCORES, symbol, score)
        return score

    def anomaly(self, symbol: str, reason: str = "price 2.4% above the trades around it", bars_ago: int = 0) -> Anomaly:
        """Publish a flagged trade."""
        candle = self.candles[symbol][-1 - bars_ago]
        anomaly = Anomaly(
            symbol, next(self.ids), candle.opened_at + 90 * SECOND, candle.high + 500 * TICKS[symbol][0], 35 * UNIT // 10,
            False, 0.93, [reason, "40 times the usual size"], "quantstream-anomaly/2", candle.closed_at,
        )  # fmt: skip
        self._send(ANOMALIES, symbol, anomaly)
        return anomaly

    def event(self, kind: str, text: str, symbol: str = "") -> None:
        """Publish an operational event."""
        self._send(EVENTS, "ingest", Event("ingest", kind, text, self.candles["BTCUSDT"][-1].closed_at, symbol))

    def dead(self) -> None:
        """Publish a record nobody could parse."""
        self._send(DEAD, "ingest", DeadRecord("ingest ws", "not a trade: price is missing", '{"e":"trade"}', BEGAN_AT))

    def _send(self, topic: object, key: str, value: object) -> None:
        self.writer.send(topic, key, encode(value))  # type: ignore[arg-type]
        self.writer.flush()

    def _snapshot(self, symbol: str, latest_at: int, candles: Sequence[Candle]) -> None:
        state = SymbolState(symbol, latest_at=latest_at)
        self._send(OPEN_CANDLES, symbol, OpenCandles.of(state, candles))

    def _candle(self, symbol: str, at: int, price: float, volatility: float, share: float, is_complete: bool) -> Candle:
        tick = TICKS[symbol][0]
        path = [price]
        for _ in range(12):
            path.append(path[-1] * math.exp(self.rng.gauss(0, volatility / math.sqrt(12))))
        units = [round(value * UNIT / tick) * tick for value in path]
        busy = 1.0 + 4.0 * abs(path[-1] / price - 1.0) / 0.0011
        volume = round(900_000 / price * share * busy * self.rng.uniform(0.5, 1.5) * 100) * UNIT // 100
        quote = volume * ((units[0] + units[-1]) // 2)
        return Candle(
            symbol, "5m", at, units[0], max(units), min(units), units[-1], volume, quote, round(900 * share * busy),
            volume // 2, quote // 2, 1, 1000, is_complete,
        )  # fmt: skip


def _replace(candle: Candle, **changes: object) -> Candle:
    fields = {name: getattr(candle, name) for name in candle.__struct_fields__}
    return Candle(**(fields | changes))
