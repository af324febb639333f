"""`python -m tests.fuzz`: hostile inputs for every parser; exit code 1 when one broke something."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import sys
from itertools import islice
from pathlib import Path

from tests.fuzz.run import SLOW, attack_all, limit_memory

DATA = Path(os.environ.get("QUANTSTREAM_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
REAL = "ws_frames/spot_btcusdt_20240808.gz"
MOST_FRAMES = 200


def real_frames() -> list[bytes]:
    """Return some real frames as seeds, none where the data is not there."""
    path = DATA / REAL
    if not path.is_file():
        print(f"REAL MARKET DATA NOT FOUND at {DATA}; only the documentation's frames are seeds", file=sys.stderr)
        return []
    with gzip.open(path) as lines:
        trades = (line.split(b" ", 1)[1].strip() for line in lines if b"@trade" in line)
        return list(islice(trades, MOST_FRAMES))


def main(argv: list[str] | None = None) -> int:
    """Attack; print a line per target, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    frames = real_frames()
    limit_memory()
    outcomes = attack_all(given.inputs, given.seed, frames)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    is_good = not any(outcome.failed or outcome.slowest_s > SLOW for outcome in outcomes)
    if given.json:
        rows = [{**vars(outcome), "failed": dict(outcome.failed)} for outcome in outcomes]
        print(json.dumps({"survived": is_good, "peak_mb": peak_mb, "targets": rows}, indent=1))
    else:
        for outcome in outcomes:
            print(
                f"{outcome.name:14} {outcome.inputs:7} inputs, {outcome.refused:7} refused, {outcome.accepted:6} accepted, "
                f"slowest {1000 * outcome.slowest_s:.0f} ms: {dict(outcome.failed) or 'nothing broke'}"
            )
            print("".join(f"    {example}\n" for example in outcome.examples), end="")
        print(
            f"{sum(o.inputs for o in outcomes)} inputs, peak memory {peak_mb} MB: {'SURVIVED' if is_good else 'BROKEN'}"
        )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
