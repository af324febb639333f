"""`python -m bench.ingest [--json] [--quick]`: trades a second from a WebSocket to Kafka on one core, every id tracked.

The frames come from a process on the other core, as does the broker's work. The floor is the `websockets` package with uvloop
that reads the same frames and does nothing with them; picows doing the same is shown beside it.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop

from bench.measure import frames, machine
from bench.measure.result import Row, parser, report, show
from bench.measure.source import BEGIN_MS, broker
from quantstream.binance.transports import Library
from quantstream.kafka import Reader
from quantstream.messages.topics import TRADES
from quantstream.settings import Kafka

FULL, QUICK = 600_000, 30_000  # trades
TIMED_OUT = 300.0  # seconds for one measurement
PACKAGES = ("websockets", "picows", "uvloop", "aiofastnet", "prometheus-client")
Figures = tuple[float, float]  # trades a second of the wall, and of the processor's time in all threads


async def _websockets(url: str, trades: int) -> Figures:
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, max_queue=4096) as connection:
        await connection.recv(decode=False)
        began, used = time.perf_counter(), time.process_time()
        for _ in range(trades - 1):
            await connection.recv(decode=False)
        return _figures(trades, began, used)


async def _picows(url: str, trades: int) -> Figures:
    from quantstream.binance.feed import connect
    from quantstream.binance.transports import opener

    feed = await connect(url.rpartition("/")[0], ["all@trade"], opener("picows"))
    count = len(await feed.read())
    began, used = time.perf_counter(), time.process_time()
    while count < trades:
        count += len(await feed.read())
    figures = _figures(trades, began, used)
    await feed.close()
    return figures


class _NoHistory:
    """An exchange whose log begins now: nothing to repair."""

    async def time(self) -> int:
        return BEGIN_MS * 1000

    async def latest_trade(self, symbol: str) -> None:
        return None

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        return {}

    def seconds_a_look(self, symbols: int) -> float:
        return 60.0

    seconds_a_fill = seconds_a_look

    async def trades_from(self, symbol: str, trade_id: int) -> list[Any]:
        return []

    aggregates_from = aggregates_since = trades_from


async def _ours(bootstrap: str, library: Library, url: str, trades: int) -> Figures:
    from quantstream.observability.health import Health
    from quantstream.observability.metrics import Metrics
    from streaming.ingest.feed_line import Plan
    from streaming.ingest.feed_lines import keep_connected
    from streaming.ingest.stage import Ingest
    from streaming.ingest.trade_log import KafkaTradeLog, trade_writer

    writer = trade_writer(Kafka(bootstrap=bootstrap))
    log = KafkaTradeLog(writer, lambda: time.time_ns() // 1000)
    names = [f"SYM{number:04d}USDT" for number in range(frames.SYMBOLS)]
    work = Ingest(names, _NoHistory(), log, Metrics("ingest"), Health(), lambda: time.time_ns() // 1000)
    stop = threading.Event()
    task = asyncio.create_task(keep_connected(work, url.rpartition("/")[0], stop, Plan(socket=library)))
    began, used = time.perf_counter(), time.process_time()
    while sum(max(state.ids.last_id, 0) for state in work.feeds.values()) < trades:
        if task.done():
            await task  # raises what ended it
        await asyncio.sleep(0.01)
    await asyncio.to_thread(writer.flush, 60)
    figures = _figures(trades, began, used)
    stop.set()
    await task
    return figures


def _figures(trades: int, began: float, used: float) -> Figures:
    return trades / (time.perf_counter() - began), trades / (time.process_time() - used)


def _measure(work: Callable[[str, int], Any], url: str, trades: int, core: int | None, answer: Pipe) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    answer.send(uvloop.run(work(url, trades)))


def measured(work: Callable[[str, int], Any], url: str, trades: int, core: int | None) -> Figures:
    """Return what a coroutine function measures, run in a process of its own on one core.

    Raises: RuntimeError when it fails or takes too long.
    """
    here, there = mp.Pipe()
    process = mp.get_context("spawn").Process(target=_measure, args=(work, url, trades, core, there))
    process.start()
    there.close()
    try:
        if not here.poll(TIMED_OUT):
            raise RuntimeError(f"{work} did not end within {TIMED_OUT:g} s")
        figures: Figures = here.recv()
    except EOFError:
        raise RuntimeError(f"{work} failed; see its traceback above") from None
    finally:
        process.terminate()
        process.join()
    return figures


def in_topic(kafka: Kafka) -> int:
    """Return how many records the trades topic holds."""
    reader = Reader(kafka)
    try:
        ends = [reader.ends(TRADES.name, partition) for partition in range(TRADES.partitions)]
    finally:
        reader.close()
    return sum(high - low for low, high in ends)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both libraries alone and ours over each, one after the other on the same core."""
    given = parser(__doc__ or "").parse_args(argv)
    trades = QUICK if given.quick else FULL
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    core = cores[-1] if cores else None
    here, there = mp.Pipe()
    source = mp.get_context("spawn").Process(
        target=frames.serve, args=(trades, machine.unpinned_core(core), there), daemon=True
    )
    source.start()
    try:
        url = f"ws://127.0.0.1:{here.recv()}/stream"
        floor, floor_cpu = measured(_websockets, url, trades, core)
        alone, alone_cpu = measured(_picows, url, trades, core)
        with broker() as kafka:
            ours, ours_cpu = measured(partial(_ours, kafka.bootstrap, "websockets"), url, trades, core)
            written = in_topic(kafka)
        with broker() as kafka:
            framed_in_c, framed_in_c_cpu = measured(partial(_ours, kafka.bootstrap, "picows"), url, trades, core)
            written = min(written, in_topic(kafka))
    finally:
        source.terminate()
        source.join()
    if written < trades:
        raise RuntimeError(f"{trades - written} of {trades} trades are not in the topic")
    row = Row(
        what="ingest: WebSocket → Kafka with id tracking",
        unit="trades/s",
        ours=round(ours),
        target=50_000,
        aim=90_000,
        floor=round(floor),
        floor_name="websockets + uvloop, reading alone",
        target_ratio=50 / 115,
        aim_ratio=90 / 115,
        peers={"picows, reading alone": round(alone), "ours over picows": round(framed_in_c)},
    )
    cpu = {"websockets": floor_cpu, "picows": alone_cpu, "ours": ours_cpu, "ours over picows": framed_in_c_cpu}
    found = report(
        "ingest",
        [row],
        given.quick,
        trades=trades,
        written=written,
        trades_per_cpu_second={name: round(rate) for name, rate in cpu.items()},
    )
    found["machine"] = machine.describe(PACKAGES)
    return show(found, given.json)


if __name__ == "__main__":
    raise SystemExit(main())
