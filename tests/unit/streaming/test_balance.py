"""The balance of every stage closes whatever comes, and does not when a stage drops, doubles or forgets a record."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import trade_event
from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.decode import window_sums
from quantstream.features import Series
from quantstream.kafka import Partition, PartitionedStage
from quantstream.lake.store import Lake
from quantstream.messages.payloads import OpenCandles, Score, decode, encode
from quantstream.messages.topics import CANDLES, OPEN_CANDLES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AggregateStage
from streaming.detect import detector as detect
from streaming.detect.stage import DetectStage
from streaming.score.histories import CandleHistories
from streaming.score.stage import ScoreStage
from streaming.sink import stage as sink
from streaming.sink.stage import SinkStage
from streaming.sink.symbol_state import sink_accounts
from tests.broker.test_scores import empty_lake
from tests.unit.quantstream.decode.test_runs import market
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

T0 = 1_754_006_400 * SECOND
Make = Callable[[MemoryBroker, str], PartitionedStage]
PARTS: list[Partition] = [(TRADES.name, 0), (TRADES.name, 1)]


class Rule:
    """An anomaly model that flags what is large."""

    name, version, threshold = "rule", "1", 0.5

    def score_trades(self, rows: Any) -> Any:
        return (rows[:, 0] > 1).astype(float)

    def explain(self, row: Any) -> list[str]:
        return ["large"]


def make_sink(broker: MemoryBroker, folder: str) -> PartitionedStage:
    reader: Any = MemoryReader(broker, "sink")
    writer: Any = MemoryWriter(broker)
    return SinkStage(Lake(folder), reader, writer, Metrics("sink"), Health(), 0.0, lambda: T0)


def make_aggregate(broker: MemoryBroker, folder: str) -> PartitionedStage:
    reader: Any = MemoryReader(broker, "aggregate")
    snapshots: Any = MemoryReader(broker)
    writer: Any = MemoryWriter(broker)
    return AggregateStage(
        Aggregator(("1m", "5m"), SECOND), reader, snapshots, writer, Metrics("aggregate"), Health(), 0.0, lambda: T0
    )


def make_detect(broker: MemoryBroker, folder: str) -> PartitionedStage:
    reader: Any = MemoryReader(broker, "detect")
    writer: Any = MemoryWriter(broker)
    return DetectStage(reader, writer, Rule, Metrics("detect"), Health(), 0.0, lambda: T0)


STAGES: dict[str, Make] = {"sink": make_sink, "aggregate": make_aggregate, "detect": make_detect}


def off(stage: PartitionedStage) -> list[str]:
    """The accounts that do not close, in words."""
    return [f"{symbol}: {account}" for symbol, account in stage.accounts() if not account.closes]


def started(make: Make, broker: MemoryBroker, folder: str, parts: list[Partition] = PARTS) -> PartitionedStage:
    stage = make(broker, folder)
    stage.start()
    hand_over(parts, None, stage)
    return stage


def put(broker: MemoryBroker, *trades: Trade) -> None:
    for trade in trades:
        broker.append(TRADES, trade.symbol, trade_event(trade), 0)


def walk(symbol: str, *ids: int) -> list[Trade]:
    return [Trade(symbol, n, n, n, UNIT, UNIT, T0 + n * SECOND, False) for n in ids]


def live_through(make: Make, folder: str, rng: random.Random) -> tuple[MemoryBroker, list[PartitionedStage]]:
    """Two members read a market of all oddities while partitions move, are lost, commits are fenced and processes end."""
    log, broker = market(rng), MemoryBroker()
    junk: list[tuple[str | None, bytes]] = [(None, b"{}"), ("no symbol!", b"\xff"), ("币安人生USDT", b""), ("A", b"[]")]
    members = [started(make, broker, folder), make(broker, folder)]
    members[1].start()
    owner = dict.fromkeys(PARTS, 0)
    while log:
        many = rng.randint(1, 60)
        for partition, symbol, raw in log[:many]:
            broker.append(TRADES, symbol, raw, partition)
            if rng.random() < 0.03:
                key, value = rng.choice(junk)
                broker.append(TRADES, key, value, rng.randint(0, 1))
        log, chance, part = log[many:], rng.random(), rng.choice(PARTS)
        old = owner[part]
        if chance < 0.3:
            owner[part] = 1 - old
            hand_over([part], members[old], members[1 - old], rng.choice(["revoked", "lost"]))
        elif chance < 0.4:  # killed, and another begins
            members[old] = make(broker, folder)
            members[old].start()
            hand_over([each for each in PARTS if owner[each] == old], None, members[old])
        elif chance < 0.5:
            writer: Any = members[old].writer  # type: ignore[attr-defined]
            writer.fenced = True
        for member in members:
            member.turn()
            assert not off(member)
    for member in members:
        member.turn()
        member.turn()
        assert not off(member)
    return broker, members


@pytest.mark.parametrize("name", STAGES)
@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_balance_closes_through_hand_overs_losses_restarts_and_whatever_is_read(name: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker, members = live_through(STAGES[name], folder, random.Random(seed))
        if name == "sink":
            _agrees_with_the_table(broker, Lake(folder))
        for member in members:
            member.balance.show(member.accounts())
            assert member.metrics.unbalanced_symbols._value.get() == 0


def _agrees_with_the_table(broker: MemoryBroker, lake: Lake) -> None:
    """What the lake keeps says how many records of each symbol were read up to there, and how many rows they came to."""
    accounts, rows = sink_accounts(lake)
    read: Counter[str] = Counter()
    for topic, number in PARTS:
        reached = lake.progress("trades", f"sink/{topic}/{number}")
        read.update(
            (message.key() or b"(none)").decode() for message in broker.logs.get((topic, number), [])[: reached or 0]
        )
    assert {symbol: account.read for symbol, account in accounts.items()} == {s: read[s] for s in accounts}
    assert {symbol: account.stored for symbol, account in accounts.items() if account.stored} == rows
    assert all(account.closes for account in accounts.values())


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_an_aggregators_snapshots_say_how_many_records_they_hold(seed: int) -> None:
    broker, _ = live_through(make_aggregate, "", random.Random(seed))
    newest: dict[str, OpenCandles] = {}
    for number in (0, 1):
        for message in broker.logs.get((OPEN_CANDLES.name, number), []):
            snapshot = decode(message.value() or b"", OpenCandles)
            newest[snapshot.state.symbol] = snapshot
    for symbol, snapshot in newest.items():
        account, ids = snapshot.state.account, snapshot.state.ids
        assert account.closes
        assert account.duplicate == ids.duplicates
        of_it = [m for part in PARTS for m in broker.logs.get(part, []) if (m.key() or b"").decode() == symbol]
        assert account.read <= len(of_it)


def test_states_of_before_there_were_accounts_begin_with_what_is_there(tmp_path: Any, monkeypatch: Any) -> None:
    broker = MemoryBroker()
    put(broker, *walk("BTCUSDT", 5, 6, 7, 7, 9))
    with monkeypatch.context() as patch:
        patch.setattr(sink.Kept, "of", classmethod(lambda cls, ids, account: ids))
        started(make_sink, broker, str(tmp_path))
    put(broker, *walk("BTCUSDT", 9, 10))
    stage = started(make_sink, broker, str(tmp_path))
    assert [str(account) for _, account in stage.accounts()] == [
        "7 read = 5 stored, 2 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting"
    ]


def test_a_snapshot_of_before_there_were_accounts_begins_with_what_is_there() -> None:
    broker = MemoryBroker()
    before = Aggregator(("5m",), SECOND)
    raws = [trade_event(walk("BTCUSDT", number)[0]) for number in (5, 6, 6)]
    before.take(before.parser.parse(raws, [b"BTCUSDT"] * 3, [0] * 3))
    ((_, snapshot),) = before.snapshots()
    snapshot.state.account = Account()
    broker.append(OPEN_CANDLES, "BTCUSDT", encode(snapshot), 0)
    put(broker, *walk("BTCUSDT", 6, 7))
    stage = started(make_aggregate, broker, "")
    assert [str(account) for _, account in stage.accounts()] == [
        "3 read = 1 stored, 2 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting"
    ]


def test_keys_that_are_no_symbols_are_dead_under_their_key_and_do_not_fill_the_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr("quantstream.core.accounts.MOST_STRANGERS", 2)
    broker = MemoryBroker()
    for key in ("a b", "A", "!", "B", None):
        broker.append(TRADES, key, b"junk", 0)
    stage = started(make_aggregate, broker, "")
    assert {symbol: account.dead for symbol, account in stage.accounts()} == {"A": 1, "B": 1, "(none)": 3}
    assert not off(stage)


def lost_flag(original: Callable[..., Any]) -> Callable[..., Any]:
    """A mistake: one trade is taken for seen, and nobody counts it."""

    def judge(self: Any, columns: Any, refused: Any) -> Any:
        flags = original(self, columns, refused)
        flags[flags.nonzero()[0][:1]] = False
        return flags

    return judge


def lost_row(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: original(*given).slice(1)


def lost_count(original: Callable[..., Any]) -> Callable[..., Any]:
    place = window_sums.RECORDS
    return lambda self, code, of: original(self, code, [*of[:place], of[place] - 1, *of[place + 1 :]])


PLANTED: list[tuple[str, Any, str, Callable[..., Any]]] = [
    ("sink", sink.TradeIdIndex, "find_new", lost_flag),
    ("sink", sink, "trade_rows", lost_row),
    ("aggregate", window_sums.PartialSums, "tell", lost_count),
    (
        "aggregate",
        window_sums,
        "add_up",
        lambda original: SimpleNamespace(over=lambda *_: lambda row, count, grid: count),
    ),
    ("detect", detect.TradeIdIndex, "find_new", lost_flag),
]


@pytest.mark.parametrize(("name", "place", "attribute", "mistake"), PLANTED, ids=[f"{n}-{a}" for n, _, a, _ in PLANTED])
def test_a_planted_mistake_does_not_balance(
    name: str, place: Any, attribute: str, mistake: Any, tmp_path: Any, monkeypatch: Any, caplog: Any
) -> None:
    broker = MemoryBroker()
    put(broker, *walk("BTCUSDT", *range(5, 50)), *walk("ETHUSDT", *range(5, 50)))
    monkeypatch.setattr(place, attribute, mistake(getattr(place, attribute)))
    stage = STAGES[name](broker, str(tmp_path))
    told: list[str] = []
    stage.balance.tell = lambda text, symbol: told.append(symbol)
    stage.start()
    hand_over(PARTS, None, stage)
    assert off(stage)
    stage.balance.show(stage.accounts())
    stage.balance.show(stage.accounts())
    assert told == sorted(set(told)) != []  # once of each
    assert stage.metrics.unbalanced_symbols._value.get() >= 1
    assert "the balance does not close" in caplog.text


def test_rows_that_another_sink_wrote_again_show_when_a_partition_is_taken(tmp_path: Any) -> None:
    broker, lake = MemoryBroker(), Lake(str(tmp_path))
    put(broker, *walk("BTCUSDT", *range(5, 50)))
    started(make_sink, broker, str(tmp_path))
    assert not off(started(make_sink, broker, str(tmp_path)))
    lake.append("trades", lake.read("trades").slice(0, 3))
    assert off(started(make_sink, broker, str(tmp_path))) == [
        "BTCUSDT: 45 read, but 48 stored, 0 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting"
    ]


def candle(symbol: str, number: int, interval: str = "5m", revision: int = 0) -> Candle:
    at = T0 + number * 5 * MINUTE
    prices = (UNIT, UNIT, UNIT, UNIT)
    return Candle(symbol, interval, at, *prices, UNIT, UNIT * UNIT, 1, 0, 0, number, number, True, revision=revision)


def score_stage(broker: MemoryBroker, unscored: str = "") -> ScoreStage:
    def judge(histories: Mapping[str, Series]) -> list[Score]:
        return [
            Score(symbol, "5m", T0, 0, 1.0, T0, "hash") for symbol, series in histories.items() if symbol != unscored
        ]

    reader: Any = MemoryReader(broker, "score")
    writer: Any = MemoryWriter(broker)
    histories = CandleHistories("5m", 4, empty_lake)
    stage = ScoreStage(reader, writer, histories, judge, lambda *_: False, Metrics("score"), Health(), 0.0, lambda: T0)
    stage.start()
    hand_over([(CANDLES.name, 0)], None, stage)
    return stage


def put_candles(broker: MemoryBroker, *candles: Candle) -> None:
    for each in candles:
        broker.append(CANDLES, each.symbol, encode(each), 0)


def test_the_scorers_balance_closes_over_revisions_other_intervals_and_junk() -> None:
    broker = MemoryBroker()
    put_candles(broker, *(candle(symbol, n) for n in range(3) for symbol in ("A", "B")), candle("A", 1, revision=1))
    put_candles(broker, candle("A", 3, "1m"))
    broker.append(CANDLES, "A", b"junk", 0)
    stage = score_stage(broker)
    assert {symbol: str(account) for symbol, account in stage.accounts()} == {
        "A": "6 read = 3 stored, 0 duplicate, 1 dead, 0 refused, 2 passed, 0 waiting",
        "B": "3 read = 3 stored, 0 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting",
    }
    again = score_stage(broker)  # what only refills the histories passes
    put_candles(broker, candle("B", 3))
    again.turn()
    assert {symbol: (account.passed, account.stored) for symbol, account in again.accounts()} == {
        "A": (5, 0),
        "B": (3, 1),
    }
    assert not off(again)


def test_a_candle_that_is_committed_without_a_score_does_not_balance() -> None:
    broker = MemoryBroker()
    put_candles(broker, candle("A", 0), candle("B", 0))
    assert off(score_stage(broker, unscored="A")) == [
        "A: 1 read, but 0 stored, 0 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting"
    ]


def test_a_symbol_in_two_partitions_has_an_account_in_each_and_the_table_is_shared_out(tmp_path: Any) -> None:
    broker, lake = MemoryBroker(), Lake(str(tmp_path))
    for trade in walk("BTCUSDT", *range(5, 50)):
        broker.append(TRADES, trade.symbol, trade_event(trade), trade.id % 2)
    first = started(make_sink, broker, str(tmp_path))
    assert not off(first)
    again = started(make_sink, broker, str(tmp_path))
    assert [account.stored for _, account in again.accounts()] == [22, 23]
    assert not off(again)
    accounts, rows = sink_accounts(lake)
    assert (accounts["BTCUSDT"].stored, rows) == (45, {"BTCUSDT": 45})


def test_a_lake_that_holds_less_than_it_did_is_told_of_and_filled_up_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, broker = tmp_path / "lake", MemoryBroker()
    stage = started(make_sink, broker, str(folder))
    put(broker, *walk("A1", 1, 2, 3))
    stage.turn()
    shutil.rmtree(folder)  # somebody took it away
    put(broker, *walk("A1", 4))
    for _ in range(3):
        stage.turn()
    assert Lake(str(folder)).read("trades")["id"].to_pylist() == [1, 2, 3, 4]
    assert "the lake holds less than it did" in caplog.text
    assert stage.gone._value.get() == 3
