"""The features as a table for people, written from the definitions so that it cannot lie."""

from __future__ import annotations

from quantstream.features.definitions import DEFINITIONS, FEATURE_HASH, WARMUP

HEAD = """# Features

Written by `python -m ml features > docs/FEATURES.md`; a test holds it current. Computed by `quantstream/features/` from
closed five-minute candles up to and including the row's own. *r* is a log return from close to close, *σ* the RMS return of
the last day, *n* the candles of the window, all logs natural. *Reads back* is how far before its own candle a row looks:
nothing older changes it.
"""
STEP_MINUTES = 5


def markdown() -> str:
    """Return the table as Markdown."""
    lines = [
        HEAD,
        f"Hash `{FEATURE_HASH}`, {len(DEFINITIONS)} features, warm-up {WARMUP} candles.\n".replace("\\\n", "\n"),
    ]
    lines += ["| feature | formula | unit | reads back | source | version |", "| --- | --- | --- | --- | --- | --- |"]
    for name, one in DEFINITIONS.items():
        words = one.words.replace("|", "\\|")
        lines.append(f"| `{name}` | {words} | {one.unit} | {_span(one.back)} | {one.source} | {one.version} |")
    return "\n".join(lines) + "\n"


def _span(candles: int) -> str:
    minutes = candles * STEP_MINUTES
    days, hours = divmod(minutes, 1440)
    hours, rest = divmod(hours, 60)
    parts = [f"{amount} {unit}" for amount, unit in ((days, "d"), (hours, "h"), (rest, "min")) if amount]
    return " ".join(parts) or "its own candle"
