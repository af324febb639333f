"""Files of the archive over HTTP: in portions, tried again, and held against the checksum that is published beside each."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp

from quantstream.binance.archive import ArchiveFile
from quantstream.core.errors import DataRejected, Unavailable
from streaming.backfill.folder import no_room

TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries, doubled each time
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=15, sock_read=30)
PORTION = 1 << 18  # bytes
MOST_OF_A_SUM = 4096  # bytes


class Fetched(NamedTuple):
    """A file on disk whose bytes are those that the archive says."""

    path: Path
    sha256: str


class NoRoom(Unavailable):
    """A file could not be written."""


class _Again(Exception):
    """This try failed, the next may not."""


class Downloader:
    """Fetches files of one archive into a folder."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        folder: Path,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`base` is the archive's address."""
        self.session, self.base, self.folder, self.sleep = session, base, folder, sleep

    async def fetch(self, file: ArchiveFile) -> Fetched | None:
        """Return a file, None when the archive does not have it.

        Raises: DataRejected when its bytes are others than its checksum says, each time; Unavailable when the archive does not
        answer for long, or there is no room for the file.
        """
        pause, reason, is_damaged = FIRST_PAUSE, "", False
        for attempt in range(TRIES):
            if attempt:
                await self.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE)
            try:
                expected = await self._checksum(file)
                if expected is None:
                    return None
                found = await self._bytes(file)
            except (_Again, aiohttp.ClientError, TimeoutError) as error:
                reason, is_damaged = str(error) or type(error).__name__, False
                continue
            except OSError as error:
                raise NoRoom(no_room(self.folder.parent, error)) from None
            if found is None:
                return None
            if found.sha256 == expected:
                return found
            found.path.unlink(missing_ok=True)
            reason, is_damaged = f"its bytes have the checksum {found.sha256[:12]}… instead of {expected[:12]}…", True
        if is_damaged:
            raise DataRejected(f"{file.name} is not what the archive says, {TRIES} times: {reason}")
        raise Unavailable(f"the archive at {self.base} did not answer for {file.name} in {TRIES} tries: {reason}")

    async def _checksum(self, file: ArchiveFile) -> str | None:
        async with self.session.get(f"{self.base}/{file.path}.CHECKSUM", timeout=TIMEOUT) as answer:
            if not self._is_there(answer):
                return None
            text = (await answer.content.read(MOST_OF_A_SUM)).decode(errors="replace").split()
        if not text or len(text[0]) != 64:
            raise _Again(f"{file.name}.CHECKSUM is no checksum: {' '.join(text)[:80]!r}")
        return text[0].lower()

    async def _bytes(self, file: ArchiveFile) -> Fetched | None:
        path, digest = self.folder / file.name, hashlib.sha256()
        async with self.session.get(f"{self.base}/{file.path}", timeout=TIMEOUT) as answer:
            if not self._is_there(answer):
                return None
            with path.open("wb") as out:
                async for portion in answer.content.iter_chunked(PORTION):
                    digest.update(portion)
                    out.write(portion)
        return Fetched(path, digest.hexdigest())

    def _is_there(self, answer: aiohttp.ClientResponse) -> bool:
        if answer.status in (403, 404):  # storage without the right to list says 403 for what is not there
            return False
        if answer.status != 200:
            raise _Again(f"HTTP {answer.status}")
        return True
