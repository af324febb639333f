"""Attacks every target with seeded hostile inputs under a memory limit and says which input broke which."""

from __future__ import annotations

import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fuzz.targets import Target, targets

HEADROOM = 1 << 30  # bytes that parsers may take beyond what the process holds when it starts
SHOWN = 5  # failures kept per target
SLOW = 20.0  # seconds that no single input may take, on any machine


@dataclass
class Outcome:
    """What became of one target's inputs."""

    name: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def limit_memory(headroom: int = HEADROOM) -> None:
    """Let this process map only so much more: a parser that wants more gets a MemoryError, which is a failure."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + headroom, resource.getrlimit(resource.RLIMIT_AS)[1]))


def attack(target: Target, inputs: int, seed: int) -> Outcome:
    """Give a target so many hostile inputs."""
    rng, outcome = random.Random(f"{target.name} {seed}"), Outcome(target.name)
    for seed_input in target.seeds:
        target.feed(seed_input)  # honest input is accepted, or the attack proves nothing
    for _ in range(inputs):
        _once(target, target.attack(rng), outcome)
    return outcome


def _once(target: Target, raw: bytes, outcome: Outcome) -> None:
    outcome.inputs += 1
    started = time.perf_counter()
    try:
        target.feed(raw)
        outcome.accepted += 1
    except target.allowed:
        outcome.refused += 1
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.failed[f"{type(error).__name__} at {where.filename.split('/main/')[-1]}:{where.lineno}"] += 1
        if len(outcome.examples) < SHOWN:
            outcome.examples.append(f"{error!r:.200} for {raw[:300]!r} ({len(raw)} bytes)")
    outcome.slowest_s = max(outcome.slowest_s, time.perf_counter() - started)


def attack_all(inputs: int, seed: int, frames: Iterable[bytes] = ()) -> list[Outcome]:
    """Share `inputs` among the targets."""
    found = targets(frames)
    return [attack(target, -(-inputs // len(found)), seed) for target in found]
