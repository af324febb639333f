"""`python -m tests.chaos`: the platform under fire, and a verdict; exit code 1 when anything was lost, repeated or wrong."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from quantstream.process_end import end_with
from tests.chaos.platform import Size
from tests.chaos.run import partitions_of, run
from tests.chaos.schedule import PARTITIONS, Trouble

MINUTES = 6.0


def main(argv: list[str] | None = None) -> int:
    """Run once; print lines for people, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws the market, the faults and every blow")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long the trouble lasts (default: 6)")
    parser.add_argument("--kills", type=int, help="processes killed (default: 5 a minute, at least 25)")
    parser.add_argument("--pauses", type=int, help="processes stopped past their session and woken (default: as kills)")
    parser.add_argument(
        "--visits", type=int, help="times that a second or third replica comes and goes (default: 3 a minute)"
    )
    parser.add_argument(
        "--broker",
        type=int,
        default=4,
        help="times that the broker is killed or restarted, half of them in a rebalance",
    )
    parser.add_argument(
        "--outages", type=int, default=1, help="times that the lake, and the registry, are away for a minute"
    )
    parser.add_argument(
        "--delistings", type=int, default=1, help="times that the exchange does not know a symbol for a while"
    )
    parser.add_argument(
        "--partitions", type=int, choices=PARTITIONS, help="of the topics (default: drawn from the seed)"
    )
    parser.add_argument("--speed", type=float, default=Size.speed, help="exchange seconds in one second")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the state folder, for a look at its logs")
    given = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    size = replace(Size(), speed=given.speed, partitions=given.partitions or partitions_of(given.seed))
    report = run(
        folder / "state",
        given.seed,
        _trouble(given),
        size,
        lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(report.as_json(), indent=1) if given.json else "\n".join(report.lines()))
    if given.keep or not report.survived:
        print(f"logs and tables are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0 if report.survived else 1


def _trouble(given: argparse.Namespace) -> Trouble:
    often = max(25, round(5 * given.minutes))
    kills = often if given.kills is None else given.kills
    return Trouble(
        seconds=given.minutes * 60,
        kills=kills,
        pauses=max(25, kills) if given.pauses is None else given.pauses,
        visits=max(10, round(3 * given.minutes)) if given.visits is None else given.visits,
        broker=given.broker,
        outages=given.outages,
        delistings=given.delistings,
    )


if __name__ == "__main__":
    end_with(main)
