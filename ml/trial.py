"""Models judged on folders of candles: fitted on one, held against another that begins where the first ends.

So that anyone can check the figures on data of their own choice, without a lake, a registry or a network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ml import dataset, train
from ml.dataset import Dataset, Split
from quantstream import features
from quantstream.errors import DataRejected, Misconfigured

KINDS = ("risk", "signal", "forecast")  # an anomaly needs trades
SUFFIX = "_5m.parquet"
CALIBRATED_SHARE = 0.12  # of the first folder's time, its end


def run(fit_on: Path, judge_on: Path, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Return `{kind: {"pooled": …, "symbols": {…}, "seconds": {"fit": …}}}`.

    Rows of the second folder that are not after the end of the first serve as warm-up only, and so do all rows of symbols
    that the first does not know. Raises: Misconfigured for a folder or a kind, DataRejected for candles that do not do.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise Misconfigured(f"{unknown[0]!r} cannot be judged on candles; choose from {', '.join(KINDS)}")
    early, late = read_folder(fit_on), read_folder(judge_on)
    end = max(int(features.opened_at_us(frame)[-1]) for frame in early.values())
    data = dataset.build({symbol: _joined(early.get(symbol), late.get(symbol)) for symbol in early | late})
    result = {}
    for kind in kinds:
        task = _task(kind, data, end, set(early), set(late))
        began = time.monotonic()
        model = train.fit(task)
        seconds = time.monotonic() - began
        fields = train.judge(task, model).fields()
        result[kind] = {**fields, "seconds": {"fit": round(seconds, 2)}}
    return result


def table(result: Mapping[str, Any]) -> str:
    """Return the pooled figures as lines a person reads."""
    lines = []
    for kind, found in result.items():
        lines.append(f"{kind}: {found['rows']:,} rows judged, fitted in {found['seconds']['fit']} s")
        lines += [f"  {name:26} {value:10.4f}" for name, value in found["pooled"].items()]
    return "\n".join(lines)


def read_folder(folder: Path) -> dict[str, pd.DataFrame]:
    """Return each symbol's candles from `SYMBOL_5m.parquet` files with `open_time` or `opened_at`, in time order.

    Raises: Misconfigured when there are none or a file is not Parquet.
    """
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not files:
        raise Misconfigured(f"{folder} holds no SYMBOL{SUFFIX}; name a folder of five-minute candles")
    frames = {}
    for file in files:
        try:
            frame = pd.read_parquet(file).rename(columns={"open_time": "opened_at"})
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Misconfigured(f"{file} is not a Parquet file: {error}") from error
        if "opened_at" not in frame.columns or not len(frame):
            raise Misconfigured(f"{file} holds no candles with a column open_time")
        frames[file.name.removesuffix(SUFFIX)] = frame.sort_values("opened_at").drop_duplicates("opened_at")
    return frames


def _joined(early: pd.DataFrame | None, late: pd.DataFrame | None) -> pd.DataFrame:
    parts = [
        frame.assign(opened_at=pd.to_datetime(frame["opened_at"], utc=True))
        for frame in (early, late)
        if frame is not None
    ]
    joined = pd.concat(parts).drop_duplicates("opened_at", keep="first").sort_values("opened_at")
    return joined.reset_index(drop=True)


def _task(kind: str, data: Dataset, end: int, fitted: set[str], judged: set[str]) -> train.Task:
    rows, label = train.usable_rows(kind, data)
    if not len(rows):
        raise DataRejected(f"no candle has all that the {kind} model needs: 30 days of history and more are needed")
    begin = int(data.opened_at[rows].min())
    second = end + features.STEP_US
    parts = dataset.split_at(data, rows, label, int(second - CALIBRATED_SHARE * (second - begin)), second)
    known = np.array([symbol in fitted for symbol in data.symbols])[data.symbol]
    asked = np.array([symbol in judged for symbol in data.symbols])[data.symbol]
    split = Split(parts.fit[known[parts.fit]], parts.calibrate[known[parts.calibrate]], parts.judge[asked[parts.judge]])
    if not (len(split.fit) and len(split.calibrate) and len(split.judge)):
        raise DataRejected(
            "the second folder must go on after the end of the first, and the first hold two months at least"
        )
    return train.Task(kind, data, split)
