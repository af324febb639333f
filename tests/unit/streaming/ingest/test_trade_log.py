"""The trades topic over a broker: what its end says of each symbol, and how much may wait for it."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from quantstream.binance.wire import LogPosition, heartbeat_event, trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Broken
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap
from quantstream.kafka import Writer
from quantstream.messages.topics import TRADES
from quantstream.settings import Kafka
from streaming.ingest import trade_log
from streaming.ingest.trade_log import KafkaTradeLog, tails, trade_writer
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader

T0 = 1_723_161_600 * SECOND


def trade(symbol: str, number: int) -> Trade:
    return Trade(symbol, number, number, number, UNIT, UNIT, T0 + number * SECOND, False)


@pytest.mark.broker
def test_the_end_of_the_topic_says_where_each_symbol_stands(broker: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_log, "TAIL_CHUNK", 50)
    writer = trade_writer(broker)
    log = KafkaTradeLog(writer, lambda: 0)
    names = [f"TAIL{letter}USDT" for letter in "ABCDEFGH"]
    position = LogPosition(7, T0 + 7 * SECOND, 8, [Gap(3, 4, T0 + 2 * SECOND, T0 + 5 * SECOND)])
    for name in names:  # far back for those whose partition the busy one shares
        log.send(name, trade_event(trade(name, 6)), "trade", 1, "live")
        log.send(name, heartbeat_event(name, T0 + 9 * SECOND, position), "heartbeat", 1, "live")
    for number in range(400):
        log.send("TAILBUSYUSDT", trade_event(trade("TAILBUSYUSDT", number + 1)), "trade", 1, "live")
    log.send("TAILBUSYUSDT", b"{broken", "trade", 1, "live")
    writer.flush()
    found = tails(broker, [*names, "TAILBUSYUSDT", "TAILNEWUSDT"])
    assert {name: list(found[name]) for name in names} == {name: [trade(name, 6), position] for name in names}
    busy = [item.id for item in found["TAILBUSYUSDT"] if isinstance(item, Trade)]
    assert busy == list(range(busy[0], 401))
    assert 40 <= len(busy) <= 50
    assert "TAILNEWUSDT" not in found


@pytest.mark.parametrize("partitions", [1, TRADES.partitions - 1, TRADES.partitions, 2 * TRADES.partitions])
def test_the_look_back_goes_on_until_every_symbol_is_found_however_many_partitions_there_are(
    monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    memory = MemoryBroker(partitions)
    monkeypatch.setattr(trade_log, "Reader", lambda kafka: MemoryReader(memory))
    monkeypatch.setattr(trade_log, "TAIL_CHUNK", 2)
    names = [f"LOOK{number:03}USDT" for number in range(40)]
    for name in names:
        memory.append(TRADES, name, trade_event(trade(name, 6)))
    found = tails(Kafka(), [*names, "LOOKNEWUSDT"])
    assert {name: list(items) for name, items in found.items()} == {name: [trade(name, 6)] for name in names}


def test_the_look_back_ends_at_its_bound_though_a_symbol_was_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryBroker(1)
    monkeypatch.setattr(trade_log, "Reader", lambda kafka: MemoryReader(memory))
    monkeypatch.setattr(trade_log, "TAIL_CHUNK", 2)
    monkeypatch.setattr(trade_log, "MAX_LOOK_BACK", 10)  # two records, then eight
    for number in range(1, 21):
        memory.append(TRADES, f"S{number:02}USDT", trade_event(trade(f"S{number:02}USDT", 1)))
    assert sorted(tails(Kafka(), [f"S{number:02}USDT" for number in range(1, 21)])) == [
        f"S{number:02}USDT" for number in range(11, 21)
    ]


@pytest.mark.broker
def test_the_tail_is_sought_in_as_many_partitions_as_the_broker_has(
    fresh_broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trade_log, "TAIL_CHUNK", 3)
    admin = AdminClient({"bootstrap.servers": fresh_broker.bootstrap})
    for made in admin.create_partitions([NewPartitions(TRADES.name, 12)]).values():
        made.result(30)
    names = [f"TWELVE{number:03}USDT" for number in range(200)]
    writer = trade_writer(fresh_broker)
    log = KafkaTradeLog(writer, lambda: 0)
    for name in names:
        log.send(name, trade_event(trade(name, 6)), "trade", 1, "live")
    writer.flush()
    sought = tails(fresh_broker, names)
    assert {name: list(items) for name, items in sought.items()} == {name: [trade(name, 6)] for name in names}


async def test_only_so_many_records_wait_for_a_broker_and_not_for_ever() -> None:
    told: list[int] = []
    writer = trade_writer(Kafka(bootstrap="127.0.0.1:9"))
    log = KafkaTradeLog(writer, lambda: 0, told.append, most=10, patience=0.2)
    for number in range(9):
        log.send("XUSDT", b"{}", "trade", number, "live")
    assert log.has_room
    await log.room()
    log.send("XUSDT", b"{}", "trade", 9, "live")
    assert not log.has_room
    async with asyncio.timeout(30):
        with pytest.raises(Broken, match=r"took no trade for 0\.2 s"):
            await log.room()
    assert told[-1] == 10
    writer.producer.purge()


async def test_a_refused_record_ends_the_process() -> None:
    writer = Writer(Kafka(bootstrap="127.0.0.1:9"), message_timeout_ms=50)
    log = KafkaTradeLog(writer, lambda: 0)
    log.send("XUSDT", b"{}", "trade", 1, "live")
    async with asyncio.timeout(30):
        with pytest.raises(Broken, match="cannot be written"):
            while True:
                assert log.has_room
                await asyncio.sleep(0.02)


@pytest.mark.broker
def test_what_is_written_is_what_the_exchange_sent(broker: Kafka) -> None:
    from quantstream.kafka import Reader, record

    reader = Reader(broker)
    ends = {(TRADES.name, part): reader.ends(TRADES.name, part)[1] for part in range(TRADES.partitions)}
    writer = trade_writer(broker)
    raw = trade_event(trade("SENTUSDT", 1))
    KafkaTradeLog(writer, lambda: 0).send("SENTUSDT", raw, "trade", 1_700_000_000_000_000, "repaired")
    writer.flush()
    reader.assign(ends)
    found = []
    while not found:
        found = [record(message) for message in reader.poll(1.0)]
    reader.close()
    headers = {"kind": "trade", "received_at": "1700000000000000", "origin": "repaired"}
    assert (found[0].key, found[0].value, dict(found[0].headers)) == ("SENTUSDT", raw, headers)
