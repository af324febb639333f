"""Which months of a symbol's scores were joined with what came, and up to where: what need not be read again.

It is no truth of its own: each month stands under a digest of what the tables' logs say of all that its rows depend on, and
counts only while that is the same. Who loses it joins everything once more, which writes nothing that is there already.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

import msgspec
from pyarrow.fs import FileType

from quantstream.core.errors import Unavailable
from quantstream.lake.schemas import OUTCOMES
from quantstream.lake.store import UNREADABLE, Lake, files_at

FOLDER = "_joined"  # beside the table's data, under a name that Delta's readers and its vacuum ignore
MONTHS_BACK = 2  # that labels of a month may look back on: thirty days and an hour
log = logging.getLogger(__name__)
Facts = Mapping[str, tuple[int, int]]  # rows and highest revision, by month


class Joined(msgspec.Struct, frozen=True):
    """How far a month's scores are joined. While `lasting` is the same, its tables only grew: what is before `until` stays."""

    seen: str
    following: str  # what was seen of the month after it, whose first hour its last rows wait for
    lasting: str
    whole_on: str  # the day on which the month was last joined from its beginning: rows may come late, into its midst
    until: int  # µs: scores of candles that opened before it are joined, or will never be


@dataclass(frozen=True)
class Stored:
    """What the logs say of one symbol's partitions."""

    scores: Sequence[Facts]  # of each table of scores
    candles: Facts
    held: Sequence[date]  # days of its candles or scores that are in quarantine

    @property
    def months(self) -> list[str]:
        """Months that have scores."""
        return sorted({month for facts in self.scores for month in facts})

    def seen(self, month: str) -> str:
        """Return a digest of all that a month's rows depend on, but the month after it."""
        reach = [_neighbour(month, -step) for step in range(MONTHS_BACK + 1)]
        return _digest([self._scores(month), [self.candles.get(one) for one in reach], self._held(month)])

    def following(self, month: str) -> str:
        """Return a digest of the month after it."""
        return _digest(self.candles.get(_neighbour(month, 1)))

    def lasting(self, month: str) -> str:
        """Return a digest of it that only a correction, another history or the quarantine changes, and no new candle or score."""
        earlier = [self.candles.get(_neighbour(month, -step)) for step in range(1, MONTHS_BACK + 1)]
        corrected = [self.candles.get(_neighbour(month, step), (0, 0))[1] for step in (0, 1)]
        rescored = [facts[1] if facts else 0 for facts in self._scores(month)]
        return _digest([earlier, corrected, rescored, self._held(month)])

    def _scores(self, month: str) -> list[tuple[int, int] | None]:
        return [facts.get(month) for facts in self.scores]

    def _held(self, month: str) -> list[str]:
        first, last = _neighbour(month, -MONTHS_BACK), _neighbour(month, 1)
        return [str(day) for day in sorted(self.held) if first <= f"{day:%Y-%m}" <= last]


def remembered(lake: Lake, symbol: str) -> dict[str, Joined]:
    """Return how far a symbol's months are joined; nothing where nobody knows. Raises: Unavailable."""
    try:
        files, path = files_at(f"{lake.url}/{OUTCOMES}", lake.storage_options), _path(symbol)
        if files.get_file_info(path).type is FileType.NotFound:
            return {}
        with files.open_input_stream(path) as stream:
            return msgspec.json.decode(stream.read(), type=dict[str, Joined])
    except msgspec.MsgspecError as error:
        log.warning(
            "what was joined before cannot be read; all is joined anew", extra={"of": symbol, "why": str(error)}
        )
        return {}
    except UNREADABLE as error:
        raise Unavailable(f"what was joined in {lake.url} cannot be read: {error}") from error


def remember(lake: Lake, symbol: str, joined: Mapping[str, Joined]) -> None:
    """Note how far a symbol's months are joined. Raises: Unavailable."""
    content = msgspec.json.encode(dict(sorted(joined.items())))
    try:
        files = files_at(f"{lake.url}/{OUTCOMES}", lake.storage_options)
        with files.open_output_stream(_path(symbol), buffer_size=max(1 << 16, len(content) + 1)) as stream:
            stream.write(content)
    except UNREADABLE as error:
        raise Unavailable(f"what is joined in {lake.url} cannot be noted: {error}") from error


def _path(symbol: str) -> str:
    return f"{FOLDER}/{quote(symbol, safe='')}.json"


def _neighbour(month: str, step: int) -> str:
    year, number = (int(part) for part in month.split("-"))
    count = year * 12 + number - 1 + step
    return f"{count // 12:04d}-{count % 12 + 1:02d}"


def _digest(facts: object) -> str:
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
