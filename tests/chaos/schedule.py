"""What goes wrong and when: drawn from a seed, so that a run that failed can be made again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

STAGES = ("ingest", "aggregate", "detect", "sink", "score")
KILL, BROKER_KILL, BROKER_RESTART, FAULT = "kill", "broker killed", "broker restarted", "fault"
SHORTEST_PAUSE = 0.3  # seconds between two blows

# Of each trade event on the stream, and of each REST request: how likely the exchange spoils it, and for how many seconds.
PROBABILITIES: Mapping[str, tuple[float, float]] = {
    "skip": (0.003, 0),
    "duplicate": (0.02, 0),
    "reorder": (0.01, 0),
    "malformed": (0.002, 0),
    "drop": (0.0005, 0),
    "stall": (0.0003, 1.5),
    "rest_429": (0.08, 1.0),
    "rest_500": (0.05, 0),
    "rest_timeout": (0.02, 1.5),
}
# And at moments of the schedule's own choosing, to every connection at once.
BLOWS: Mapping[str, float] = {"drop": 0.0, "stall": 3.0, "shutdown": 0.5}


@dataclass(frozen=True)
class Blow:
    """One thing that goes wrong, `at` seconds after the start."""

    at: float
    kind: str
    target: str


def draw(seed: int, seconds: float, kills: int, broker_restarts: int) -> list[Blow]:
    """Return the blows of a run in order: each stage is killed about equally often, at instants that nothing aligns."""
    rng = random.Random(seed)
    victims = [STAGES[number % len(STAGES)] for number in range(kills)]
    rng.shuffle(victims)
    blows = [Blow(rng.uniform(0, seconds), KILL, victim) for victim in victims]
    for number in range(broker_restarts):
        at = seconds * (number + rng.uniform(0.3, 0.7)) / broker_restarts
        blows.append(Blow(at, BROKER_KILL if number % 2 == 0 else BROKER_RESTART, "broker"))
    for _ in range(max(1, kills // 4)):
        blows.append(Blow(rng.uniform(0, seconds), FAULT, rng.choice(sorted(BLOWS))))
    return _spread(sorted(blows, key=lambda blow: blow.at))


def _spread(blows: list[Blow]) -> list[Blow]:
    spread: list[Blow] = []
    for blow in blows:
        earliest = spread[-1].at + SHORTEST_PAUSE if spread else 0.0
        spread.append(Blow(max(blow.at, earliest), blow.kind, blow.target))
    return spread
