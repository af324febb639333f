"""Which days of which symbol and table are in quarantine, since when, by whom and why: a card of the health page.

The lake's table `quarantine` says so; it is read in the background, for each of its rows is a change since ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from dashboard.background import Background
from dashboard.overview_tables import table
from dashboard.panels import Tile
from quantstream.core.errors import Unavailable
from quantstream.lake.quarantine import Change, quarantine_of
from quantstream.lake.schemas import QUARANTINE, QUARANTINED
from quantstream.lake.store import Lake

READ_EVERY = 30.0  # seconds
SHOWN = 40  # days
Partition = list[Change]  # what holds one symbol's day of one table, the oldest change first


class HeldDays(Background):
    """Keeps what is held now; None until the lake was read."""

    def __init__(self, lake: Lake) -> None:
        super().__init__("quarantine", READ_EVERY)
        self.lake = lake
        self.partitions: list[Partition] | None = None
        self.was_filled = False  # whether anything was ever held

    def turn(self) -> None:
        """Read once; a table that is not there is not made.

        Raises: Unavailable.
        """
        try:
            self.was_filled = self.lake.has(QUARANTINE)
            self.partitions = held_partitions(quarantine_of(self.lake).held())
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        self.trouble = ""


def held_partitions(held: Iterable[Change]) -> list[Partition]:
    """Return what holds each partition, the newest days first."""
    found: dict[tuple[object, ...], Partition] = {}
    for one in held:
        found.setdefault((one.day, one.symbol, one.table), []).append(one)
    return [sorted(found[key], key=lambda one: one.changed_at) for key in sorted(found, reverse=True)]


def quarantine_tiles(partitions: Sequence[Partition]) -> list[Tile]:
    """Return how many days of symbols are held of each table."""
    counts = Counter(changes[0].table for changes in partitions)
    return [
        Tile(
            name.capitalize(), f"{counts[name]:,}", "warn" if counts[name] else "", "days of symbols left out of reads"
        )
        for name in QUARANTINED
    ]


def quarantine_body(partitions: Sequence[Partition] | None, was_filled: bool) -> str:
    """Return the days that are held, each with since when, by whom and why, and the way to the data docs."""
    if partitions is None:
        return '<p class="qs-nothing">asking the lake</p>'
    link = '<p><a href="data_docs" target="_self">data docs: what was asked of each symbol\'s rows, and what failed</a></p>'
    if not partitions:
        told = "no day is in quarantine" if was_filled else "no day was ever in quarantine"
        return f'<p class="qs-nothing">{told}</p>{link}'
    more = (
        f"<p>… and {len(partitions) - SHOWN:,} more: quantstream quarantine list</p>" if len(partitions) > SHOWN else ""
    )
    head = ("Day", "Symbol", "Table", "Since", "By", "Why")
    return table(head, [_row(changes) for changes in partitions[:SHOWN]], "quarantine") + more + link


def _row(changes: Partition) -> list[str]:
    first = changes[0]
    page = quote(f"{first.table}/{first.symbol}/{first.day}")
    others = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    return [
        f'<a href="data_docs?page={page}" target="_self">{first.day}</a>',
        f"<b>{escape(first.symbol)}</b>",
        escape(first.table),
        f"{first.changed_at:%Y-%m-%d %H:%M}",
        escape(", ".join(dict.fromkeys(one.by for one in changes))),
        escape(first.reason) + others,
    ]
