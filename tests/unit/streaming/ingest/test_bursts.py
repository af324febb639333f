"""More frames at once than may wait: handed over in portions, so that the broker's queue never overflows, and in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from quantstream.binance.feed import MAX_WAITING, BinanceFeed
from quantstream.binance.transports import Library
from quantstream.binance.wire import parse_record
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import keep_connected
from streaming.ingest.stage import Ingest
from streaming.ingest.trade_log import MAX_QUEUED
from tests.unit.streaming.fakes import FakeHistory, FakeLog, frame

T0 = 1_723_161_600 * SECOND
BURST = 100_000  # frames of some 200 bytes


class NarrowLog(FakeLog):
    """A log whose queue drains only while one waits for room."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = self.longest = 0

    @property
    def has_room(self) -> bool:
        return self.queued < MAX_QUEUED

    async def room(self) -> None:
        while not self.has_room:
            await asyncio.sleep(0.3)  # much arrives meanwhile
            self.queued = 0

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        super().send(symbol, raw, kind, received_at, origin)
        self.queued += 1
        self.longest = max(self.longest, self.queued)


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    """An exchange that sends all it has as fast as the line takes it; its address."""
    trades = [Trade("XRPUSDT", n, n, n, UNIT, UNIT, T0 + n, False) for n in range(1, BURST + 1)]
    burst = b"".join(Frame(Opcode.TEXT, frame(trade)).serialize(mask=False) for trade in trades)

    def handle(client: ServerConnection) -> None:
        with client.protocol_mutex:  # no pong into the middle of it
            client.socket.sendall(burst)
        for _ in client:
            pass

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
    thread.join()


@pytest.mark.parametrize("library", ["websockets", "picows"])
async def test_a_burst_waits_at_the_exchange_and_not_in_the_brokers_queue(exchange: str, library: Library) -> None:
    log, stop = NarrowLog(), threading.Event()
    work = Ingest(("XRPUSDT",), FakeHistory([], now=T0), log, Metrics("ingest"), Health(), lambda: 5)
    task = asyncio.create_task(keep_connected(work, exchange, stop, Plan(socket=library)))
    async with asyncio.timeout(60):
        while not task.done() and work.feeds["XRPUSDT"].ids.last_id < BURST:
            await asyncio.sleep(0.01)
    stop.set()
    await task
    items = [parse_record(raw, symbol) for symbol, raw, kind, _ in log.records if kind != "heartbeat"]
    assert [item.id for item in items if isinstance(item, Trade)] == list(range(1, BURST + 1))
    assert log.longest <= MAX_QUEUED + 2 * MAX_WAITING


class StillSocket:
    """A socket that only remembers whether it is read."""

    def __init__(self) -> None:
        self.is_read = True

    def pause(self) -> None:
        self.is_read = False

    def resume(self) -> None:
        self.is_read = True


async def test_what_one_reading_brings_is_handed_over_in_portions_and_read_on_after_the_last() -> None:
    feed, socket = BinanceFeed(), StillSocket()
    feed.socket = socket  # type: ignore[assignment]  # a part of the protocol: nothing is sent or closed here
    frames = [b'{"stream":%d' % number for number in range(2 * MAX_WAITING + 5)]
    for each in frames:
        feed.arrived(each)
    found = []
    for size, is_read in ((MAX_WAITING, False), (MAX_WAITING, False), (5, True)):
        portion = await feed.read()
        assert (len(portion), socket.is_read) == (size, is_read)
        found += portion
    assert found == frames
    assert (feed.waiting, feed.drain()) == (0, [])
