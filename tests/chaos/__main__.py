"""`python -m tests.chaos`: the platform under fire, and a verdict; exit code 1 when anything was lost, repeated or wrong."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.chaos.platform import Size
from tests.chaos.run import run

LEAST_KILLS = 20


def main(argv: list[str] | None = None) -> int:
    """Run once; print lines for people, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws the market, the faults and the kills")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the trouble lasts")
    parser.add_argument("--kills", type=int, help="stages killed (default: 8 a minute, at least 20)")
    parser.add_argument("--broker-restarts", type=int, default=2)
    parser.add_argument("--speed", type=float, default=Size.speed, help="exchange seconds in one second")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the state folder, for a look at its logs")
    given = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    kills = given.kills or max(LEAST_KILLS, round(8 * given.minutes))
    size = replace(Size(), speed=given.speed)
    report = run(
        folder / "state",
        given.seed,
        given.minutes * 60,
        kills,
        given.broker_restarts,
        size,
        lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(report.as_json(), indent=1) if given.json else "\n".join(report.lines()))
    if given.keep or not report.survived:
        print(f"logs and tables are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0 if report.survived else 1


if __name__ == "__main__":
    sys.exit(main())
