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
from quantstream.messages.payloads import Anomaly, EventKind, decode
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
    """A busy symbol and a quiet one in one partition, which trades once in `every` times."""

    def __init__(self, every: int = 15) -> None:
        self.every = every
        self.broker = MemoryBroker(1)
        self.rng = random.Random(1)
        self.ids = {"BUSY": 0, "QUIET": 0}

    def trade(self, count: int) -> None:
        for number in range(count):
            symbol = "BUSY" if number % self.every else "QUIET"
            self.ids[symbol] += 1
            price = 100 * UNIT + int(self.rng.gauss(0, UNIT))
            at = T0 + sum(self.ids.values()) * 1000
            id_ = self.ids[symbol]
            value = trade_event(Trade(symbol, id_, id_, id_, price, UNIT, at, self.rng.random() < 0.5))
            self.broker.append(TRADES, symbol, value)

    def trade_seldom(self) -> None:
        """Have a third symbol trade once."""
        self.ids["SELDOM"] = self.ids.get("SELDOM", 0) + 1
        id_ = self.ids["SELDOM"]
        price, at = 100 * UNIT + int(self.rng.gauss(0, UNIT)), T0 + sum(self.ids.values()) * 1000
        value = trade_event(Trade("SELDOM", id_, id_, id_, price, UNIT, at, False))
        self.broker.append(TRADES, "SELDOM", value)

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


def test_a_symbol_with_no_trade_at_all_in_what_was_read_again_is_looked_for_further_back() -> None:
    whole, broken = Market(2), Market(2)
    for market in (whole, broken):
        for _ in range(600):
            market.trade(10)
            market.trade_seldom()
        market.trade(13_000)
        stage, _ = market.detector()
        run(market, stage)
        if market is broken:
            stage, metrics = market.detector()
            assert stage.begun == {PARTS[0]: 19_600 - module.REWIND}
        for _ in range(100):
            market.trade(20)
            market.trade_seldom()
        market.trade(1_000)
        run(market, stage)
    assert broken.told() == whole.told()
    assert [id_ for symbol, id_, _ in whole.told() if symbol == "SELDOM" and id_ > 600]
    assert shallow(metrics) == 0
    (account,) = [account for symbol, account in stage.accounts() if symbol == "SELDOM"]
    assert (account.read, account.passed, account.stored) == (700, 600, 100)


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
    market.trade_seldom()
    run(market, stage)
    assert shallow(metrics) == 2, "and so is one that comes for the first time: the log may hold more of it"
    market.trade_seldom()
    run(market, stage)
    assert shallow(metrics) == 2


def test_what_a_model_past_its_age_limit_flags_is_marked_and_told_once() -> None:
    market, told = Market(), []
    stage, _ = market.detector()
    old = [False]
    stage.is_stale = lambda model: old[0]
    stage.tell = lambda kind, text, symbol: told.append((kind, text))
    for is_old in (False, True, True):
        old[0] = is_old
        market.trade(3_000)
        run(market, stage)
    found = [decode(message.value() or b"", Anomaly) for message in market.broker.logs[ANOMALIES.name, 0]]
    assert {one.stale for one in found} == {False, True}
    assert [one.stale for one in found] == sorted(one.stale for one in found)
    ((kind, text),) = told
    assert kind is EventKind.MODEL_STALE
    assert text.startswith(f"{Deviations.name} {Deviations.version} is past its age limit: it serves on")
