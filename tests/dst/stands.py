"""Where the contract's scenes are played: over the real broker with processes, and over the model with processes of a world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka.admin import AdminClient, NewTopic

from tests.dst import simulation
from tests.dst.actor import Actor
from tests.dst.broker import Broker
from tests.dst.consumer import Consumer
from tests.dst.producer import Producer
from tests.dst.simulation import SECOND, Process, Simulation


class Hand(Protocol):
    """One actor, told what to do from outside."""

    def do(self, what: str, *arguments: Any) -> Any:
        """Have something done and return what came of it."""

    def stop(self) -> None:
        """Stop it where it is (SIGSTOP)."""

    def go_on(self) -> None:
        """Let it go on."""


class Stand(Protocol):
    """A broker and actors at it."""

    def topic(self, name: str, partitions: int) -> None:
        """Make a topic."""

    def actor(self) -> Hand:
        """Make an actor."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class RealHand:
    """An actor in a process of its own."""

    def __init__(self, bootstrap: str) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.dst.actor", bootstrap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=root,
        )

    def do(self, what: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class RealStand:
    """The embedded broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.hands: list[RealHand] = []

    def topic(self, name: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result(15)

    def actor(self) -> RealHand:
        self.hands.append(RealHand(self.bootstrap))
        return self.hands[-1]

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def end(self) -> None:
        """End every actor."""
        for hand in self.hands:
            hand.process.kill()
            hand.process.wait()


class ModelHand:
    """An actor as a process of a world."""

    def __init__(self, sim: Simulation, broker: Broker, name: str) -> None:
        self.sim, self.broker = sim, broker
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: list[Any] = []
        self.process = sim.spawn(name, self._work, lambda process: None)

    def _work(self, process: Process) -> None:
        actor = Actor("model", lambda c: Consumer(self.broker, c), lambda c: Producer(self.broker, c))
        while True:
            while not self.asked:
                process.wait(3600 * SECOND, can_be_woken=True)
            what, arguments = self.asked.pop(0)
            self.answers.append(actor.do(what, *arguments))

    def do(self, what: str, *arguments: Any) -> Any:
        self.asked.append((what, arguments))
        self.process.wake()
        self.sim.run(self.sim.now + 120 * SECOND, lambda: bool(self.answers), every=1)
        assert not self.process.is_dead, self.process.error
        return self.answers.pop(0)

    def stop(self) -> None:
        self.process.pause(10**12)

    def go_on(self) -> None:
        self.process.resume()


class ModelStand:
    """The model, in a world drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.sim = Simulation(seed)
        self.broker = Broker(self.sim, {}, 200_000)
        simulation.entered(self.sim)
        self.count = 0

    def topic(self, name: str, partitions: int) -> None:
        self.broker.add_topic(name, partitions)

    def actor(self) -> ModelHand:
        self.count += 1
        return ModelHand(self.sim, self.broker, f"actor{self.count}")

    def sleep(self, seconds: float) -> None:
        self.sim.run(self.sim.now + int(seconds * SECOND))

    def end(self) -> None:
        """End every actor."""
        self.sim.end()
        simulation.entered(None)
