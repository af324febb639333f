"""Stages as processes of one broker, told apart by instance; and a market that a test feeds by hand, with its candles known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Writer
from quantstream.messages.payloads import decode, encode
from quantstream.messages.topics import CANDLES, TRADES
from quantstream.settings import Kafka, Settings
from tests.topics import read_topic

T0 = 1_723_161_600 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT")
LATENESS = Settings().lateness_ms * 1000


class Replicas:
    """Stage processes, each with a log of its own, ended by pid."""

    def __init__(self, folder: Path, kafka: Kafka, **settings: str) -> None:
        self.folder, self.processes = folder, {}  # type: ignore[var-annotated]
        self.started: dict[str, tuple[str, str]] = {}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")} | {
            "QUANTSTREAM_STATE": str(folder),
            "QUANTSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "QUANTSTREAM_LOG_FORMAT": "json",
            **settings,
        }

    def start(self, stage: str, name: str, instance: str = "0") -> subprocess.Popen[bytes]:
        """Start a stage as `instance`; `name` is the test's own for it."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "streaming", stage],
                env=self.env | {"QUANTSTREAM_INSTANCE": instance},
                stdout=log,
                stderr=log,
            )
        self.processes[name] = process
        self.started[name] = (stage, instance)
        return process

    def heal(self, name: str) -> None:
        """Start a process that ended by itself again, as the supervisor does: a stage recovers by a restart."""
        if self.processes[name].poll() == 1:
            self.start(self.started[name][0], name, self.started[name][1])

    def output(self, name: str) -> str:
        """Return what a process logged so far."""
        return (self.folder / f"{name}.log").read_text()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self.processes[name].send_signal(number)

    def stop(self) -> None:
        """End all."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.processes.values():
            process.wait(30)


class HandFed:
    """A market of some symbols, a trade every second of each; what was fed so far, and what its candles must be."""

    def __init__(self, kafka: Kafka, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.kafka, self.symbols, self.fed = kafka, symbols, 0
        self.writer = Writer(kafka)
        self.records: list[tuple[str, bytes, Trade | int]] = []

    def feed(self, seconds: int) -> None:
        """Let so many seconds of market time pass."""
        for number in range(self.fed, self.fed + seconds):
            for place, symbol in enumerate(self.symbols):
                price = (100 + (number * (place + 3)) % 17) * UNIT
                trade = Trade(
                    symbol, number, number, number, price, UNIT + number, T0 + number * SECOND, number % 3 == 0
                )
                self._send(symbol, trade_event(trade), trade)
        self.fed += seconds
        self.writer.flush()

    def close(self) -> None:
        """Say that everything until the next window's end is there."""
        end = T0 + self.fed * SECOND + 5 * MINUTE + LATENESS
        for symbol in self.symbols:
            self._send(symbol, heartbeat_event(symbol, end), end)
        self.writer.flush()

    def _send(self, symbol: str, raw: bytes, item: Trade | int) -> None:
        self.writer.send(TRADES, symbol, raw)
        self.writer.poll()
        self.records.append((symbol, raw, item))

    def expected(self) -> dict[str, list[bytes]]:
        """Return the candles of each symbol, in order, as one uninterrupted builder makes them."""
        builders = {symbol: CandleBuilder(symbol, ("5m",), LATENESS) for symbol in self.symbols}
        found: dict[str, list[bytes]] = {symbol: [] for symbol in self.symbols}
        for symbol, _, item in self.records:
            builder = builders[symbol]
            candles = builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
            found[symbol] += [encode(candle) for candle in candles]
        return found

    def candles(self) -> dict[str, list[bytes]]:
        """Return the candles of each symbol that the topic holds, in order."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for message in read_topic(self.kafka, CANDLES):
            found[(message.key() or b"").decode()].append(message.value() or b"")
        return {symbol: found[symbol] for symbol in self.symbols}

    def count(self) -> int:
        """Return how many different candles the topic holds."""
        raw = [one for candles in self.candles().values() for one in candles]
        return len({(candle.symbol, candle.opened_at) for candle in (decode(one, Candle) for one in raw)})


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    """Return when it has come to that."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.1)
