"""Cost of a trade in aggregate as symbols grow from 1 to 2,000: by processor time, and the memory of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import Any

from bench import cores, result, source
from quantstream.settings import Kafka

COUNTS = (1, 8, 100, 500, 2_000)
QUICK_COUNTS = (1, 50)
TRADES, QUICK = 1_000_000, 10_000
MOST = 1.15  # times what a trade of one symbol costs
MEMORY_MB = 150


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--trades", type=int, default=0, help="of each topic")
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else TRADES)
    counts = QUICK_COUNTS if given.quick else COUNTS
    with cores.broker_apart() as kafka:
        found = {count: _measure(kafka, count, trades) for count in counts}
    cost = {count: 1e6 / each["trades_per_cpu_s"] for count, each in found.items()}
    most, memory = max(cost.values()) / cost[counts[0]], found[counts[-1]]["rss_mb"]
    what = f"aggregate: cost per trade, {counts[0]} to {counts[-1]:,} symbols"
    rows = [
        result.Row(what, "times the cost with one symbol", round(most, 3), MOST, MOST, better="lower"),
        result.Row(
            f"aggregate: memory with {counts[-1]:,} symbols", "MB RSS", memory, MEMORY_MB, MEMORY_MB, better="lower"
        ),
    ]
    details = {
        "cpu_us_per_trade": {str(count): round(each, 3) for count, each in cost.items()},
        "rss_mb": {str(count): each["rss_mb"] for count, each in found.items()},
        "exactly_once": all(each["exactly_once"] for each in found.values()),
        "trades": trades,
    }
    return result.show(result.report("symbols", rows, given.quick, **details), given.json)


def _measure(kafka: Kafka, symbols: int, trades: int) -> dict[str, Any]:
    """Return what `bench.aggregate` says of a topic of so many symbols, in a process of its own.

    Raises: RuntimeError with what it said when it fails.
    """
    topic = f"bench.trades.{uuid.uuid4().hex[:8]}"
    source.fill(kafka, topic, trades, symbols)
    command = [sys.executable, "-m", "bench.aggregate", "--json", "--no-floors", "--bootstrap", kafka.bootstrap]
    command += ["--topic", topic, "--trades", str(trades)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
