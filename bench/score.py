"""One closed candle through all four models, and 500 symbols closing at the same instant, on one core.

The models are trained here on made-up candles, once per version of their code, and loaded from their files as the stage does.
From the candle in hand to the scores as bytes, the stage's memory of outcomes included; the broker is not in it.
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

from bench.measure import machine, result

CANDLES, QUICK_CANDLES = 200, 5
SYMBOLS, QUICK_SYMBOLS = 500, 3
HISTORY = 13_000  # candles that models are trained on
WARM = 4  # rounds before the measured ones
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scorer:
    """The stage's inside: histories that candles are added to, the models that score them, and their earlier predictions."""

    histories: Any  # streaming.score.histories.CandleHistories
    models: Any  # ml.serving.scoring.ModelSet
    memory: Any  # ml.serving.outcome_memory.Memory
    market: list[tuple[int, ...]]  # opened_at and numbers of the candles to come, the same of every symbol
    closed: dict[str, int]  # how many of them each symbol has closed

    def close(self, symbols: list[str]) -> list[Any]:
        """Return the next closed candle of each symbol."""
        from quantstream.core.candle import Candle

        candles = []
        for symbol in symbols:
            opened_at, first, high, low, last, volume, taken = self.market[self.closed[symbol]]
            sums = (volume, 10**18, 1, taken, 10**17)
            candles.append(Candle(symbol, "5m", opened_at, first, high, low, last, *sums, 1, 1, True))
            self.closed[symbol] += 1
        return candles

    def judge(self, candles: list[Any]) -> list[bytes]:
        """Return the scores of closed candles as bytes."""
        from ml.serving.scoring import score
        from quantstream.messages.payloads import encode

        histories = {}
        for candle in candles:
            self.histories.add(candle)
            histories[candle.symbol] = self.histories.series(candle)
        return [encode(found) for found in score(self.models, histories, 0, self.memory)]


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
    bursts = 1 if quick else 3
    scorer = make_scorer(models, symbols, candles + bursts + 2 * WARM)
    names = list(scorer.closed)
    _rounds(scorer, names[:1], WARM)
    alone, scores = _rounds(scorer, names[:1], candles)
    _rounds(scorer, names, WARM - 1)
    at_once, more = _rounds(scorer, names, bursts)
    complete = all(b'"abstained":""' in raw or b"abstained" not in raw for raw in [*scores, *more])
    forest = _forest_alone(5 if quick else 100)
    rows = [
        result.Row(
            "score: one closed candle, all four models, p99",
            "ms",
            round(1000 * _quantile(alone.wall, 0.99), 2),
            20,
            5,
            round(1000 * forest, 2),
            "scikit-learn's forest alone, one row",
            better="lower",
        ),
        result.Row(
            "score: the same, processor time", "ms", round(1000 * _quantile(alone.cpu, 0.99), 2), 20, 5, better="lower"
        ),
        result.Row(
            f"score: {symbols} symbols closing at once",
            "s",
            round(_quantile(at_once.wall, 0.5), 3),
            1.0,
            better="lower",
        ),
        result.Row("score: the same, processor time", "s", round(_quantile(at_once.cpu, 0.5), 3), 1.0, better="lower"),
    ]
    return result.report(
        "score",
        rows,
        quick,
        p50_ms=round(1000 * _quantile(alone.wall, 0.5), 2),
        p50_cpu_ms=round(1000 * _quantile(alone.cpu, 0.5), 2),
        p99_ms=round(1000 * _quantile(alone.wall, 0.99), 2),
        symbols=symbols,
        scored=len(scores),
        complete=complete,
    )


@dataclass(frozen=True)
class Times:
    """Seconds of each round, by the clock and of the processor."""

    wall: list[float]
    cpu: list[float]


def _rounds(scorer: Scorer, symbols: list[str], count: int) -> tuple[Times, list[bytes]]:
    """Close and judge one candle of each symbol, so many times."""
    taken, scores = Times([], []), []
    for _ in range(count):
        candles = scorer.close(symbols)
        began, used = time.perf_counter(), time.process_time()
        scores += scorer.judge(candles)
        taken.wall.append(time.perf_counter() - began)
        taken.cpu.append(time.process_time() - used)
    return taken, scores


def _seconds(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _forest_alone(times: int) -> float:
    """Return the median time of the library's own scoring of one row by a forest of the novelty's size, s."""
    import numpy as np
    from sklearn.ensemble import IsolationForest

    from ml.models import anomaly

    rows = np.random.default_rng(0).normal(size=(anomaly.SAMPLES, len(anomaly.NAMES)))
    forest = IsolationForest(n_estimators=anomaly.TREES, max_samples=anomaly.SAMPLES, random_state=0).fit(rows)
    return _quantile([_seconds(lambda: forest.score_samples(rows[:1])) for _ in range(times)], 0.5)


def make_scorer(models: Any, symbols: int, to_come: int) -> Scorer:
    """Return full histories and memories of every symbol; all symbols trade alike, which costs the same."""
    import numpy as np

    from ml.serving.outcome_memory import HISTORY, Memory
    from quantstream.core.decimals import UNIT
    from quantstream.features import COLUMNS
    from streaming.score.histories import CandleHistories

    frame = made_up_candles(HISTORY + to_come, seed=9)
    later = frame.iloc[HISTORY - 1 :]
    times = later["opened_at"].astype("int64").to_numpy() // (1 if later["opened_at"].dt.unit == "us" else 1000)
    numbers = np.rint(later[list(COLUMNS)].to_numpy() * UNIT).astype(np.int64)
    market = [(int(at), *row) for at, row in zip(times, numbers.tolist(), strict=True)]
    histories = CandleHistories("5m", HISTORY, lambda symbol, start, end: frame.iloc[: HISTORY - 1])
    names = [f"SYM{number:04d}USDT" for number in range(symbols)]
    scorer = Scorer(histories, models, Memory(), market, dict.fromkeys(names, 0))
    scorer.judge(scorer.close(names[:1]))  # builds the memory from the history: half a second
    for symbol in names[1:]:
        for candle in scorer.close([symbol]):
            histories.add(candle)
            histories.series(candle)
    scorer.memory.copy(names[0], {symbol: series for symbol, series in histories.newest() if symbol != names[0]})
    return scorer


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

    from ml.data import dataset
    from ml.models import base
    from ml.training import train
    from quantstream.messages.models import MODEL_KINDS

    sys.stderr.write("training the four models once; this takes a minute\n")
    data = dataset.build({f"SYM{seed}": made_up_candles(HISTORY, seed) for seed in range(2)}, 2016)
    for kind in MODEL_KINDS:
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
    from ml.models import base
    from ml.serving.loaded import LoadedModel
    from ml.serving.scoring import ModelSet
    from quantstream import features
    from quantstream.messages.models import MODEL_KINDS, registered_name

    models = {
        kind: LoadedModel(registered_name(kind), "1", features.FEATURE_HASH, base.load(folder / kind))
        for kind in MODEL_KINDS
    }
    for loaded in models.values():
        loaded.warm()
    return ModelSet(**models)


if __name__ == "__main__":
    sys.exit(main())
