"""Two proofs over every feature and label: none sees the future it must not see, and live equals batch to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.data import labels
from quantstream import features

PLACES = 12  # rows that are tried
BOUNDARY = features.WARMUP
SPOIL = 3.7  # what the future is multiplied with
COLUMNS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


@dataclass(frozen=True)
class Verdict:
    """What a check found: how many numbers of each column were compared, and which column differed first where."""

    compared: dict[str, int]
    faults: list[str]


def lookahead(candles: pd.DataFrame, seed: int = 0) -> Verdict:
    """Spoil all candles after some row: no feature up to it may change, and no label whose end is known by then.

    Raises: DataRejected as `features.compute`.
    """
    before, targets = features.compute(candles), labels.compute(candles)
    compared = dict.fromkeys((*features.NAMES, *labels.HORIZON), 0)
    faults: list[str] = []
    for row in _places(len(candles), seed):
        changed = _spoilt(candles, row, seed)
        after, later = features.compute(changed), labels.compute(changed)
        for name in features.NAMES:
            _compare(name, before[name].iloc[: row + 1], after[name].iloc[: row + 1], compared, faults)
        at = features.opened_at_us(candles)
        for name in labels.HORIZON:
            known = labels.ends_at(at, name) <= at[row] + features.STEP_US
            _compare(name, targets[name][known], later[name][known], compared, faults)
    return Verdict(compared, faults)


def parity(candles: pd.DataFrame, seed: int = 0) -> Verdict:
    """Compute single rows as the live scorer does, from no more than the warm-up: each must equal the batch's exactly.

    Labels are computed from no more than the warm-up and their horizon. Raises: DataRejected as `features.compute`.
    """
    batch, targets = features.compute(candles), labels.compute(candles)
    compared = dict.fromkeys((*features.NAMES, *labels.HORIZON), 0)
    faults: list[str] = []
    at = features.opened_at_us(candles)
    for row in _places(len(candles), seed):
        since = max(int(np.searchsorted(at, at[row] - features.WARMUP * features.STEP_US, side="right")) - 1, 0)
        series = features.series_of(candles.iloc[since : row + 1])
        live = pd.DataFrame(features.newest([series])[0], columns=list(features.NAMES))
        until = int(np.searchsorted(at, at[row] + max(labels.HORIZON.values()) * features.STEP_US, side="right"))
        target = labels.compute(candles.iloc[since:until])
        for name in features.NAMES:
            _compare(name, batch[name].iloc[[row]], live[name], compared, faults)
        for name in labels.HORIZON:
            _compare(name, targets[name].iloc[[row]], target[name].iloc[[row - since]], compared, faults)
    return Verdict(compared, faults)


def synthetic(count: int = features.WARMUP + 600, seed: int = 0) -> pd.DataFrame:
    """Return a seeded random market with a gap in it, for checks where no candles are at hand."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(5, count) * 1e-3))
    opened = np.concatenate([[100.0], close[:-1]])
    wide = np.exp(np.abs(rng.normal(0, 5e-4, count)))
    volume = np.exp(rng.normal(2, 0.5, count))
    prices = {
        "open": opened,
        "high": np.maximum(opened, close) * wide,
        "low": np.minimum(opened, close) / wide,
        "close": close,
    }
    times = pd.date_range("2024-01-01", periods=count, freq="5min", tz="UTC")
    flows = {"volume": volume, "taker_buy_volume": volume * rng.uniform(0.3, 0.7, count)}
    frame = pd.DataFrame({"opened_at": times, **prices, **flows})
    return frame.drop(index=[count - 333, count - 334]).reset_index(drop=True)


def summary(found: Mapping[str, Verdict]) -> list[str]:
    """Return one line a symbol, and one for each fault."""
    lines = []
    for symbol, verdict in found.items():
        total = sum(verdict.compared.values())
        state = "no difference" if not verdict.faults else f"{len(verdict.faults)} differences"
        lines.append(f"{symbol}: {len(verdict.compared)} features and labels, {total:,} numbers compared, {state}")
        lines += [f"  {fault}" for fault in verdict.faults[:20]]
    return lines


def _places(count: int, seed: int) -> list[int]:
    first = min(BOUNDARY, max(count - PLACES - 1, 0))
    return sorted(
        np.random.default_rng(seed).choice(range(first, count), min(PLACES, count - first), replace=False).tolist()
    )


def _spoilt(candles: pd.DataFrame, row: int, seed: int) -> pd.DataFrame:
    changed = candles.copy()
    factors = SPOIL * np.random.default_rng(seed).uniform(0.5, 1.5, max(len(candles) - row - 1, 0))
    for name in COLUMNS:
        if name in changed.columns:
            column = changed[name].to_numpy(dtype=np.float64).copy()
            column[row + 1 :] *= factors
            changed[name] = column
    return changed


def _compare(name: str, one: pd.Series, other: pd.Series, compared: dict[str, int], faults: list[str]) -> None:
    a, b = one.to_numpy(dtype=np.float64), other.to_numpy(dtype=np.float64)
    compared[name] += int(np.isfinite(a).sum())
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if differ.any():
        place = int(np.flatnonzero(differ)[0])
        faults.append(f"{name} is {b[place]!r} instead of {a[place]!r} at row {one.index[place]}")
