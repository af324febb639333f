"""Some worlds in `make check`; each seed plays the same to the byte; nothing on the path has a clock or chance of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dst.known import FOUND_BY

ROOT = Path(__file__).parents[2]
LIST = """
from tests.dst import clock
clock.install()
import json, tests.dst.world
from tests.dst import purity
path = purity.on_the_path()
print(json.dumps([path, [found for module in path for found in purity.impurities(module)]]))
"""


def run(*arguments: str, hash_seed: str = "0") -> tuple[int, str]:
    """Run Python in a process of its own, for virtual time must be there before the stages; return its code and output."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def simulate(*arguments: str, hash_seed: str = "0") -> tuple[int, str]:
    """Run `python -m tests.dst`."""
    return run("-m", "tests.dst", *arguments, hash_seed=hash_seed)


def test_some_worlds_come_out_right() -> None:
    code, output = simulate("--seeds", "200")
    assert code == 0, output


@pytest.mark.parametrize("seed", ["3", "18"])
def test_a_seed_plays_the_same_again_to_the_byte(seed: str) -> None:
    first = simulate("--seed", seed, "--trace")
    assert simulate("--seed", seed, "--trace", hash_seed="4711") == first
    assert " consume " in first[1]
    assert f"seed {seed}: " in first[1]


def test_nothing_on_the_path_has_a_clock_or_chance_of_its_own() -> None:
    code, output = run("-c", LIST)
    assert code == 0, output
    modules, impure = json.loads(output)
    assert {
        "quantstream.kafka.reader",
        "streaming.sink.stage",
        "streaming.ingest.feed_lines",
        "ml.data.trade_features",
    } <= set(modules)
    assert impure == []


@pytest.mark.slow
@pytest.mark.parametrize("plant", sorted(FOUND_BY))
def test_a_defect_planted_on_purpose_is_found_within_a_thousand_seeds(plant: str) -> None:
    code, output = simulate("--seeds", "1000", "--plant", plant, "--only", plant.partition(":")[0], "--most", "1")
    assert code == 1, output
