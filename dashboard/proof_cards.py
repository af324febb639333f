"""The last proof of the candles, from the lake's table `proofs`: read in the background, shown on the health page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

from dashboard import formats
from dashboard.background import Background
from dashboard.panels import Tile
from quantstream.core.errors import Unavailable
from quantstream.core.time import micros
from quantstream.lake.schemas import PROOF_COUNTS
from quantstream.lake.store import Lake

READ_EVERY = 30.0  # seconds
LOOK_BACK = timedelta(days=8)  # a proof older than this proves nothing of what is shown
STALE_AFTER = timedelta(hours=30)  # proofs are daily, or hourly in the embedded stack


@dataclass(frozen=True)
class ProofResult:
    """One run of the proof over all symbols: when (wall clock, µs), sums of its counts, the first differences, a link."""

    at: int
    counts: dict[str, int]
    differences: tuple[str, ...] = ()
    not_compared: str = ""
    run: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is different, missing or duplicate."""
        return not any(self.counts[name] for name in ("different", "missing", "duplicate", "scored_twice"))


class Proofs(Background):
    """Keeps the newest result; None while there is none."""

    def __init__(self, lake: Lake) -> None:
        super().__init__("proofs", READ_EVERY)
        self.lake = lake
        self.latest: ProofResult | None = None

    def turn(self) -> None:
        """Read once.

        Raises: Unavailable.
        """
        if "://" not in self.lake.url and not (Path(self.lake.url) / "proofs" / "_delta_log").is_dir():
            return  # a page that only reads must not make the table
        try:
            rows = self.lake.read("proofs", start=datetime.now(UTC) - LOOK_BACK).to_pylist()
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        self.latest = newest_proof(rows)
        self.trouble = ""


def newest_proof(rows: Sequence[dict[str, Any]]) -> ProofResult | None:
    """Return the run that was made last, its symbols added up."""
    if not rows:
        return None
    at = max(row["verified_at"] for row in rows)
    run = [row for row in rows if row["verified_at"] == at]
    return ProofResult(
        at=micros(at),
        counts={name: sum(row[name] for row in run) for name in PROOF_COUNTS},
        differences=tuple(f"{row['symbol']} {row['interval']} {text}" for row in run for text in row["differences"]),
        not_compared=run[0]["not_compared"],
        run=run[0]["run"],
    )


def proof_tiles(proof: ProofResult, now: int) -> list[Tile]:
    """Return the counts as tiles; `now` is the wall clock, µs."""
    count, is_stale = proof.counts, now - proof.at > STALE_AFTER // timedelta(microseconds=1)
    verdict = "proved" if proof.is_clean and not proof.not_compared else "in part" if proof.is_clean else "differs"
    tone = {"proved": "up", "in part": "warn", "differs": "down"}[verdict]
    made = f"{formats.stamp(proof.at)} UTC"
    tiles = [
        Tile("Candles", verdict, "warn" if is_stale else tone, proof.not_compared, f"old: {made}" if is_stale else made)
    ]
    tiles.append(Tile("Equal", f"{count['equal']:,}", "up", "equal to their trades and to the exchange's klines"))
    for name in ("different", "missing", "duplicate"):
        tiles.append(Tile(name.capitalize(), f"{count[name]:,}", "down" if count[name] else ""))
    tiles.append(Tile("Incomplete", f"{count['incomplete']:,}", "warn" if count["incomplete"] else ""))
    tiles.append(Tile("Scored once", f"{count['scored_once']:,}", "down" if count["scored_twice"] else ""))
    return tiles


def proof_body(proof: ProofResult | None) -> str:
    """Return the text under the tiles: the first differences and where to look."""
    if proof is None:
        return '<p class="qs-nothing">not proved yet: the pipeline candles_verify does it, or quantstream verify</p>'
    lines = "".join(f"<li>{escape(text)}</li>" for text in proof.differences[:6])
    told = f'<ul class="qs-reasons">{lines}</ul>' if lines else ""
    partly = f"<p>{escape(proof.not_compared)}</p>" if proof.not_compared else ""
    is_link = proof.run.startswith(("http://", "https://"))
    return told + partly + (f'<a href="{escape(proof.run)}" target="_blank">the run</a>' if is_link else "")
