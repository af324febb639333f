"""Models judged on folders of candles: fitted on one, held against another that begins where the first ends.

So that anyone can check the figures on data of their own choice, without a lake, a registry or a network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.backtest import held_out
from ml.data import dataset
from ml.data.dataset import Dataset, Split
from ml.data.universe import UNKNOWN
from ml.evaluation.judgement import Report
from ml.looks.look import Look
from ml.models.base import Model
from ml.training import train
from ml.training.held_out import Recorder, look_of_hours, look_of_trial, looks_in_lines, told_of_looks
from ml.value_at_risk.backtests import trial_figures
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import (
    MICROSECOND,
    MICROSECONDS_FROM,
    MILLISECOND,
    MILLISECONDS_FROM,
    NANOSECONDS_FROM,
    SECOND,
)
from quantstream.setting_groups import ROUND_TRIP

KINDS = ("risk", "signal", "forecast")  # an anomaly needs trades
TRIED = (*KINDS, trial_figures.KIND)  # value at risk is no model that is trained, and fits each day anew
SUFFIX = "_5m.parquet"
CALIBRATED_SHARE = 0.12  # of the first folder's time, its end
UNITS = (
    (MILLISECONDS_FROM, SECOND),
    (MICROSECONDS_FROM, MILLISECOND),
    (NANOSECONDS_FROM, MICROSECOND),
)  # numbers below so much count s, ms, µs; in µs each


@dataclass(frozen=True)
class Span:
    """What is judged: after `end`, up to `until` (opening times, µs)."""

    end: int
    until: int


def run(
    fit_on: Path,
    judge_on: Path,
    kinds: Sequence[str] = KINDS,
    folds: int = 1,
    cost: float = ROUND_TRIP,
    record: Recorder | None = None,
) -> dict[str, Any]:
    """Return `{kind: {"pooled": …, "symbols": {…}, …}, "seconds": {"fit": all, kind: …}}`.

    Rows of the second folder that are not after the end of the first serve as warm-up only. Symbols that the first does not know
    are judged like the others. With `folds` the second folder's time is cut into as many parts, and for each the models are
    fitted anew on all before it (walk-forward, purged and embargoed); the figures of the parts follow under `folds`, those under
    `kind` are of the last. The signal acts where entering and leaving cost `cost`, a share of the price. `record` takes the looks
    at held-out rows down before any figure is told; each kind then has `looks` and `deflated`.

    Raises: Misconfigured for a folder or a kind, DataRejected for candles that do not do.
    """
    if unknown := [kind for kind in kinds if kind not in TRIED]:
        raise Misconfigured(f"{unknown[0]!r} cannot be judged on candles; choose from {', '.join(TRIED)}")
    if folds < 1:
        raise Misconfigured(f"{folds} folds are none; ask for 1 or more")
    early, late = read_folder(fit_on), read_folder(judge_on)
    end = max(int(features.opened_at_us(frame)[-1]) for frame in early.values())
    last = max(int(features.opened_at_us(frame)[-1]) for frame in late.values())
    candles = {symbol: _joined(early.get(symbol), late.get(symbol)) for symbol in early | late}
    data = dataset.build(candles)
    result: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    looks: dict[str, Look] = {}
    for kind in kinds:
        if kind == trial_figures.KIND:
            began = time.monotonic()
            span = end + features.STEP_US, last + features.STEP_US
            result[kind] = trial_figures.trial({symbol: candles[symbol] for symbol in late}, *span)
            looks[kind] = look_of_hours(kind, result[kind]["pooled"], data, span, late, judge_on)
            seconds[kind] = round(time.monotonic() - began, 2)
            continue
        parts, judged = [], []
        for fold in range(folds):
            edges = [end + (last - end) * i // folds for i in (fold, fold + 1)]
            task = _task(
                kind, data, Span(edges[0], edges[1]), set(early) if folds == 1 else set(early | late), set(late)
            )
            began = time.monotonic()
            model = train.fit(task)
            seconds[kind] = round(time.monotonic() - began, 2)
            part, report = _judged(task, model, candles, cost)
            parts.append(part)
            judged.append((task.split.judge, report))
        looks[kind] = look_of_trial(kind, asdict(getattr(train.Options(), kind)), data, judged, fit_on, judge_on)
        result[kind] = {**parts[-1], **({"folds": [part["pooled"] for part in parts]} if folds > 1 else {})}
    if record is not None:
        told_of_looks(result, looks, record)
    return {**result, "seconds": {"fit": round(sum(seconds.values()), 2), **seconds}}


def _judged(
    task: train.Task, model: Model, candles: Mapping[str, pd.DataFrame], cost: float
) -> tuple[dict[str, Any], Report]:
    """The figures of a model on the late part, of a signal with what acting on it would have earned; and the judgement."""
    report = train.judge(task, model, cost)
    if task.kind != "signal":
        return report.fields(), report
    pooled, account = held_out.ledger_figures(task.data, task.split.judge, report.said, candles, cost)
    report.metrics.update(pooled)
    return {**report.fields(), "ledger": account}, report


def table(result: Mapping[str, Any]) -> str:
    """Return the pooled figures as lines a person reads."""
    lines = []
    for kind, found in result.items():
        if kind == "seconds":
            continue
        lines.append(f"{kind}: {found['rows']:,} rows judged, fitted in {result['seconds'][kind]} s")
        lines += [f"  {name:30} {value:10.4f}" for name, value in found["pooled"].items()]
        lines += looks_in_lines(found)
    return "\n".join([*lines, f"Survivorship: {UNKNOWN}"])


def read_folder(folder: Path) -> dict[str, pd.DataFrame]:
    """Return each symbol's candles from `SYMBOL_5m.parquet` files with `open_time` or `opened_at`, in time order.

    Raises: Misconfigured when there are none or a file is not Parquet.
    """
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not files:
        raise Misconfigured(f"{folder} holds no SYMBOL{SUFFIX}; name a folder of five-minute candles")
    return {file.name.removesuffix(SUFFIX): _read(file) for file in files}


def _read(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Misconfigured(f"{file} is not a Parquet file: {str(error).splitlines()[0]}") from error
    if "opened_at" not in frame.columns:
        frame = frame.rename(columns={"open_time": "opened_at"})
    if absent := [name for name in features.REQUIRED if name not in frame.columns]:
        raise Misconfigured(f"{file} lacks {', '.join(absent).replace('opened_at', 'open_time')}")
    frame = frame[[name for name in ("opened_at", *features.COLUMNS) if name in frame.columns]]
    try:
        numbers = frame.drop(columns="opened_at").astype("float64")
        frame = numbers.assign(opened_at=_times(frame["opened_at"]))
    except (TypeError, ValueError, OverflowError) as error:
        raise Misconfigured(f"{file} holds what is no number or no time: {str(error).splitlines()[0]}") from error
    frame = frame[frame["opened_at"].notna()].sort_values("opened_at").drop_duplicates("opened_at")
    off = (frame["opened_at"].astype("int64") % features.STEP_US != 0).sum()
    if not len(frame) or off:
        what = f"{off} candles that do not open on a full five minutes" if len(frame) else "no candles"
        raise Misconfigured(f"{file} holds {what}")
    return frame.reset_index(drop=True)


def _times(values: pd.Series) -> pd.Series:
    """Return opening times in UTC from times, text, or numbers since 1970 in s, ms, µs or ns (by their size)."""
    if not pd.api.types.is_numeric_dtype(values):
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
    size = float(values.abs().median())
    factor, divisor = next(((factor, 1) for limit, factor in UNITS if size < limit), (1, 1000))
    since = values.to_numpy(dtype=np.int64) // divisor * factor
    return pd.Series(since.view("datetime64[us]"), index=values.index).dt.tz_localize("UTC")


def _joined(early: pd.DataFrame | None, late: pd.DataFrame | None) -> pd.DataFrame:
    parts = [frame for frame in (early, late) if frame is not None]
    joined = pd.concat(parts).drop_duplicates("opened_at", keep="first").sort_values("opened_at")
    return joined.reset_index(drop=True)


def _task(kind: str, data: Dataset, span: Span, fitted: set[str], judged: set[str]) -> train.Task:
    rows, label = train.usable_rows(kind, data)
    if not len(rows):
        raise DataRejected(f"no candle has all that the {kind} model needs: 30 days of history and more are needed")
    begin, second = int(data.opened_at[rows].min()), span.end + features.STEP_US
    first = int(second - CALIBRATED_SHARE * (second - begin))
    parts = dataset.split_at(data, rows[data.opened_at[rows] <= span.until], label, first, second)
    known = np.array([symbol in fitted for symbol in data.symbols])[data.symbol]
    asked = np.array([symbol in judged for symbol in data.symbols])[data.symbol]
    split = Split(parts.fit[known[parts.fit]], parts.calibrate[known[parts.calibrate]], parts.judge[asked[parts.judge]])
    if not (len(split.fit) and len(split.calibrate) and len(split.judge)):
        raise DataRejected(
            f"too few candles to judge the {kind} model: the second folder must go on after the end of the first, each symbol"
            " with 30 days before its first judged candle, and the first folder must hold two months at least"
        )
    return train.Task(kind, data, split)
