"""The one REST client: what ingest awaits and what commands and pipelines call keep to the same weights, waits and refusals."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from quantstream.binance.endpoint_weights import market_of
from quantstream.binance.protocols import NotOffered, UnknownSymbol
from quantstream.binance.rate_limits import Weight
from quantstream.binance.refusals import REFUSED_FOR_NOW, raise_for_good, reason_of, retry_after
from quantstream.binance.time_unit import headers_for
from quantstream.core.errors import BadRecord, Misconfigured, Unavailable

log = logging.getLogger(__name__)
TIMEOUT = aiohttp.ClientTimeout(total=15)
SOON, LONGEST_SOON = 5.0, 40.0  # seconds for an answer that others wait for: more for an exchange that was slow lately
TRIES = 5  # of the live path, which remembers what it could not have and asks again
BATCH_TRIES = 6  # of a pipeline: 16 s in all
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries, doubled each time, unless the exchange says how long
LONGEST_WAIT, BATCH_LONGEST_WAIT = 600.0, 120.0  # seconds of a ban that are waited for; a longer one is said
SPARE = 0.1  # of the weight: kept from gap fill for the clock and for the question who traded
BATCH_SPARE = 0.2  # kept from pipelines for the live path, which fills gaps over the same address
MOST_BYTES = 4 << 20  # of an answer; a thousand trades are 200 kB
LISTING_BYTES = 64 << 20  # of the list of all symbols, about 20 MB
Answer = TypeVar("Answer")


class _Late(Unavailable):
    """An answer did not come in time."""


class RestClient:
    """One host. Keeps below the allowed weight, and waits as long as the exchange says when it refuses nevertheless."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        weight: Weight,
        tries: int = TRIES,
        spare: float = SPARE,
        longest_wait: float = LONGEST_WAIT,
        on_answer: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`base` is the address with its path; `weight` is shared by all that ask this host.

        `spare` is the share of the weight that is left to others; a `Retry-After` beyond `longest_wait` seconds is not
        waited for in here. `tell` hears what is waited for.
        """
        self.base, self.weight = base, weight
        self._session, self._tries, self._spare, self._longest_wait = session, tries, spare, longest_wait
        self._on_answer, self._tell = on_answer, tell
        self._sleep, self._rng = sleep, rng or random.Random()
        self._weights = market_of(base).weights
        self._headers = headers_for(base)
        self._soon = SOON

    async def get(self, path: str, read: Callable[[bytes], Answer], query: Mapping[str, Any]) -> Answer:
        """Ask until it is answered; `read` parses the answer, and a BadRecord of it is a try that failed.

        Raises: Unavailable after the last try or for a long ban; UnknownSymbol, Misconfigured, NotOffered for a refusal for good.
        """
        pause, reason = FIRST_PAUSE, ""
        for attempt in range(self._tries):
            await self._turn(path)
            try:
                return read(await self._once(path, query, TIMEOUT, pause))
            except NotOffered:
                raise
            except (Unavailable, BadRecord) as error:
                reason = str(error)
            if attempt < self._tries - 1:
                self._tell(f"the exchange did not answer {path} ({reason}); trying again")
                if not self.weight.shut_for:
                    await self._sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)
        raise Unavailable(f"the exchange at {self.base} did not answer {path} after {self._tries} tries: {reason}")

    async def get_soon(self, path: str, weight: int, query: Mapping[str, Any]) -> bytes:
        """Ask once, now or not at all.

        Raises: Unavailable, Misconfigured when the exchange refuses what is asked.
        """
        if self.weight.shut_for:
            raise Unavailable(f"the exchange at {self.base} refuses requests for a while")
        if wait := self.weight.reserve(weight):
            raise Unavailable(f"the weight of this minute is used up; {path} has to wait for {wait:.0f} s")
        begun = time.monotonic()
        try:
            answer = await self._once(path, query, aiohttp.ClientTimeout(total=self._soon), FIRST_PAUSE)
        except _Late as error:
            self._soon = min(2 * self._soon, LONGEST_SOON)
            raise Unavailable(f"the exchange at {self.base} did not answer {path}: {error}") from None
        except (Unavailable, BadRecord) as error:
            raise Unavailable(f"the exchange at {self.base} did not answer {path}: {error}") from None
        self._soon = min(max(SOON, 2 * (time.monotonic() - begun)), LONGEST_SOON)
        return answer

    async def _turn(self, path: str) -> None:
        """Return when a request may be sent, and count it."""
        while True:
            if wait := self.weight.shut_for:
                if wait > self._longest_wait:
                    raise Unavailable(f"the exchange at {self.base} answers {path} again in {wait:.0f} s")
            elif not (wait := self.weight.reserve(self._weights[path], 0.0 if path == "/time" else self._spare)):
                return
            self._tell(f"{path} waits for {wait:.0f} s, as long as the exchange wants or until there is weight for it")
            await self._sleep(wait)

    async def _once(self, path: str, query: Mapping[str, Any], within: aiohttp.ClientTimeout, pause: float) -> bytes:
        """Return the body of one answer.

        Raises: Unavailable for a failure that may pass; BadRecord; whatever `raise_for_good` does.
        """
        try:
            async with self._session.get(
                self.base + path, params=query, headers=self._headers, timeout=within
            ) as answer:
                body, status, headers = await _bounded(answer, _most_bytes(path)), answer.status, answer.headers
        except TimeoutError:
            raise _Late(f"nothing came within {within.total:g} s") from None
        except aiohttp.ClientError as error:
            raise Unavailable(str(error) or type(error).__name__) from None
        if (used := headers.get("X-MBX-USED-WEIGHT-1M", "")).isdecimal():
            self.weight.told(int(used))
        self._on_answer()
        if status == 200:
            return body
        if status in REFUSED_FOR_NOW:
            seconds = (retry_after(headers.get("Retry-After", "")) or pause) * self._rng.uniform(1.0, 1.1)
            self.weight.shut(seconds)
            log.warning("the exchange refuses requests for a while", extra={"host": self.base, "seconds": seconds})
        raise_for_good(self.base, path, query.get("symbol") or query.get("symbols", ""), status, body)
        raise Unavailable(f"HTTP {status} {reason_of(body)[1]}".strip())


class BlockingRest:
    """The same client for code that runs in no event loop: backfill, repair, verify. It leaves most weight to the live path."""

    def __init__(
        self,
        address: str,
        tries: int = BATCH_TRIES,
        weight: Weight | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`address` has its path, such as `/api/v3`. With `weight`, `sleep` and `rng` of its own a test waits for nothing."""
        self.address = address.rstrip("/")
        self._weight = weight or Weight(market_of(self.address).limit_at(self.address))
        self.tries, self._sleep, self._rng = tries, sleep, rng or random.Random()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer of one GET.

        Raises: Unavailable after the last try or for a long ban, Misconfigured for a refusal that trying again won't fix.
        """
        return self.ask(path, parse_json, query or {})

    def ask(self, path: str, read: Callable[[bytes], Answer], query: Mapping[str, Any]) -> Answer:
        """Return what `read` makes of the answer of one GET; a BadRecord of it is a try that failed. Raises: as `get`."""
        try:
            return asyncio.run(self._get(path, read, query))
        except UnknownSymbol as error:
            raise UnknownSymbol(f"{error}; correct QUANTSTREAM_SYMBOLS") from None
        except NotOffered as error:  # nobody here can ask otherwise
            raise Misconfigured(str(error)) from None

    async def _get(self, path: str, read: Callable[[bytes], Answer], query: Mapping[str, Any]) -> Answer:
        async with open_session(self.address) as session:
            client = RestClient(
                session,
                self.address,
                self._weight,
                self.tries,
                BATCH_SPARE,
                BATCH_LONGEST_WAIT,
                tell=log.warning,
                sleep=self._sleep,
                rng=self._rng,
            )
            return await client.get(path, read, query)


def open_session(base: str) -> aiohttp.ClientSession:
    """Return a session that goes by the environment's proxy as the exchange's streams do, but not to this machine."""
    return aiohttp.ClientSession(trust_env=not _is_here(urlsplit(base).hostname or ""))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_json(body: bytes) -> Any:
    """Return what an answer says.

    Raises: BadRecord when it is no JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"the answer is no JSON: {error}") from None


def _most_bytes(path: str) -> int:
    return LISTING_BYTES if path == "/exchangeInfo" else MOST_BYTES


async def _bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the answer's body, unpacked.

    Raises: BadRecord before it fills the memory.
    """
    body = bytearray()
    while part := await answer.content.read(MOST_BYTES):
        body += part
        if len(body) > most:
            raise BadRecord(f"an answer of more than {most} bytes")
    return bytes(body)
