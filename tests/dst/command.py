"""The command line: so many worlds, or one with its trace."""

from __future__ import annotations

import argparse
import gc
import logging
import re
import sys
from collections import Counter
from time import process_time

from tests.dst.plants import PLANTS, plant
from tests.dst.world import World


def main(argv: list[str] | None = None) -> int:
    """Run worlds; exit code 1 when any is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.dst", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many worlds")
    parser.add_argument("--first", type=int, default=1, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this world alone")
    parser.add_argument("--trace", action="store_true", help="print what happened in it")
    parser.add_argument("--only", help="worlds with this stage alone")
    parser.add_argument("--plant", choices=PLANTS, metavar="STAGE:KIND", help=f"a defect: {', '.join(PLANTS)}")
    parser.add_argument("--kinds", action="store_true", help="count failures by kind at the end")
    parser.add_argument("--most", type=int, default=20, help="failures to show before it stops")
    given = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    gc.disable()
    sys.unraisablehook = lambda unraisable: None  # coroutines of killed processes complain that they did not end
    if given.plant:
        plant(given.plant)
    if given.seed is not None:
        return _one(given.seed, given.trace)
    started, failed, kinds = process_time(), 0, Counter[str]()
    found: dict[str, list[int]] = {}
    for seed in range(given.first, given.first + given.seeds):
        world = World(seed)
        if given.only and "+".join(world.stages) != given.only:
            continue
        verdict = world.run()
        kinds["+".join(world.stages)] += 1
        if not verdict.is_right:
            failed += 1
            found.setdefault(kind_of(world, verdict.wrong[0]), []).append(seed)
            print(
                f"seed {seed} ({'+'.join(world.stages)}, {world.partitions} partitions): {verdict.wrong[0]}", flush=True
            )
            if failed >= given.most:
                break
        if seed % 20 == 0:
            gc.collect()
    for kind, seeds in sorted(found.items()) if given.kinds else ():
        print(f"{len(seeds):5}  {kind}: {' '.join(map(str, seeds[:8]))}")
    took = process_time() - started
    count = max(sum(kinds.values()), 1)
    each = ", ".join(f"{name} {number}" for name, number in kinds.items())
    cost = f"{took:.1f} s of a core, {1000 * took / count:.1f} ms each"
    print(f"{count} worlds ({each}), {failed} wrong, {cost}")
    return 1 if failed else 0


def kind_of(world: World, text: str) -> str:
    """Return what a failure is one of: its words without the names and numbers of its world."""
    text = re.sub(r"(?<=: nobody was given ).*|\(.*\)|'.*'|S\d+X\d+|sink/\S+", "…", text)
    return f"{'+'.join(world.stages)}: " + re.sub(r"\d+", "N", text)[:90]


def _one(seed: int, shows_trace: bool) -> int:
    world = World(seed, keep=shows_trace)
    verdict = world.run()
    if world.sim.lines:
        sys.stdout.writelines(world.sim.lines)
    for text in verdict.wrong:
        print(text)
    print(
        f"seed {seed}: {'right' if verdict.is_right else 'WRONG'}, {world.sim.events} events, trace {world.sim.digest}"
    )
    return 0 if verdict.is_right else 1
