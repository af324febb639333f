"""What detect tells after a restart is what it would have told without one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Partition
from quantstream.messages.payloads import Anomaly, decode
from quantstream.messages.topics import ANOMALIES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.detect import stage as module
from streaming.detect.stage import DetectStage
from tests.unit.streaming.detect.test_detector import Deviations
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

T0 = 1_754_006_400 * SECOND
PARTS: list[Partition] = [(TRADES.name, 0)]


class Market:
    """A busy symbol and a quiet one in one partition, which trades once in fifteen times."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(1)
        self.rng = random.Random(1)
        self.ids = {"BUSY": 0, "QUIET": 0}

    def trade(self, count: int) -> None:
        for number in range(count):
            symbol = "BUSY" if number % 15 else "QUIET"
            self.ids[symbol] += 1
            price = 100 * UNIT + int(self.rng.gauss(0, UNIT))
            at = T0 + sum(self.ids.values()) * 1000
            id_ = self.ids[symbol]
            value = trade_event(Trade(symbol, id_, id_, id_, price, UNIT, at, self.rng.random() < 0.5))
            self.broker.append(TRADES, symbol, value)

    def detector(self) -> tuple[DetectStage, Metrics]:
        """Return a new process that holds the partition."""
        metrics = Metrics("detect")
        reader: Any = MemoryReader(self.broker, "detect")
        writer: Any = MemoryWriter(self.broker)
        stage = DetectStage(reader, writer, Deviations, metrics, Health(), 0.0, lambda: T0)
        stage.start()
        hand_over(PARTS, None, stage)
        return stage, metrics

    def told(self) -> list[tuple[str, int, float]]:
        log = self.broker.logs.get((ANOMALIES.name, 0), [])
        found = [decode(message.value() or b"", Anomaly) for message in log]
        return [(anomaly.symbol, anomaly.trade_id, anomaly.score) for anomaly in found]


def run(market: Market, stage: DetectStage) -> None:
    while market.broker.committed.get(("detect", PARTS[0]), 0) < len(market.broker.logs[PARTS[0]]):
        stage.turn()


def shallow(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("quantstream_detect_shallow_windows_total")


def test_a_restarted_detector_tells_what_one_that_went_on_tells_of_quiet_symbols_too() -> None:
    whole, broken = Market(), Market()
    for market in (whole, broken):
        market.trade(33_000)
        stage, _ = market.detector()
        run(market, stage)
        market.trade(3_000)
        if market is broken:
            stage, metrics = market.detector()
        run(market, stage)
    assert broken.told() == whole.told()
    assert sum(symbol == "QUIET" and id_ > 2_200 for symbol, id_, _ in whole.told())
    assert shallow(metrics) == 0


def test_windows_that_stay_short_are_counted_and_detection_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DEEPEST", module.REWIND)
    market = Market()
    market.trade(33_000)
    run(market, market.detector()[0])
    market.trade(3_000)
    stage, metrics = market.detector()
    run(market, stage)
    assert shallow(metrics) == 1
    assert "windows are not full after a restart" in caplog.text
    assert [account.passed for symbol, account in stage.accounts() if symbol == "QUIET"] == [module.REWIND // 15]
