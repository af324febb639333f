"""`repair` as a command: what it looks at, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from quantstream.core.moments import parse_moment
from quantstream.kafka import Reader, partition_counts
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from streaming.reconcile.corrections import Corrector
from streaming.reconcile.repair import Correction, repair
from streaming.reconcile.scope import chosen, exchange_clock, rest_of

BROKER_PATIENCE = 5.0  # seconds
SHOWN = 50  # repairs that are named one by one


def run_repair(settings: Settings, start: str = "1d", symbols: str | None = None) -> tuple[list[Correction], list[str]]:
    """Repair what the texts of a command line ask for; return what was corrected and what went wrong.

    Raises: Misconfigured, Unavailable.
    """
    partition_counts(settings.kafka, BROKER_PATIENCE)
    rest = rest_of(settings)
    since = parse_moment(start, exchange_clock(rest, Lake(settings.lake_url)))
    reader = Reader(settings.kafka)
    try:
        return repair(reader, Corrector(settings.kafka), rest, chosen(settings, symbols), settings.intervals, since)
    finally:
        reader.close()


def repair_lines(corrections: Sequence[Correction], troubles: Sequence[str]) -> list[str]:
    """Return what became of it, in sentences."""
    lines = [str(one) for one in corrections[:SHOWN]]
    lines += [f"… and {len(corrections) - SHOWN:,} more"] if len(corrections) > SHOWN else []
    lines.append(
        f"{len(corrections):,} candles corrected from the exchange's klines." if corrections else "Nothing to correct."
    )
    return lines + [f"Not looked at: {trouble}" for trouble in troubles]
