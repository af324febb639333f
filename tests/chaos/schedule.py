"""What goes wrong and when: drawn from a seed, so that a run that failed can be made again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STAGES = ("ingest", "aggregate", "detect", "sink", "score")
REPLICAS = (2, 3)  # of every stage, beside the first: they come and go
PARTITIONS = (1, 4, 12)
KILL, PAUSE, JOIN, LEAVE, FAULT = "kill", "pause", "joins", "leaves", "fault"
BROKER_KILL, BROKER_RESTART = "broker killed", "broker restarted"
KILL_IN_REBALANCE, RESTART_IN_REBALANCE = "broker killed in a rebalance", "broker restarted in a rebalance"
BROKER = (BROKER_KILL, BROKER_RESTART, KILL_IN_REBALANCE, RESTART_IN_REBALANCE)  # in this order
IN_REBALANCE = (KILL_IN_REBALANCE, RESTART_IN_REBALANCE)
LAKE_AWAY, REGISTRY_AWAY, DELIST = "lake away", "registry away", "delisted"
SHORTEST_PAUSE = 0.3  # seconds between two blows
SESSION = 12.0, 22.0  # seconds that a process is stopped: past its session of 10, within the watchdog's patience of 30
AWAY = 60.0  # seconds that the lake or the registry is away, a third of a short run at most
STAY = 0.12, 0.25  # of the run: how long a replica stays
RETURN = 3.0, 8.0  # seconds after which a replica that was killed, and started again, leaves
TRIES = 1_000

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
class Trouble:
    """How much of everything a run is to have. `visits` are stays of replicas, shared evenly by stages."""

    seconds: float
    kills: int = 0
    pauses: int = 0
    visits: int = 0
    broker: int = 0
    outages: int = 0  # of the lake, and as many of the registry
    delistings: int = 0


@dataclass(frozen=True)
class Blow:
    """One thing that goes wrong, `at` seconds after the start, and for how many `seconds` where it is to pass."""

    at: float
    kind: str
    target: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Visit:
    """A replica's stay."""

    replica: str
    begin: float
    end: float

    @property
    def stage(self) -> str:
        """Of which stage it is one."""
        return stage_of(self.replica)


def stage_of(process: str) -> str:
    """Return the stage of a process, `sink` of `sink-2`."""
    return process.partition("-")[0]


def replica(stage: str, number: int) -> str:
    """Return the name of a stage's replica."""
    return f"{stage}-{number}"


def draw(seed: int, trouble: Trouble, symbols: Sequence[str] = ("BTCUSDT",)) -> list[Blow]:
    """Return the blows of a run in order: each stage is hit about equally often, at instants that nothing aligns."""
    rng = random.Random(seed)
    seconds = trouble.seconds
    victims = [STAGES[number % len(STAGES)] for number in range(trouble.kills)]
    rng.shuffle(victims)
    blows = [Blow(rng.uniform(0, seconds), KILL, victim) for victim in victims]
    visits = _visits(rng, trouble)
    for visit in visits:
        blows += [Blow(visit.begin, JOIN, visit.replica), Blow(visit.end, LEAVE, visit.replica)]
        if rng.random() < 0.5:
            blows.append(Blow(max(visit.begin, visit.end - rng.uniform(*RETURN)), KILL, visit.replica))
    blows += _pauses(rng, trouble, visits)
    blows += _of_broker(rng, trouble, visits)
    blows += [Blow(rng.uniform(0, seconds), FAULT, rng.choice(sorted(BLOWS))) for _ in range(-(-trouble.kills // 4))]
    blows += _outages(rng, trouble, symbols)
    return _spread(sorted(blows, key=lambda blow: blow.at))


def _visits(rng: random.Random, trouble: Trouble) -> list[Visit]:
    """Every replica's stays one after the other; those of different replicas overlap as they fall."""
    names = [replica(stage, number) for number in REPLICAS for stage in STAGES]
    counts = {name: len(range(place, trouble.visits, len(names))) for place, name in enumerate(names)}
    visits = []
    for name, count in counts.items():
        for number in range(count):
            slot = trouble.seconds / count
            stay = rng.uniform(*STAY) * trouble.seconds / count
            begin = slot * number + rng.uniform(0, slot - stay)
            visits.append(Visit(name, begin, begin + stay))
    return visits


def _pauses(rng: random.Random, trouble: Trouble, visits: Sequence[Visit]) -> list[Blow]:
    """Half of them fall where another replica of the stage works, on it or on the first; none on a process that stands still."""
    pauses: list[Blow] = []
    for number in range(trouble.pauses):
        for _ in range(TRIES):
            blow = _pause(rng, trouble, visits, number)
            if not any(_overlap(blow, other) for other in pauses):
                pauses.append(blow)
                break
    return pauses


def _pause(rng: random.Random, trouble: Trouble, visits: Sequence[Visit], number: int) -> Blow:
    lasts = rng.uniform(*SESSION)
    if visits and number % 2:
        visit = rng.choice(visits)
        target = rng.choice((visit.stage, visit.stage, visit.replica))
        return Blow(rng.uniform(visit.begin, visit.end), PAUSE, target, lasts)
    return Blow(rng.uniform(0, trouble.seconds), PAUSE, STAGES[number // 2 % len(STAGES)], lasts)


def _overlap(one: Blow, other: Blow) -> bool:
    return one.target == other.target and one.at < other.at + other.seconds + 1 and other.at < one.at + one.seconds + 1


def _of_broker(rng: random.Random, trouble: Trouble, visits: Sequence[Visit]) -> list[Blow]:
    blows = []
    moving = [visit for visit in visits if visit.stage != "ingest"]  # which has no group
    rng.shuffle(moving)
    for number in range(trouble.broker):
        kind = BROKER[number % len(BROKER)]
        if kind in IN_REBALANCE and moving:
            visit = moving.pop()
            blows.append(Blow(visit.begin, kind, visit.replica))  # it waits for the rebalance that the visit begins
        else:
            at = trouble.seconds * (number + rng.uniform(0.3, 0.7)) / trouble.broker
            blows.append(Blow(at, BROKER[number % 2], "broker"))
    return blows


def _outages(rng: random.Random, trouble: Trouble, symbols: Sequence[str]) -> list[Blow]:
    lasts = min(AWAY, trouble.seconds / 3)
    blows = []
    for kind, count in ((LAKE_AWAY, trouble.outages), (REGISTRY_AWAY, trouble.outages), (DELIST, trouble.delistings)):
        for number in range(count):
            slot = trouble.seconds / count
            at = slot * number + rng.uniform(0, max(0.0, slot - lasts - 1))
            blows.append(Blow(at, kind, rng.choice(list(symbols)) if kind == DELIST else kind.split()[0], lasts))
    return blows


def _spread(blows: list[Blow]) -> list[Blow]:
    spread: list[Blow] = []
    for blow in blows:
        earliest = spread[-1].at + SHORTEST_PAUSE if spread else 0.0
        spread.append(Blow(max(blow.at, earliest), blow.kind, blow.target, blow.seconds))
    return spread
