"""Whether the balance of every stage closes, and which symbols' days are not whole: two cards of the health page.

The stages say the first themselves, every two seconds; the second is the lake's table `accounts`, read in the background.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from dashboard import formats
from dashboard.background import Background
from dashboard.overview_tables import table
from dashboard.panels import Tile
from dashboard.stage_status import Stage
from quantstream.core.accounts import OUTCOMES, newest_of_each
from quantstream.core.errors import Unavailable
from quantstream.core.time import utc
from quantstream.lake.store import Lake

READ_EVERY = 30.0  # seconds
LOOK_BACK = timedelta(days=7)  # of the market, before the newest day there is
SHOWN = 40  # days that are not whole
TONES = {"whole": "up", "pending": "flat", "degraded": "warn", "missing": "down"}
Row = dict[str, Any]


class DayConditions(Background):
    """Keeps the newest row of each symbol and day of the last week of the market."""

    def __init__(self, lake: Lake) -> None:
        super().__init__("accounts", READ_EVERY)
        self.lake = lake
        self.rows: list[Row] = []

    def turn(self) -> None:
        """Read once.

        Raises: Unavailable.
        """
        if "://" not in self.lake.url and not (Path(self.lake.url) / "accounts" / "_delta_log").is_dir():
            return  # a page that only reads must not make the table
        try:
            extent = self.lake.extent("accounts")
            start = max((at for _, at in extent.values()), default=utc(0)) - LOOK_BACK
            self.rows = newest_of_each(self.lake.read("accounts", start=start).to_pylist())
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        self.trouble = ""


def stage_balances(stages: Iterable[Stage]) -> str:
    """Return one row for each stage that keeps accounts: whether they close, the records read and their outcomes."""
    rows = [_balance(stage) for stage in stages if stage.value("unbalanced_symbols") is not None]
    if not rows:
        return '<p class="qs-nothing">no stage has said anything of its balance yet</p>'
    return table(("Stage", "Balance", "Read", *(name.capitalize() for name in OUTCOMES)), rows, "balance")


def _balance(stage: Stage) -> list[str]:
    off = int(stage.value("unbalanced_symbols") or 0)
    verdict = f'<b class="down">{off} symbols do not add up</b>' if off else '<span class="up">closes</span>'
    counts = [stage.value("balance_records", outcome=name) for name in ("read", *OUTCOMES)]
    return [f"<b>{escape(stage.name)}</b>", verdict, *(f"{int(count or 0):,}" for count in counts)]


def condition_tiles(rows: Sequence[Row]) -> list[Tile]:
    """Return how many symbols' days are in each condition."""
    counts = Counter(row["condition"] for row in rows)
    return [Tile(name.capitalize(), f"{counts[name]:,}", tone if counts[name] else "") for name, tone in TONES.items()]


def condition_body(rows: Sequence[Row]) -> str:
    """Return the days that are not whole, the newest first, each with why."""
    if not rows:
        return '<p class="qs-nothing">no day was looked at yet: the pipeline candles_verify does it</p>'
    off = sorted((row for row in rows if row["condition"] != "whole"), key=lambda row: (row["day"], row["symbol"]))[
        ::-1
    ]
    if not off:
        return '<p class="qs-nothing">every day of every symbol is whole</p>'
    cells = [
        [
            f"{row['day']:%Y-%m-%d}",
            f"<b>{escape(row['symbol'])}</b>",
            f'<span class="{TONES.get(row["condition"], "down")}">{escape(row["condition"])}</span>',
            f"{row['equal']:,} of {row['candles']:,}",
            escape(row["why"]) or formats.MISSING,
        ]
        for row in off[:SHOWN]
    ]
    more = f"<p>… and {len(off) - SHOWN:,} more in the lake's table accounts</p>" if len(off) > SHOWN else ""
    return table(("Day", "Symbol", "Condition", "Candles equal", "Why"), cells, "conditions") + more
