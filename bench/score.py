"""One closed candle through all four models, and 500 symbols closing at the same instant, on one core.

The models are trained here on made-up candles, once per version of their code, and loaded from their files as the stage does.
From the candle in hand to the scores as bytes; the broker is not in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine, result

CANDLES, QUICK_CANDLES = 200, 5
SYMBOLS, QUICK_SYMBOLS = 500, 3
HISTORY = 13_000  # candles that models are trained on
STEP = 300_000_000  # µs
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scorer:
    """The stage's inside: histories that candles are added to, and the models that judge them."""

    histories: Any  # streaming.histories.CandleHistories
    models: Any  # ml.scoring.ModelSet
    newest: dict[str, Any]  # the last candle of each symbol

    def judge(self, symbols: list[str]) -> list[bytes]:
        """Close one more candle of each symbol and return the scores as bytes."""
        import msgspec

        from ml.scoring import score
        from quantstream.topics import encode

        frames = {}
        for symbol in symbols:
            last = self.newest[symbol]
            candle = msgspec.structs.replace(last, opened_at=last.opened_at + STEP)
            self.newest[symbol] = candle
            self.histories.add(candle)
            frames[symbol] = self.histories.frame(candle)
        return [encode(found) for found in score(self.models, frames, 0)]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--symbols", type=int, default=0, help="how many close at the same instant")
    given = options.parse_args(argv)
    machine.pin()
    candles = QUICK_CANDLES if given.quick else CANDLES
    symbols = given.symbols or (QUICK_SYMBOLS if given.quick else SYMBOLS)
    return result.show(_measure(candles, symbols, given.quick), given.json)


def _measure(candles: int, symbols: int, quick: bool) -> dict[str, Any]:
    models = load_models(cached_models())
    scorer = make_scorer(models, symbols)
    names = list(scorer.newest)
    for _ in range(3):
        scorer.judge(names[:2])
    scored = 0
    taken, worked = [], []  # seconds by the clock, and of the processor
    for _ in range(candles):
        began, used = time.perf_counter(), time.process_time()
        scored += len(scorer.judge(names[:1]))
        taken.append(time.perf_counter() - began)
        worked.append(time.process_time() - used)
    bursts = [_seconds(lambda: scorer.judge(names)) for _ in range(1 if quick else 2)]
    used = time.process_time()
    complete = all(b'"abstained":""' in raw or b"abstained" not in raw for raw in scorer.judge(names))
    burst_cpu = time.process_time() - used
    forest = _forest_alone(models, 5 if quick else 100)
    rows = [
        result.Row(
            "score: one closed candle, all four models, p99",
            "ms",
            round(1000 * _quantile(taken, 0.99), 2),
            20,
            5,
            round(1000 * forest, 2),
            "scikit-learn's forest alone, one row",
            better="lower",
        ),
        result.Row(
            "score: the same, processor time", "ms", round(1000 * _quantile(worked, 0.99), 2), 20, 5, better="lower"
        ),
        result.Row(f"score: {symbols} symbols closing at once", "s", round(min(bursts), 3), 1.0, better="lower"),
        result.Row("score: the same, processor time", "s", round(burst_cpu, 3), 1.0, better="lower"),
    ]
    return result.report(
        "score",
        rows,
        quick,
        p50_ms=round(1000 * _quantile(taken, 0.5), 2),
        p50_cpu_ms=round(1000 * _quantile(worked, 0.5), 2),
        p99_ms=round(1000 * _quantile(taken, 0.99), 2),
        symbols=symbols,
        scored=scored,
        complete=complete,
    )


def _seconds(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _forest_alone(models: Any, times: int) -> float:
    """Return the median time of the library's own scoring of one row, s."""
    import numpy as np

    forest = models.anomaly.model.candles.forest
    row = np.zeros((1, forest.n_features_in_))
    return _quantile([_seconds(lambda: forest.score_samples(row)) for _ in range(times)], 0.5)


def make_scorer(models: Any, symbols: int) -> Scorer:
    """Return histories that are full for every symbol; all symbols trade alike, which costs the same."""
    from quantstream.features import WARMUP
    from quantstream.market import UNIT, Candle
    from streaming.histories import COLUMNS, CandleHistories

    frame = made_up_candles(WARMUP + 2, seed=9)
    for name in COLUMNS:
        frame[name] = frame.get(name, 1.0)
    histories = CandleHistories("5m", WARMUP + 1, lambda symbol, start, end: frame.iloc[:-1])
    row = frame.iloc[-1]
    opened_at = int(row["opened_at"].value // 1000)
    prices = [int(row[name] * UNIT) for name in ("open", "high", "low", "close", "volume")]
    newest = {}
    for number in range(symbols):
        symbol = f"SYM{number:04d}USDT"
        first, high, low, close, volume = prices
        sums = (volume, 10**18, 1, volume // 2, 10**17)
        candle = Candle(symbol, "5m", opened_at, first, high, low, close, *sums, 1, 1, True)
        histories.add(candle)
        histories.frame(candle)
        newest[symbol] = candle
    return Scorer(histories, models, newest)


def made_up_candles(count: int, seed: int) -> Any:
    """Return a frame of candles of a walk whose volatility clusters and has a daily season."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    level = np.zeros(count)
    shocks = rng.normal(0, 0.1, count)
    for i in range(1, count):
        level[i] = 0.97 * level[i - 1] + shocks[i]
    season = 1 + 0.5 * np.sin(2 * np.pi * np.arange(count) / 288)
    close = 100 * np.exp(np.cumsum(0.001 * np.exp(level) * season * rng.standard_t(5, count)))
    opened = np.concatenate([[100.0], close[:-1]])
    spread = np.exp(np.abs(rng.normal(0, 0.0005, count)))
    volume = np.exp(rng.normal(2, 0.5, count))
    return pd.DataFrame(
        {
            "opened_at": pd.date_range("2024-01-01", periods=count, freq="5min", tz="UTC"),
            "open": opened,
            "high": np.maximum(opened, close) * spread,
            "low": np.minimum(opened, close) / spread,
            "close": close,
            "volume": volume,
            "taker_buy_volume": volume * rng.uniform(0.3, 0.7, count),
        }
    )


def cached_models() -> Path:
    """Return the folder of the four trained models; they are trained anew when the code that fits them changed."""
    sources = sorted([*(ROOT / "ml").rglob("*.py"), *(ROOT / "quantstream" / "features").rglob("*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "quantstream" / "bench"
    folder = cache / f"models-{digest}"
    if not folder.exists():
        part = cache / f"part-{os.getpid()}"
        _train(part)
        part.replace(folder)
    for old in cache.glob("models-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _train(folder: Path) -> None:
    import numpy as np

    from ml import dataset, train
    from ml.models import base

    sys.stderr.write("training the four models once; this takes a minute\n")
    data = dataset.build({f"SYM{seed}": made_up_candles(HISTORY, seed) for seed in range(2)}, 2016)
    for kind in train.MODELS:
        rows, label = train.usable_rows(kind, data)
        task = train.Task(kind, data, dataset.split(data, rows, label))
        if kind == "anomaly":
            from ml.models import anomaly

            ordinary = np.random.default_rng(1).normal(size=(5_000, 5))
            model: base.Model = anomaly.fit(ordinary, data.matrix(task.split.fit, anomaly.NAMES))
        else:
            model = train.fit(task)
        base.save(model, folder / kind)


def load_models(folder: Path) -> Any:
    """Return the models as the registry would."""
    from ml.loaded import LoadedModel
    from ml.models import base
    from ml.scoring import KINDS, ModelSet
    from quantstream import features

    models = {
        kind: LoadedModel(f"quantstream-{kind}", "1", features.FEATURE_HASH, base.load(folder / kind)) for kind in KINDS
    }
    for loaded in models.values():
        loaded.warm()
    return ModelSet(**models)


if __name__ == "__main__":
    sys.exit(main())
