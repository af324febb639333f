"""A process that was thought dead and comes back writes nothing more: its successor's work is all there is."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.errors import Unavailable
from quantstream.kafka import Writer
from quantstream.messages.payloads import Anomaly, Score, decode, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, SCORES, TRADES
from quantstream.settings import Kafka
from tests.broker import test_scores as scoring
from tests.broker.replicas import HandFed, Replicas, wait_for
from tests.topics import read_topic

pytestmark = pytest.mark.broker


@pytest.fixture
def replicas(tmp_path: Path, fresh_broker: Kafka) -> Iterator[Replicas]:
    started = Replicas(tmp_path, fresh_broker)
    yield started
    started.stop()


@pytest.mark.slow
@pytest.mark.parametrize("instance", ["0", "1"])
def test_an_aggregator_that_stood_still_while_another_took_over_writes_no_second_candle(
    replicas: Replicas, fresh_broker: Kafka, instance: str
) -> None:
    """Instance 0 is its successor under the same transactional id, 1 a peer that gets its partitions when its session ends.

    A zombie that slept for longer than its session joins again by its name, which puts its successor out, and is itself put out
    by its transactional id: both end, and what is started next goes on.
    """
    market = HandFed(fresh_broker)
    zombie = replicas.start("aggregate", "zombie")
    market.feed(400)
    wait_for(lambda: market.count() == 6)
    market.feed(150)  # some of it may be in the zombie's hands, uncommitted
    replicas.signal("zombie", signal.SIGSTOP)
    market.feed(100)
    successors = [replicas.start("aggregate", "successor 0", instance)]

    def reaches(candles: int) -> bool:
        """Tell whether so many are there; a successor that was put out is started again, as every supervisor does."""
        if successors[-1].poll() is not None:
            name = f"successor {len(successors) - 1}"
            told = json.loads(replicas.output(name).strip().splitlines()[-1])
            assert (told["level"], told["message"]) == ("error", "stage ends"), told
            assert "fenced by other consumer with same group.instance.id" in told["reason"], told
            successors.append(replicas.start("aggregate", f"successor {len(successors)}", instance))
        return market.count() == candles

    wait_for(lambda: reaches(12))
    replicas.signal("zombie", signal.SIGCONT)
    market.feed(300)
    wait_for(lambda: reaches(18))
    market.close()
    wait_for(lambda: market.count() == len(market.symbols) * 4)
    if instance == "0":
        wait_for(lambda: zombie.poll() is not None)
        last = json.loads(replicas.output("zombie").strip().splitlines()[-1])
        assert (zombie.returncode, last["level"], last["message"]) == (1, "error", "stage ends")
    assert market.candles() == market.expected()


def test_a_scorer_that_comes_back_after_its_successor_scores_nothing_twice(fresh_broker: Kafka) -> None:
    writer = Writer(fresh_broker)
    zombie = scoring.score_stage(fresh_broker)
    for number in range(6):
        writer.send(CANDLES, "A1", encode(scoring.candle(number, "A1")))
    writer.flush()
    held: list[object] = []
    while len(held) < 6:
        held += zombie.reader.poll(0.5)  # read, and then it stood still
    successor = scoring.score_stage(fresh_broker)
    while successor.scored._value.get() < 6:
        successor.turn()
    with pytest.raises(Unavailable):
        zombie.take(held)  # type: ignore[arg-type]
        zombie.commit()
    found = [decode(message.value() or b"", Score) for message in read_topic(fresh_broker, SCORES)]
    assert sorted(score.opened_at for score in found) == [scoring.candle(number, "A1").opened_at for number in range(6)]
    successor.reader.close()


def test_a_detector_that_comes_back_after_its_successor_tells_nothing_twice(fresh_broker: Kafka) -> None:
    writer = Writer(fresh_broker)
    zombie = scoring.detect_stage(fresh_broker)
    items = scoring.trades(1, 500)
    for item in items:
        writer.send(TRADES, item.symbol, trade_event(item))
    writer.flush()
    zombie.reader.poll = paused(zombie.reader.poll, len(items))  # type: ignore[method-assign]
    successor: list[Any] = []

    def take_over() -> None:
        stage = scoring.detect_stage(fresh_broker)
        while stage.handled._value.get() < len(items):
            stage.turn()
        successor.append(stage)

    begin = zombie.writer.begin
    zombie.writer.begin = lambda: (take_over(), begin())[1]  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        for _ in range(50):
            zombie.turn()
    told = Counter(decode(message.value() or b"", Anomaly).trade_id for message in read_topic(fresh_broker, ANOMALIES))
    assert told == Counter({450: 1})
    successor[0].reader.close()


def paused(poll: Any, count: int) -> Any:
    """Hand the first records over at once, when all of them are there."""
    given: list[object] = []

    def act(timeout: float, *_: object) -> list[object]:
        if given:
            return poll(timeout)  # type: ignore[operator,no-any-return]
        while len(given) < count:
            given.extend(poll(timeout))  # type: ignore[operator]
        return list(given)

    return act
