"""The account of every row that was read: in a candle, a duplicate, left out, or named as refused; and of ids that are missing.

Counts are exact however many there are. Names are kept in a file, not in memory: a hostile recording has millions of them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quantstream.core.errors import QuantStreamError
from quantstream.core.trade_ids import Gap

MOST_NAMED = 1_000_000  # names kept; the counts go on
MAX_GAPS_LISTED = 100_000  # gaps kept as values; each has its name besides


def clock(at: int) -> str:
    """Return a time (µs) as people write it."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at)).strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class Account:
    """Rows by what became of them. `rows = placed + duplicates + refused + left out` once a run is over."""

    rows: int = 0
    placed: int = 0
    duplicates: int = 0
    refused: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    gap_count: int = 0
    missing: int = 0  # ids in them
    set_aside: list[str] = field(default_factory=list)  # why whole files were not read
    notes: list[str] = field(default_factory=list)
    named: int = 0
    folder: Path | None = (
        None  # where the names lie, in a file without a name; by default where the system has such files
    )

    def __post_init__(self) -> None:
        self._names = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="backslashreplace", dir=self.folder
        )

    def refuse(self, place: str, reason: str, rows: int = 1) -> None:
        """Note rows that cannot be counted."""
        self.refused += rows
        self._name(f"{place}: {reason}")

    def lose(self, symbol: str, gap: Gap) -> None:
        """Note ids that no row has."""
        kept = self.gaps.setdefault(symbol, [])
        if len(kept) < MAX_GAPS_LISTED:
            kept.append(gap)
        self.gap_count += 1
        self.missing += gap.missing
        self._name(
            f"{symbol}: {gap.missing:,} trade ids missing, {gap.first} to {gap.last}, "
            f"between {clock(gap.after)} and {clock(gap.before)}; "
            "candles they may belong to have is_complete = false"
        )

    def names(self) -> Iterator[str]:
        """Yield what was refused or is missing, a sentence each, in the order in which it was found."""
        self._names.seek(0)
        for line in self._names:
            yield line.rstrip("\n")

    @property
    def is_whole(self) -> bool:
        """Whether nothing was refused and nothing is missing."""
        return not (self.refused or self.gap_count or self.set_aside)

    def close(self) -> None:
        """Make sure that the account adds up.

        Raises: QuantStreamError.
        """
        if self.rows != self.placed + self.duplicates + self.refused + self.left_out.total():
            raise QuantStreamError(
                f"the account does not add up: {self.rows} rows read, {self.placed} in candles, {self.duplicates} duplicates, "
                f"{self.refused} refused, {self.left_out.total()} left out; please report this with the files"
            )

    def _name(self, sentence: str) -> None:
        self.named += 1
        if self.named <= MOST_NAMED:
            self._names.write(sentence.replace("\n", " ") + "\n")
