"""From a trade at the exchange to the open candle that holds it, readable in its topic, at 5,000 trades a second.

The simulated exchange (its clock runs as fast as the wall's), ingest, broker and aggregate run as processes of their own, as in
the stack. This process reads both topics, committed records only, and compares every trade's own time with the moment at which
the first open candle that includes it could be read. Nothing is pinned: it is the whole path that counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from bench.measure import result, source
from bench.measure.exchange import SEED, busiest_rate, clock_offset
from infra.embedded.free_ports import free_port
from quantstream.binance.wire import parse_record
from quantstream.core.errors import BadRecord
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import OFFSET_END, Reader
from quantstream.messages.payloads import OpenCandles, decode
from quantstream.messages.topics import OPEN_CANDLES, TRADES
from quantstream.settings import Kafka

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT", "LINKUSDT")
RATE = 5_000  # trades/s of all symbols together
SECONDS, QUICK_SECONDS = 30.0, 3.0
SETTLE, QUICK_SETTLE = 10.0, 2.0  # seconds before measuring begins
PATIENCE = 60.0
P50, P99, AIM_P50, AIM_P99 = 100, 250, 30, 100  # ms


@dataclass
class Seen:
    """What was read of one symbol: trades as (last id, exchange µs), open candles as the last id and the µs they were read at."""

    trades: list[tuple[int, int]] = field(default_factory=list)
    last_ids: list[int] = field(default_factory=list)
    read_at: list[int] = field(default_factory=list)

    def delays(self, offset: int) -> list[int]:
        """Return the delay of each trade, µs; `offset` is the wall's clock less the exchange's."""
        found = []
        for last_id, at in self.trades:
            place = bisect_left(self.last_ids, last_id)
            if place < len(self.read_at):
                found.append(self.read_at[place] - at - offset)
        return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser((__doc__ or "").splitlines()[0])
    options.add_argument("--rate", type=int, default=0, help="trades a second of all symbols together")
    options.add_argument("--seconds", type=float, default=0)
    options.add_argument("--commit-ms", type=int, default=0, help="of aggregate; 0 leaves the setting's default")
    given = options.parse_args(argv)
    seconds = given.seconds or (QUICK_SECONDS if given.quick else SECONDS)
    rate = given.rate or (500 if given.quick else RATE)
    with (
        source.broker() as kafka,
        tempfile.TemporaryDirectory(prefix="bench-latency-") as folder,
        _stages(kafka, Path(folder), rate, seconds, given.commit_ms) as rest,
    ):
        _wait_for_trades(kafka)
        seen, offset = _watch(kafka, rest, QUICK_SETTLE if given.quick else SETTLE, seconds)
    return result.show(_report(seen, offset, seconds, given.quick), given.json)


def _report(seen: dict[str, Seen], offset: int, seconds: float, quick: bool) -> dict[str, Any]:
    delays = sorted(delay for one in seen.values() for delay in one.delays(offset))
    if not delays:
        raise SystemExit("no trade was seen in an open candle; the machine is too busy for this measurement")
    trades = sum(len(one.trades) for one in seen.values())
    p50, p99 = (round(delays[min(int(share * len(delays)), len(delays) - 1)] / 1000, 1) for share in (0.5, 0.99))
    what = f"end to end at {round(trades / seconds, -1):,.0f} trades/s: exchange to open candle"
    rows = [
        result.Row(f"{what}, p50", "ms", p50, P50, AIM_P50, better="lower"),
        result.Row(f"{what}, p99", "ms", p99, P99, AIM_P99, better="lower"),
    ]
    snapshots = sum(len(one.read_at) for one in seen.values())
    return result.report(
        "latency",
        rows,
        quick,
        p50_ms=p50,
        p99_ms=p99,
        trades=trades,
        matched=len(delays),
        snapshots=snapshots,
        trades_per_s=round(trades / seconds),
        clock_offset_ms=round(offset / 1000, 2),
    )


@contextmanager
def _stages(kafka: Kafka, folder: Path, rate: int, seconds: float, commit_ms: int) -> Iterator[str]:
    """Run exchange, ingest and aggregate; yield the exchange's REST address."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")} | {
        "QUANTSTREAM_STATE": str(folder / "state"),
        "QUANTSTREAM_SYMBOLS": ",".join(SYMBOLS),
        "QUANTSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "QUANTSTREAM_ENDPOINTS__WS": f"ws://127.0.0.1:{port}",
        "QUANTSTREAM_ENDPOINTS__REST": f"http://127.0.0.1:{port}",
        **({"QUANTSTREAM_COMMIT_MS": str(commit_ms)} if commit_ms else {}),
    }
    exchange = ["simulate", "--port", str(port), "--symbols", ",".join(SYMBOLS), "--speed", "1", "--history-days", "1"]
    exchange += ["--seed", str(SEED), "--trades-per-second", f"{busiest_rate(SYMBOLS, rate, seconds):.3f}"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "log").open("wb") as log:
            for arguments in (exchange, ["ingest"], ["aggregate"]):
                command = [sys.executable, "-m", "streaming", *arguments]
                started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
                if arguments is exchange:
                    _wait_until_answering(f"http://127.0.0.1:{port}/api/v3/time")
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_answering(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _wait_for_trades(kafka: Kafka) -> None:
    reader = Reader(kafka)
    deadline = time.monotonic() + PATIENCE
    while not any(reader.ends(OPEN_CANDLES.name, part)[1] for part in range(OPEN_CANDLES.partitions)):
        if time.monotonic() > deadline:
            raise SystemExit("no open candle came within a minute")
        time.sleep(0.1)
    reader.close()


def _watch(kafka: Kafka, rest: str, settle: float, seconds: float) -> tuple[dict[str, Seen], int]:
    """Read both topics from now on; return the records of the trades made within `seconds`, and the clocks' difference, µs."""
    time.sleep(settle)
    offset = round(clock_offset(rest))
    reader = Reader(kafka, fetch_wait_max_ms=5)
    parts = [(topic.name, number) for topic in (TRADES, OPEN_CANDLES) for number in range(topic.partitions)]
    reader.assign(dict.fromkeys(parts, OFFSET_END))
    seen: dict[str, Seen] = defaultdict(Seen)
    begin = time.time_ns() // 1000 + SECOND  # what lies before may miss its candle: the reader was not there yet
    end = begin + int(seconds * SECOND)
    while time.time_ns() // 1000 < end + 3 * SECOND:
        messages = reader.poll(0.005)
        now = time.time_ns() // 1000
        for message in messages:
            symbol, raw = (message.key() or b"").decode(), message.value() or b""
            if message.topic() == TRADES.name:
                _note_trade(seen[symbol], symbol, raw, begin - offset, end - offset)
            else:
                snapshot = decode(raw, OpenCandles)
                seen[symbol].last_ids.append(snapshot.state.ids.last_id)
                seen[symbol].read_at.append(now)
    reader.close()
    return seen, offset


def _note_trade(seen: Seen, symbol: str, raw: bytes, begin: int, end: int) -> None:
    try:
        item = parse_record(raw, symbol)
    except BadRecord:
        return
    if isinstance(item, Trade) and begin <= item.traded_at < end:
        seen.trades.append((item.last_trade_id, item.traded_at))


if __name__ == "__main__":
    sys.exit(main())
