"""The command line: so many worlds, or one with its trace."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from time import process_time
from collections import Counter

from tests.dst.world import World


def main(argv: list[str] | None = None) -> int:
    """Run worlds; exit code 1 when any is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.dst", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many worlds")
    parser.add_argument("--first", type=int, default=1, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this world alone")
    parser.add_argument("--trace", action="store_true", help="print what happened in it")
    parser.add_argument("--most", type=int, default=20, help="failures to show before it stops")
    given = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    gc.disable()
    if given.seed is not None:
        return _one(given.seed, given.trace)
    started, failed, kinds = process_time(), 0, Counter[str]()
    for seed in range(given.first, given.first + given.seeds):
        world = World(seed)
        verdict = world.run()
        kinds["+".join(world.stages)] += 1
        if not verdict.is_right:
            failed += 1
            print(f"seed {seed} ({'+'.join(world.stages)}, {world.partitions} partitions): {verdict.wrong[0]}", flush=True)
            if failed >= given.most:
                break
        if seed % 20 == 0:
            gc.collect()
    took = process_time() - started
    count = sum(kinds.values())
    print(f"{count} worlds ({', '.join(f'{k} {n}' for k, n in kinds.items())}), {failed} wrong, {took:.1f} s of a core, {1000 * took / count:.1f} ms each")
    return 1 if failed else 0


def _one(seed: int, shows_trace: bool) -> int:
    world = World(seed, keep=shows_trace)
    verdict = world.run()
    if world.sim.lines:
        sys.stdout.writelines(world.sim.lines)
    for text in verdict.wrong:
        print(text)
    print(f"seed {seed}: {'right' if verdict.is_right else 'WRONG'}, {world.sim.events} events, trace {world.sim.digest}")
    return 0 if verdict.is_right else 1
