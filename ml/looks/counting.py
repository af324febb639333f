"""How often somebody looked before: the number of a look, how many candidates were tried, and what that leaves of an edge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import stdev
from typing import Any

import msgspec

from ml.looks.deflation import deflated, deflated_sharpe, stretch
from ml.looks.look import Look
from ml.looks.table import Record, Written

SHARPE = ("sharpe", "sharpe_periods", "sharpe_skew", "sharpe_kurtosis")  # of a period, as judgements name them


def counted(written: Written, look: Look) -> dict[str, Any]:
    """Return what an evaluation says of its own look, as JSON values.

    It counts the looks at models of the same kind that saw candles of the same symbols and times, this one included.
    """
    number, tried = _count(written.record.lines, written.looks, look)
    found: dict[str, Any] = {"number": number, "tried": tried, "is_recorded": not written.trouble, "line": look.number}
    found |= {"hash": look.hash, "data_hash": look.data_hash, "faults": list(written.record.faults)}
    return found | {"sentence": sentence(found, written.trouble)}


def _count(before: Sequence[Look], now: Sequence[Look], look: Look) -> tuple[int, int]:
    """Return how many looks there were with this one, and at how many candidates."""
    seen = _until(before, now, look)
    return len(seen), len({one.candidate for one in seen})


def _until(before: Sequence[Look], now: Sequence[Look], look: Look) -> list[Look]:
    """Return this look and those before it at models of its kind that saw some of its candles."""
    earlier = [*before, *now[: next(i for i, one in enumerate(now) if one is look)]]
    return [*(one for one in earlier if one.kind == look.kind and one.shares_rows(look)), look]


def sharpes_of(written: Written, look: Look) -> list[float]:
    """Return the Sharpe ratio of each candidate that was tried, the newest one where it was tried more than once."""
    seen = _until(written.record.lines, written.looks, look)
    told = {one.candidate: json.loads(one.figures or "{}").get("sharpe") for one in seen}
    return [float(one) for one in told.values() if one is not None]


def sentence(found: Mapping[str, Any], trouble: str) -> str:
    """Say it in a sentence or two."""
    if trouble:
        return (
            f"This look at held-out data could not be recorded, so nobody can say how many there were before: {trouble}"
        )
    tried = found["tried"]
    said = f"This is look number {found['number']} at these held-out rows or some of them; "
    said += "1 candidate was tried" if tried == 1 else f"{tried} different candidates were tried"
    if found["faults"]:
        more = f", and {len(found['faults']) - 1} faults more" if found["faults"][1:] else ""
        said += f". The record of looks is damaged ({found['faults'][0]}{more}): there were at least so many"
    return said


def deflation(pooled: Mapping[str, float], count: Mapping[str, Any], sharpes: Sequence[float] = ()) -> dict[str, Any]:
    """Return the bounds of all figures that have some, and the deflated Sharpe ratio where a judgement has one: JSON values.

    `sharpes` are those of the candidates tried, this one included, as far as they were recorded.
    """
    tried = int(count["tried"])
    found: dict[str, Any] = {
        "tried": tried,
        "method": "Bonferroni (Dunn 1961)",
        "wider_by": stretch(tried),
        "bounds": deflated(pooled, tried),
    }
    if "sharpe" in pooled and "sharpe_periods" in pooled:
        given = {name: float(pooled[name]) for name in SHARPE if name in pooled}
        shape = {name: given[f"sharpe_{name}"] for name in ("skew", "kurtosis") if f"sharpe_{name}" in given}
        spread = stdev(sharpes) if len(sharpes) > 1 else None
        chance = deflated_sharpe(given["sharpe"], int(given["sharpe_periods"]), tried, spread, **shape)
        found["deflated_sharpe"] = chance if isfinite(chance) else None
    return found


def lines(record: Record) -> list[str]:
    """Return all looks as lines a person reads, then what is wrong with their record."""
    found = [
        f"{one.number:4} {one.looked_at:%Y-%m-%d %H:%M} {one.kind:8} {one.role:9} {one.candidate}: {one.rows:,} rows of "
        f"{len(one.symbols)} symbols, {one.first:%Y-%m-%d} to {one.last:%Y-%m-%d}, {one.data_hash[:8]}; {one.by}, {one.code}"
        for one in record.lines
    ]
    tried = {
        one.kind: len({other.candidate for other in record.lines if other.kind == one.kind}) for one in record.lines
    }
    whole = ", ".join(f"{count} of {kind}" for kind, count in sorted(tried.items()))
    found.append(f"{len(record.lines)} looks at held-out data; candidates tried: {whole or 'none'}")
    return found + [f"DAMAGED: {fault}" for fault in record.faults]


def as_fields(record: Record) -> dict[str, Any]:
    """Return all looks as JSON values."""
    each = [msgspec.to_builtins(one) for one in record.lines]
    readable = [one | {name: json.loads(one[name] or "{}") for name in ("settings", "figures")} for one in each]
    return {"looks": readable, "faults": list(record.faults)}
