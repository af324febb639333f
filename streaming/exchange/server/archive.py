"""The exchange's public archive, which the real one serves at data.binance.vision: each day and month once it is over.

A file is made when it is asked for, and the same bytes each time, so its checksum holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from quantstream.core.time import DAY
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Faults
from streaming.exchange.formats.archive_csv import (
    MARKETS,
    ArchiveName,
    aggregate_lines,
    kline_lines,
    parse_name,
    trade_lines,
)
from streaming.exchange.market.market_klines import INTERVALS, klines, windows_between
from streaming.exchange.market.protocol import Market, Span, tapes_between
from streaming.exchange.server.archive_index import keys_in, keys_of, page
from streaming.exchange.server.venue import Venue

KEPT = 8  # files: a checksum is asked for beside each
PORTION = 5_000  # rows between two looks at the other requests
ABSENT = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>data/{path}</Key></Error>"
)


class Archive:
    """`/data/{spot,futures/um}/{daily,monthly}/{klines,aggTrades,trades}/…zip`, each with a `.CHECKSUM` beside it."""

    def __init__(self, market: Market, clock: Clock, faults: Faults, venue: Venue, folder: Path | None = None) -> None:
        """What lies under `folder`, laid out as below `/data/`, is served before what the market would make of it."""
        self._market, self._clock, self._faults, self._venue, self._folder = market, clock, faults, venue, folder
        self._made: OrderedDict[ArchiveName, bytes] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/data/{path:.+}", self._answer), web.get("/", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        """Answer as the object store does that the real archive lies in."""
        asked = [request.query.get(name, "") for name in ("prefix", "delimiter", "marker")]
        market = MARKETS[self._venue.kind]
        keys = keys_of(self._market.listings, market, asked[0], self._market.begins_at, self._clock.now())
        given = [] if self._folder is None else keys_in(self._folder)
        return web.Response(text=page([*keys, *given], *asked), content_type="application/xml")

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if self._faults.strike("archive_500"):
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
        name = parse_name(path)
        content = await self._content(name) if name else None
        if name is None or content is None or self._faults.strike("archive_absent"):
            return web.Response(status=404, text=ABSENT.format(path=path), content_type="application/xml")
        if name.is_sum:
            return web.Response(text=f"{hashlib.sha256(content).hexdigest()}  {name.name}.zip\n")
        if self._faults.strike("archive_damaged"):
            content = (
                content[: len(content) // 2]
                + bytes([content[len(content) // 2] ^ 1])
                + content[len(content) // 2 + 1 :]
            )
        return web.Response(body=content, content_type="application/zip")

    def _has(self, name: ArchiveName) -> bool:
        """Tell whether a file is there: its time is over, and its symbol had begun."""
        return (
            name.market == MARKETS[self._venue.kind]
            and name.symbol in self._market.listings
            and (name.kind != "klines" or name.interval in INTERVALS)
            and max(name.start, self._market.begins_at) < name.end <= self._clock.now()
        )

    async def _content(self, name: ArchiveName) -> bytes | None:
        """Return the ZIP of a file, None when there is none."""
        name = name._replace(is_sum=False)
        if self._folder is not None and (given := self._folder / name.path).is_file():
            return given.read_bytes()
        return await self._own(name) if self._has(name) else None

    async def _own(self, name: ArchiveName) -> bytes:
        if name not in self._made:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                member = zipfile.ZipInfo(f"{name.name}.csv")  # its time is 1980: the same bytes each time
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w") as file:
                    file.write(name.header.encode())
                    for text in self._portions(name):
                        file.write(text.encode())
                        await asyncio.sleep(0)
            self._made[name] = packed.getvalue()
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return self._made[name]

    def _portions(self, name: ArchiveName) -> Iterator[str]:
        """Yield the rows of a file, some at a time."""
        market, start, end = self._market, max(name.start, self._market.begins_at), name.end
        if name.kind == "klines":
            for at in range(start - start % DAY, end, DAY):
                windows = windows_between(name.interval, max(start, at), min(at + DAY, end), PORTION)
                yield "".join(kline_lines(klines(market, name.symbol, name.interval, windows, end), name.unit))
            return
        is_spot = name.market == "spot"
        for tape in tapes_between(market, name.symbol, start, end):
            if name.kind == "trades":
                low, high, lines = tape.rows_until(start), tape.rows_until(end), trade_lines
            else:
                low, high, lines = tape.aggregates_until(start), tape.aggregates_until(end), aggregate_lines
            for first in range(low, high, PORTION):
                yield "".join(lines(Span(tape, first, min(first + PORTION, high)), name.unit, is_spot))
