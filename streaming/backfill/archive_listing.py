"""Who the archive has files of, and of which days: so that symbols that died before anybody looked are known to have lived."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import NamedTuple
from xml.etree import ElementTree

import aiohttp
import pyarrow as pa
from msgspec.structs import replace

from quantstream.binance.rest import open_session
from quantstream.core.errors import DataRejected, Unavailable
from quantstream.core.instrument import DELISTED, TRADING, Instrument
from quantstream.core.time import utc
from quantstream.core.trade import is_symbol
from quantstream.lake.instruments import TABLE, History, history, instrument_rows
from quantstream.lake.store import Lake, Step
from streaming.backfill.download import FIRST_PAUSE, LONGEST_PAUSE, TIMEOUT, TRIES
from streaming.backfill.imports import midnight

SOURCE = APPLICATION = "archive"
AT_ONCE = 8  # requests
LATE = timedelta(days=4)  # the archive may be so far behind: a symbol whose files end later may live
MOST_BYTES = 16 << 20  # of a page: a thousand keys are 300 kB
DAY = re.compile(r"-(\d{4}-\d\d(?:-\d\d)?)\.zip$")


class Life(NamedTuple):
    """The days that the archive has of a symbol, both included."""

    first: date
    last: date


class ArchiveListing:
    """The listing of one market of an archive, at the address of the object store that it lies in."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        market: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.session, self.base, self.market, self.sleep = session, base, market, sleep
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def symbols(self) -> list[str]:
        """Return all symbols that the archive has days of. Raises: Unavailable, DataRejected."""
        prefix = f"data/{self.market}/daily/klines/"
        names = [name.removeprefix(prefix).rstrip("/") async for name in self._names(prefix, "/")]
        return [name for name in names if is_symbol(name)]

    async def life(self, symbol: str) -> Life | None:
        """Return the first and the last day of a symbol, None when it has none. Raises: Unavailable, DataRejected."""
        folder = f"{symbol}/1d/{symbol}-1d-"
        months = [DAY.search(name) async for name in self._names(f"data/{self.market}/monthly/klines/{folder}")]
        periods = sorted(found[1] for found in months if found)
        if not periods:
            days = await self._days(folder)
            return Life(days[0], days[-1]) if days else None
        first = await self._days(f"{folder}{periods[0]}") or [date.fromisoformat(f"{periods[0]}-01")]
        last = [*first, *await self._days(f"{folder}{periods[-1]}"), *await self._days(folder + _next(periods[-1]))]
        return Life(first[0], last[-1])

    async def _days(self, folder: str) -> list[date]:
        found = [DAY.search(name) async for name in self._names(f"data/{self.market}/daily/klines/{folder}")]
        return sorted(date.fromisoformat(day[1]) for day in found if day and len(day[1]) == len("2024-01-31"))

    async def _names(self, prefix: str, delimiter: str = "") -> AsyncIterator[str]:
        """Yield keys, or common prefixes, below a prefix, page by page."""
        marker = ""
        while True:
            root = await self._page({"prefix": prefix, "delimiter": delimiter, "marker": marker})
            names = [element.text or "" for element in root.iterfind(".//{*}Key")]
            names += [element.text or "" for element in root.iterfind(".//{*}CommonPrefixes/{*}Prefix")]
            for name in names:
                yield name
            if not names or (root.findtext("{*}IsTruncated") or "") != "true":
                return
            marker = max(names)

    async def _page(self, query: Mapping[str, str]) -> ElementTree.Element:
        pause, reason = FIRST_PAUSE, ""
        for attempt in range(TRIES):
            if attempt:
                await self.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            try:
                async with self._slots, self.session.get(self.base, params=query, timeout=TIMEOUT) as answer:
                    text = await answer.content.read(MOST_BYTES) if answer.status != 200 else await answer.read()
                if answer.status == 200:
                    return _parsed(text, self.base)
                reason = f"HTTP {answer.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
        raise Unavailable(f"the archive's listing at {self.base} did not answer in {TRIES} tries: {reason}")


def _parsed(text: bytes, base: str) -> ElementTree.Element:
    try:
        if b"<!DOCTYPE" in text[:1000] or b"<!ENTITY" in text[:1000]:
            raise DataRejected(f"what answers at {base} is no listing; see QUANTSTREAM_ENDPOINTS__ARCHIVE_LISTING")
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataRejected(
            f"what answers at {base} is no listing ({error}); see QUANTSTREAM_ENDPOINTS__ARCHIVE_LISTING"
        ) from None


def _next(month: str) -> str:
    return f"{(date.fromisoformat(f'{month}-01') + timedelta(days=32)):%Y-%m}"


async def lives_of(base: str, market: str, wanted: Callable[[str], bool]) -> dict[str, Life]:
    """Return the days of each wanted symbol that the archive has. Raises: Unavailable, DataRejected."""
    async with open_session(base) as session:
        listing = ArchiveListing(session, base, market)
        names = [name for name in await listing.symbols() if wanted(name)]
        lives = await asyncio.gather(*(listing.life(name) for name in names))
    return {name: life for name, life in zip(names, lives, strict=True) if life is not None}


def note_lives(lake: Lake, base: str, market: str, known_at: int) -> list[str]:
    """Write since when symbols were listed, and until when those that died, as the archive's files tell; say it, a sentence each.

    Symbols of which that is noted already are not asked for again. Raises: DataRejected when nobody has looked at the exchange's
    list yet, without which the living cannot be told from the dead; Unavailable; Fenced.
    """
    before, listings = lake.progress(TABLE, APPLICATION), history(lake)
    now = listings.at(known_at)
    if listings.known_since is None:
        raise DataRejected("nobody has looked at the exchange's list yet; do that first, with --refresh")
    rows = lake.read(TABLE).to_pylist()
    done = {row["symbol"] for row in rows if row["source"] == SOURCE}
    lives = asyncio.run(lives_of(base, market, lambda name: name not in done))
    quotes = sorted({state.quote for state in now.values() if state.quote}, key=len, reverse=True)
    states, said = list[tuple[int, Instrument]](), list[str]()
    for symbol, life in sorted(lives.items()):
        is_over = life.last < utc(known_at).date() - LATE and not _trades(now.get(symbol))
        states += _states(symbol, life, is_over, quotes, listings)
        if is_over:
            said.append(f"{symbol} was listed from {life.first} to {life.last}")
    if states:
        tables = [instrument_rows([state], at, known_at, SOURCE) for at, state in states]
        steps = {APPLICATION: Step(before, 0 if before is None else before + 1)}
        lake.append(TABLE, pa.concat_tables(tables), steps)
    return said


def _trades(state: Instrument | None) -> bool:
    return state is not None and state.is_trading


def _states(
    symbol: str, life: Life, is_over: bool, quotes: list[str], listings: History
) -> list[tuple[int, Instrument]]:
    """Return how a symbol stood from when on (µs)."""
    known = listings.states.get(symbol)
    start, end = midnight(life.first), midnight(life.last + timedelta(days=1))
    if known:
        own = replace(known[0][1], status=TRADING, listed_at=start)
    else:
        quote = next((quote for quote in quotes if symbol.endswith(quote) and symbol != quote), "")
        own = Instrument(symbol, TRADING, symbol.removesuffix(quote) if quote else "", quote, listed_at=start)
    found = [] if known and known[0][0] <= start else [(start, own)]
    return [*found, (end, replace(own, status=DELISTED))] if is_over and found else found
