"""A small synthetic market, a served exchange, and clients for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantstream.core.time import SECOND
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Faults
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.exchange.streams.client import Rules

STARTS_AT = 1_763_800_123 * SECOND  # 2025-11-22 08:28:43, within a minute and within a candle
SEED = MarketSeed(seed=7, starts_at=STARTS_AT, history_days=2)


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    """Three symbols, one of them quiet, with two days of history."""
    return SyntheticMarket(SEED, ["BTCUSDT", "BNBUSDT", "XRPUSDT"])


@dataclass
class Client:
    """A served exchange and an HTTP session to it."""

    served: Served
    session: aiohttp.ClientSession

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """Return the JSON of a REST answer."""
        async with self.session.get(f"{self.served.rest}{path}", params=params) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def order(self, kind: str, **figures: Any) -> Any:
        """Order a fault."""
        async with self.session.post(f"{self.served.rest}/control/faults", json={"kind": kind, **figures}) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def injected(self) -> dict[str, int]:
        """Return how often each fault happened."""
        found: dict[str, int] = (await self.get("/control/faults"))["injected"]
        return found

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Socket]:
        """Connect a WebSocket; pings are shown, not answered."""
        async with self.session.ws_connect(
            f"{self.served.ws}{path}", autoping=False, timeout=aiohttp.ClientWSTimeout(ws_close=1)
        ) as ws:
            yield Socket(ws)


@dataclass
class Socket:
    """One WebSocket; `closed_with` is set when the exchange said goodbye."""

    ws: aiohttp.ClientWebSocketResponse
    pings: list[bytes] = field(default_factory=list)

    async def frame(self) -> str | None:
        """Return the next text frame, or None at the end of the connection."""
        while True:
            message = await self.ws.receive(timeout=120)
            if message.type is aiohttp.WSMsgType.PING:
                self.pings.append(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.TEXT:
                return str(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                return None

    async def ask(self, **request: Any) -> Any:
        """Send a request and return its reply, passing events over."""
        await self.ws.send_json(request)
        return await self.reply()

    async def reply(self) -> Any:
        """Return the next frame that is no market event."""
        while (frame := await self.frame()) is not None:
            if '"e":"' not in frame:
                return json.loads(frame)
        raise AssertionError("the connection ended before the reply")

    async def events(self, count: int) -> list[Any]:
        """Return the next market events."""
        found: list[Any] = []
        while len(found) < count:
            frame = await self.frame()
            assert frame is not None, "the connection ended"
            if '"e":"' in frame:
                found.append(json.loads(frame))
        return found

    async def ends(self) -> int | None:
        """Read to the end of the connection; return its close code."""
        while await self.frame() is not None:
            pass
        return self.ws.close_code


@asynccontextmanager
async def running(
    market: Market,
    speed: float = 60.0,
    rules: Rules | None = None,
    faults: Faults | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """Serve a market on a free port."""
    clock = Clock(market.starts_at, speed, market.ends_at)
    chosen = Options(rules=rules or Rules(), **options)
    async with serve(market, clock, chosen, faults) as served, aiohttp.ClientSession() as session:
        yield Client(served, session)


@pytest.fixture
def run() -> Any:
    """Give tests `running`."""
    return running


@pytest.fixture
async def exchange(market: SyntheticMarket) -> AsyncIterator[Client]:
    """The small market, five exchange minutes to a wall second."""
    async with running(market, speed=300.0) as client:
        yield client


@dataclass
class Process:
    """`python -m streaming simulate` in a process of its own."""

    popen: subprocess.Popen[str]
    ws: str
    rest: str
    log: Path

    def kill(self) -> None:
        """Kill it without warning."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(10)


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Any]:
    """Start processes of the command; whatever still runs at the end is killed."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        command = [sys.executable, "-m", "streaming.exchange", *arguments]
        path = tmp_path / f"exchange-{len(started)}.log"
        with path.open("w") as log:
            popen = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        assert popen.stdout is not None
        addresses = json.loads(popen.stdout.readline())
        started.append(Process(popen, addresses["ws"], addresses["rest"], path))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.kill()
        if process.popen.stdout:
            process.popen.stdout.close()
