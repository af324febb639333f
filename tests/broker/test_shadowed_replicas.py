"""Scorers with a challenger in their shadow: one is paused past its session, one is killed, and no score comes twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_port
from quantstream.kafka import Writer, ensure_topics
from quantstream.messages.payloads import Score, decode, encode
from quantstream.messages.topics import CANDLES, SCORES, SHADOW_SCORES, Topic
from quantstream.settings import Kafka
from tests.broker.replicas import wait_for
from tests.broker.test_scores import T0, candle
from tests.topics import read_topic

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SYMBOLS = [f"S{number:02}USDT" for number in range(36)]  # some in each of twelve partitions
Key = tuple[str, int, str]


@pytest.fixture
def twelve(tmp_path: Path) -> Iterator[Kafka]:
    """A broker whose topics have twelve partitions."""
    port = free_port()
    kafka = Kafka(bootstrap=f"127.0.0.1:{port}", partitions=12)
    with local_broker.running(tmp_path / "broker", port):
        ensure_topics(kafka)
        yield kafka


class Scorers:
    """Two processes of one group, ended by pid; and candles that close."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self.kafka, self.folder, self.closed = kafka, folder, 0
        self.writer = Writer(kafka)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, instance: str) -> None:
        command = [sys.executable, "-m", "tests.broker.shadowed_scorer", self.kafka.bootstrap, instance]
        with (self.folder / f"score{instance}.log").open("ab") as log:
            self.running[instance] = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, instance: str, number: signal.Signals) -> None:
        self.running[instance].send_signal(number)

    def close(self, candles: int) -> None:
        """Let candles of all symbols close, and wait until the champions have scored them."""
        for number in range(self.closed, self.closed + candles):
            for symbol in SYMBOLS:
                self.writer.send(CANDLES, symbol, encode(candle(number, symbol)))
            self.writer.flush()
        self.closed += candles
        wait_for(lambda: len(self.scores(SCORES)) >= self.closed * len(SYMBOLS))

    def go_on_until(self, what: Callable[[Counter[Key]], bool]) -> None:
        """Let candles close until the challenger's scores have come to that: what waits is lost where partitions move."""
        for _ in range(40):
            if what(self.scores(SHADOW_SCORES)):
                return
            self.close(1)
        raise AssertionError(f"the challenger has scored {len(self.scores(SHADOW_SCORES))} times, and not that")

    def scores(self, topic: Topic) -> Counter[Key]:
        """Count the scores of each candle, by the version of the challenger."""
        for instance, process in list(self.running.items()):
            if process.poll() == 1:  # the supervisor would start it again
                self.start(instance)
        found = [decode(message.value() or b"", Score) for message in read_topic(self.kafka, topic)]
        return Counter((one.symbol, (one.opened_at - T0) // 300_000_000, str(one.models)) for one in found)

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(30)


@pytest.fixture
def scorers(twelve: Kafka, tmp_path: Path) -> Iterator[Scorers]:
    made = Scorers(twelve, tmp_path)
    yield made
    made.stop()


def test_each_candle_has_one_champion_score_and_no_second_shadow_score(scorers: Scorers) -> None:
    scorers.start("0")
    scorers.start("1")
    scorers.close(2)
    scorers.go_on_until(lambda found: len(found) >= 2 * len(SYMBOLS))
    scorers.signal(
        "1", signal.SIGSTOP
    )  # with whatever it has in its hands; the other has to wait for its session to end
    scorers.close(3)
    scorers.signal("1", signal.SIGCONT)
    scorers.close(1)
    scorers.signal("0", signal.SIGKILL)
    scorers.close(2)
    scorers.start("0")
    killed_at = scorers.closed
    scorers.close(2)
    scorers.go_on_until(lambda found: any(number >= killed_at for _, number, _ in found))
    champions, shadows = scorers.scores(SCORES), scorers.scores(SHADOW_SCORES)
    every = {(symbol, number) for symbol in SYMBOLS for number in range(scorers.closed)}
    assert {key[:2] for key in champions} == every
    assert set(champions.values()) == {1}
    assert set(shadows.values()) == {1}
    assert {key[:2] for key in shadows} <= every
