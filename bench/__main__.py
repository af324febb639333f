"""`python -m bench [--quick] [NAMES…]`: run the benchmarks one after the other, each a process, and write RESULTS.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import machine, results
from quantstream.process_end import end_with

BENCHES = (
    "ingest",
    "aggregate",
    "engines",
    "sink",
    "tables.storage",
    "detect",
    "backfill",
    "tables.lake",
    "score",
    "latency",
    "symbols",
    "two_aggregators",
    "startup",
)
HERE = Path(__file__).resolve().parent
PATIENCE = 1800.0  # seconds for one benchmark
QUICK_PATIENCE = 120.0


def run(name: str, quick: bool, log: Any = sys.stderr) -> dict[str, Any]:
    """Run one benchmark as a process of its own and return its JSON object.

    Raises: RuntimeError with the end of what it said when it fails, takes too long or prints no JSON object.
    """
    command = [sys.executable, "-m", f"bench.{name}", "--json", *(["--quick"] if quick else [])]
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=QUICK_PATIENCE if quick else PATIENCE,
            cwd=HERE.parent,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"bench.{name} did not end in time") from None
    lines = done.stdout.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"bench.{name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}") from None
    if done.returncode:
        raise RuntimeError(f"bench.{name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    log.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run them; the exit code is 1 when one failed, whose figures are then missing from the table, and said so."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAMES", help=f"which of {', '.join(BENCHES)}; all without one")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that they run; writes no RESULTS.md")
    parser.add_argument("--json", action="store_true", help="print all results as one JSON object")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.names if find_spec(f"bench.{name}") is None]:
        sys.stderr.write(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(BENCHES)}\n")
        return 2
    found, failed = {}, {}
    for name in given.names or BENCHES:
        try:
            found[name] = run(name, given.quick)
        except RuntimeError as error:
            failed[name] = str(error)
            sys.stderr.write(f"{error}\n")
        if not given.quick:
            results.update(HERE, found, failed)
    if given.json:
        sys.stdout.write(json.dumps({"results": found, "failed": failed, "machine": machine.describe()}) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    end_with(main)
