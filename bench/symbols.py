"""Cost of a trade in aggregate as symbols grow from 1 to 2,000: by processor time, and the memory of a process of its own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from typing import Any

from bench.measure import cores, result, source
from quantstream.settings import Kafka

COUNTS = (1, 100, 2_000)
QUICK_COUNTS = (1, 50)
TRADES, QUICK = 1_000_000, 10_000
ROUNDS = 12  # each in another order; of each count the least disturbed run is taken; the first is read back
MOST, AIM = 1.15, 1.1  # times what a trade of one symbol costs
MEMORY_MB = 200


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--trades", type=int, default=0, help="of each topic")
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else TRADES)
    counts = QUICK_COUNTS if given.quick else COUNTS
    with cores.broker_apart() as kafka:
        topics = {count: _filled(kafka, count, trades) for count in counts}
        rounds = [_round(kafka, topics, trades, number) for number in range(1 if given.quick else ROUNDS)]
    cost = {count: 1e6 / max(found[count]["trades_per_cpu_s"] for found in rounds) for count in counts}
    rss = {count: max(found[count]["rss_mb"] for found in rounds) for count in counts}
    most, memory = max(cost.values()) / cost[counts[0]], rss[counts[-1]]
    what = f"aggregate: cost per trade, {counts[0]} to {counts[-1]:,} symbols"
    rows = [
        result.Row(what, "times the cost with one symbol", round(most, 3), MOST, AIM, better="lower"),
        result.Row(
            f"aggregate: memory with {counts[-1]:,} symbols", "MB RSS", memory, MEMORY_MB, MEMORY_MB, better="lower"
        ),
    ]
    details = {
        "cpu_us_per_trade": {str(count): round(each, 3) for count, each in cost.items()},
        "rss_mb": {str(count): each for count, each in rss.items()},
        "exactly_once": all(each["exactly_once"] for each in rounds[0].values()),
        "trades": trades,
    }
    return result.show(result.report("symbols", rows, given.quick, **details), given.json)


def _filled(kafka: Kafka, symbols: int, trades: int) -> str:
    """Return the name of a new topic of so many trades."""
    topic = f"bench.trades.{uuid.uuid4().hex[:8]}"
    source.fill(kafka, topic, trades, symbols)
    return topic


def _round(kafka: Kafka, topics: dict[int, str], trades: int, number: int) -> dict[int, dict[str, Any]]:
    """Return what each count of symbols cost, measured in an order of the round's own."""
    order = random.Random(number).sample(sorted(topics), len(topics))
    return {count: _measure(kafka, topics[count], trades, is_checked=number == 0) for count in order}


def _measure(kafka: Kafka, topic: str, trades: int, is_checked: bool) -> dict[str, Any]:
    """Return what `bench.aggregate` says of a topic, in a process of its own.

    Raises: RuntimeError with what it said when it fails.
    """
    command = [sys.executable, "-m", "bench.aggregate", "--json", "--no-floors", "--bootstrap", kafka.bootstrap]
    command += ["--topic", topic, "--trades", str(trades), *([] if is_checked else ["--unchecked"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
