"""The worked examples of CONTRIBUTING.md are run: each block as the module, or at the end of the module, that its title names."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ml.data import dataset
from ml.models import base
from quantstream.binance.feed import BinanceFeed
from quantstream.binance.wire import heartbeat_event, parse_trade, trade_event
from quantstream.core import time as times
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.errors import BadRecord, ModelRejected
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.features import definitions, grid
from quantstream.features.grid import DAY
from quantstream.kafka import Partition
from quantstream.messages.topics import TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.stage import Ingest
from tests.unit.docs.tree import ROOT, is_there
from tests.unit.ml import markets
from tests.unit.streaming.fakes import FakeHistory, FakeLog
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
T0 = 1_763_800_200 * SECOND
PLACES = {"S0": 0, "S1": 1, "S2": 1}
PARTS: list[Partition] = [(TRADES.name, 0), (TRADES.name, 1)]


@pytest.fixture
def example() -> Iterator[Any]:
    """What makes a module of a block: a new one, or a copy of one that is there with the block at its end."""
    made: list[str] = []

    def module(path: str, **others: Any) -> ModuleType:
        name = path.removesuffix(".py").replace("/", ".")
        found = ModuleType(name)
        if is_there(name):
            found.__dict__.update(vars(import_module(name)))
        else:
            sys.modules[name] = found  # dataclasses look their module up
            made.append(name)
        found.__dict__.update(others)
        exec(compile(BLOCKS[path], path, "exec"), found.__dict__)
        return found

    yield module
    for name in made:
        del sys.modules[name]


def test_every_block_of_python_is_run_here() -> None:
    assert len(re.findall(r"^```python", PAGE, re.MULTILINE)) == len(BLOCKS)
    here = Path(__file__).read_text(encoding="utf-8")
    assert [path for path in BLOCKS if f'example("{path}"' not in here] == []


def test_a_feature_is_a_function_of_its_own_window(example) -> None:
    new = example("quantstream/features/price.py")
    told = example("quantstream/features/definitions.py", price=new)
    assert set(told.DEFINITIONS) == set(definitions.DEFINITIONS) | {"net_volume_1h"}
    definition = told.DEFINITIONS["net_volume_1h"]
    frame = markets.candles(DAY + 50)
    whole = definition.formula(grid.grid_of(frame))[-1]
    hour, day = frame.iloc[-12:], frame.iloc[-DAY:]
    expected = (2 * hour["taker_buy_volume"] - hour["volume"]).mean() / day["volume"].mean()
    assert whole == pytest.approx(expected, rel=1e-12)
    assert definition.formula(grid.grid_of(frame.iloc[-definition.back - 1 :]))[-1] == whole


def test_an_interval_is_built_by_the_same_builder(example, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, length in example("quantstream/core/time.py").INTERVALS.items():
        monkeypatch.setitem(times.INTERVALS, name, length)
    builder = CandleBuilder("BTCUSDT", ("5m", "2h"))
    opened_at = T0 - T0 % (120 * MINUTE)
    trades = [Trade("BTCUSDT", n, n, n, UNIT, UNIT, opened_at + n * MINUTE, False) for n in range(125)]
    closed = [candle for trade in trades for candle in builder.add(trade) if candle.interval == "2h"]
    assert [(candle.opened_at, candle.trade_count) for candle in closed] == [(opened_at, 120)]


def test_a_model_learns_is_kept_without_pickle_and_is_refused_when_damaged(
    example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = example("ml/models/size.py")
    monkeypatch.setitem(base.MODULES, "size", ("ml.models.size", "SizeModel"))
    data = dataset.build({"BTCUSDT": markets.candles(11_000, 1), "ETHUSDT": markets.candles(11_000, 2)})
    split = dataset.split(data, data.usable(size.NAMES, (size.LABEL,)), size.LABEL)
    model = size.fit(data, split)
    windows, came = data.sequences(split.judge, size.NAMES, 1), data.labels[size.LABEL][split.judge]
    predicted = model.predict(windows)
    naive = np.mean((came - data.labels[size.LABEL][split.fit].mean()) ** 2)
    assert np.mean((came - predicted) ** 2) < naive
    base.save(model, tmp_path / "size")
    assert np.array_equal(base.load(tmp_path / "size").predict(windows), predicted)
    manifest = tmp_path / "size" / base.MANIFEST
    manifest.write_text(manifest.read_text().replace('"weights"', '"weight"'))
    with pytest.raises(ModelRejected):
        base.load(tmp_path / "size")


MATCH = {
    "type": "match",
    "trade_id": 10,
    "product_id": "BTC-USD",
    "price": "400.23",
    "size": "5.23512",
    "side": "sell",
    "time": "2014-11-07T08:19:27.028459Z",
}


def test_another_exchanges_trades_come_into_the_log_and_what_cannot_be_read_is_a_dead_letter(example) -> None:
    wire = example("quantstream/coinbase/wire.py")
    log, feed = FakeLog(), BinanceFeed()
    ingest = Ingest(("BTCUSD",), FakeHistory([]), log, Metrics("ingest"), Health(), lambda: T0)
    take = wire.translated(feed.arrived)
    matches = [MATCH | {"trade_id": number} for number in (10, 11, 11, 12)]
    for raw in (
        *(json.dumps(match).encode() for match in matches),
        b"\xff{",
        json.dumps(MATCH | {"price": "x"}).encode(),
    ):
        take(raw)
    ingest.take(feed.drain(), feed)
    told = [(symbol, parse_trade(raw)) for symbol, raw, kind, _ in log.records if kind == "trade"]
    assert [(symbol, trade.id) for symbol, trade in told] == [("BTCUSD", 10), ("BTCUSD", 11), ("BTCUSD", 12)]
    at = 1_415_348_367_028_459
    assert told[0][1] == Trade("BTCUSD", 10, 10, 10, 40_023_000_000, 523_512_000, at, False)
    assert len(log.dead_letters) == 2
    assert wire.parse_match(json.dumps(MATCH | {"side": "buy"}).encode()).buyer_is_maker
    with pytest.raises(BadRecord):
        wire.parse_match(json.dumps(MATCH | {"time": "2014-11-07T08:19:27.028459"}).encode())


def counting(module: ModuleType, broker: MemoryBroker) -> Any:
    stage = module.CountStage(MemoryReader(broker, "count"), MemoryWriter(broker), Metrics("count"), Health(), 0.0)
    stage.start()
    return stage


def totals(broker: MemoryBroker, topic: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for (name, _), log in broker.logs.items():
        for message in log if name == topic else ():
            value = json.loads(message.value() or b"")
            found[value["symbol"]] += value["trades"]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_stage_counts_each_trade_once_whatever_becomes_of_its_partitions(example, seed: int) -> None:
    module, rng, broker = example("streaming/count/stage.py"), random.Random(seed), MemoryBroker()
    stages = [counting(module, broker), counting(module, broker)]
    holders = dict.fromkeys(PARTS, 0)
    for part in PARTS:
        hand_over([part], None, stages[0])
    expected: Counter[str] = Counter()
    written: list[Trade] = []
    for number in range(60):
        symbol = f"S{number % 3}"
        trade = Trade(symbol, number, number, number, UNIT, UNIT, T0 + number, False)
        written.append(trade)
        for each in (
            trade,
            *rng.sample(written, rng.choice((0, 0, 1))),
        ):  # two ingests write the same, one of them late
            broker.append(TRADES, each.symbol, trade_event(each), PLACES[each.symbol])
        broker.append(TRADES, symbol, rng.choice((b"{}", heartbeat_event(symbol, T0 + number))), PLACES[symbol])
        expected[symbol] += 1
        part, event = rng.choice(PARTS), rng.random()
        if event < 0.2:
            hand_over([part], stages[holders[part]], stages[1 - holders[part]], rng.choice(("revoked", "lost")))
            holders[part] = 1 - holders[part]
        elif event < 0.3:
            stages[holders[part]].writer.fenced = True
        elif event < 0.4:  # a process ends without a word
            dead = holders[part]
            stages[dead] = counting(module, broker)
            hand_over([each for each in PARTS if holders[each] == dead], None, stages[dead])
        for stage in stages:
            stage.turn()
            assert all(account.closes for _, account in stage.accounts())
    for stage in stages:
        stage.turn()
        stage.turn()
    assert totals(broker, module.COUNTS.name) == expected
