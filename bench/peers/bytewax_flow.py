"""Bytewax: JSON trades to five-minute float candles, at-least-once by its recovery store, no output.

Source: docs.bytewax.io, "Windowing", "Kafka" and "Recovery". Runs in the environment that `bench.engines` makes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, cluster_main

Candle = list[float]


def main() -> int:
    """Consume a whole topic of so many records and print how fast it went from the first on."""
    bootstrap, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    began: list[float] = []

    def decoded(message: Any) -> tuple[str, dict[str, Any]]:
        if not began:
            began.append(time.perf_counter())
        return message.key.decode(), json.loads(message.value)

    flow = Dataflow("candles")
    read = op.input("read", flow, KafkaSource([bootstrap], [topic], tail=False, batch_size=10_000))
    keyed = op.map("decode", read, decoded)
    clock = win.EventClock(_event_time, wait_for_system_duration=timedelta(milliseconds=500))
    windower = win.TumblingWindower(length=timedelta(minutes=5), align_to=datetime(2025, 1, 1, tzinfo=UTC))
    found = win.fold_window("candles", keyed, clock, windower, list, _add, _merge)
    out: list[Any] = []
    op.output("out", found.down, TestingSink(out))
    with tempfile.TemporaryDirectory() as folder:
        init_db_dir(Path(folder), 1)
        cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(folder))
    seconds = time.perf_counter() - began[0]
    sys.stdout.write(json.dumps({"trades_per_s": records / seconds, "candles": len(out), "exactly_once": False}) + "\n")
    return 0


def _event_time(trade: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(trade["T"] / 1000, UTC)


def _add(candle: Candle, trade: dict[str, Any]) -> Candle:
    price, quantity = float(trade["p"]), float(trade["q"])
    if not candle:
        return [price, price, price, price, quantity, price * quantity, 1]
    candle[1] = max(candle[1], price)
    candle[2] = min(candle[2], price)
    candle[3] = price
    candle[4] += quantity
    candle[5] += price * quantity
    candle[6] += 1
    return candle


def _merge(one: Candle, other: Candle) -> Candle:
    high, low = max(one[1], other[1]), min(one[2], other[2])
    return [one[0], high, low, other[3], one[4] + other[4], one[5] + other[5], one[6] + other[6]]


if __name__ == "__main__":
    sys.exit(main())
