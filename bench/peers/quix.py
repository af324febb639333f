"""Quix Streams: JSON trades to five-minute float candles, exactly-once, as its documentation recommends.

Source: quix.io/docs/quix-streams, "Windowing" and "Processing Guarantees". Runs in the environment that `bench.engines` makes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from datetime import timedelta
from typing import Any

from quixstreams import Application


def main() -> int:
    """Consume so many records of a topic and print how fast it went from the first to the last of them."""
    bootstrap, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run = uuid.uuid4().hex[:8]
    seen: list[float] = [0, 0, 0]  # records, when the first and the last came

    def event_time(value: dict[str, Any], headers: Any, timestamp: float, kind: Any) -> int:
        seen[0] += 1
        seen[2] = time.perf_counter()
        seen[1] = seen[1] or seen[2]
        if seen[0] >= records:
            app.stop()
        return int(value["T"])

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=bootstrap,
            consumer_group=f"quix-{run}",
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            state_dir=state,
            loglevel="ERROR",
        )
        source = app.topic(topic, key_deserializer="str", value_deserializer="json", timestamp_extractor=event_time)
        candles = app.topic(f"{topic}.quix.{run}", key_serializer="str", value_serializer="json")
        frame = app.dataframe(source)
        frame = frame.tumbling_window(timedelta(minutes=5), grace_ms=timedelta(milliseconds=500))
        frame = frame.reduce(reducer=_add, initializer=_begin).final()
        frame.to_topic(candles)
        app.run(timeout=30, collect=False)
    rate = seen[0] / (seen[2] - seen[1])
    sys.stdout.write(json.dumps({"trades_per_s": rate, "trades": seen[0], "exactly_once": True}) + "\n")
    return 0


def _begin(trade: dict[str, Any]) -> dict[str, Any]:
    price, quantity = float(trade["p"]), float(trade["q"])
    return {"o": price, "h": price, "l": price, "c": price, "v": quantity, "q": price * quantity, "n": 1}


def _add(candle: dict[str, Any], trade: dict[str, Any]) -> dict[str, Any]:
    price, quantity = float(trade["p"]), float(trade["q"])
    return {
        "o": candle["o"],
        "h": max(candle["h"], price),
        "l": min(candle["l"], price),
        "c": price,
        "v": candle["v"] + quantity,
        "q": candle["q"] + price * quantity,
        "n": candle["n"] + 1,
    }


if __name__ == "__main__":
    sys.exit(main())
