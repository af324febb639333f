"""Partitions move between living aggregators, and a sink dies again and again: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.compaction import compact
from quantstream.settings import Kafka
from tests.broker.replicas import HandFed, Replicas, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def replicas(tmp_path: Path, fresh_broker: Kafka) -> Iterator[Replicas]:
    started = Replicas(tmp_path, fresh_broker, QUANTSTREAM_SINK_COMMIT_MS="100")
    yield started
    started.stop()


def test_symbols_move_to_an_aggregator_that_joins_and_back_when_it_leaves(
    replicas: Replicas, fresh_broker: Kafka
) -> None:
    market = HandFed(fresh_broker)

    def told(candles: int) -> bool:
        replicas.heal("first")  # moving partitions do not end it, but on a busy machine its session may
        return market.count() == candles

    replicas.start("aggregate", "first", "0")
    market.feed(310)
    wait_for(lambda: told(6))
    replicas.start("aggregate", "second", "1")
    while replicas.output("second").count("market.trades.v1-") < 2:  # as it says when partitions are assigned
        replicas.heal("first")
        market.feed(3)  # it goes on while partitions move
    market.feed(300 - market.fed % 300 + 10)
    closed = market.fed // 300
    wait_for(lambda: told(6 * closed))
    replicas.signal("second", signal.SIGTERM)
    assert replicas.processes["second"].wait(60) == 0
    market.feed(320)
    wait_for(lambda: told(6 * (closed + 1)))
    market.close()
    wait_for(lambda: told(sum(map(len, market.expected().values()))))
    assert market.candles() == market.expected()
    assert replicas.processes["first"].poll() is None


def test_a_sink_killed_again_and_again_writes_each_row_once_while_the_lake_is_compacted(
    replicas: Replicas, fresh_broker: Kafka, tmp_path: Path
) -> None:
    market, rng = HandFed(fresh_broker, ("BTCUSDT", "ETHUSDT")), random.Random(3)
    lake, compacted, stop = Lake(str(tmp_path / "lake")), Counter[str](), threading.Event()
    lake.table("trades")

    def keep_compacting() -> None:
        while not stop.wait(0.5):
            try:
                compacted.update(compact(lake, "trades"))
            except Unavailable:  # it lost ten races in a row against the sink: the DAG would try again
                compacted["gave way"] += 1

    janitor = threading.Thread(target=keep_compacting)
    janitor.start()
    try:
        for life in range(6):
            replicas.start("sink", f"sink{life}")
            at = rows(lake) + rng.randint(1, 300)  # an instant that nothing aligns with a commit
            market.feed(200)
            wait_for(lambda at=at: (market.feed(2), rows(lake) >= at)[1])  # type: ignore[misc]
            replicas.signal(f"sink{life}", signal.SIGKILL)
        replicas.start("sink", "last")
        wait_for(lambda: rows(lake) >= 2 * market.fed)
    finally:
        stop.set()
        janitor.join()
    found = lake.read("trades", columns=["symbol", "traded_at", "id"]).to_pylist()
    counts = Counter((row["symbol"], row["id"]) for row in found)
    assert counts == Counter({(symbol, number): 1 for symbol in market.symbols for number in range(market.fed)})
    assert compacted["files_removed"] > compacted["files_added"] > 0


def rows(lake: Lake) -> int:
    """Count the rows by the table's log."""
    return sum(count for count, _ in lake.extent("trades").values())
