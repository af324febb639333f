"""`python -m bench.history.learning_curve FOLDER`: what models gain from more rows, fitted on ever more and judged on the same.

FOLDER holds candles, `SYMBOL_5m.parquet` each. Every kind is split by time as in the pipeline; of the fit's part so many rows are
drawn, evenly and by the same seed. Each fit is a line of JSON: the loss that the kind is judged by (lower is better), what it is
better by than with the fewest rows, and the processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ml import measures
from ml.data import dataset
from ml.evaluation.judgement import serve
from ml.models import base, forecast, risk, signal
from ml.models.forecast import ForecastOptions
from ml.models.parts.network import LEVELS
from ml.models.risk import RiskOptions
from ml.models.signal import SignalOptions
from ml.training import train, trial
from ml.training.train import Options

ROWS = (50_000, 100_000, 200_000, 400_000)
OPTIONS: dict[str, Callable[[int], Options]] = {
    "signal": lambda rows: Options(signal=SignalOptions(most_rows=rows)),
    "risk": lambda rows: Options(risk=RiskOptions(most_rows=rows)),
    "forecast": lambda rows: Options(forecast=ForecastOptions(most_rows=rows, size_rows=rows)),
}


def loss_of(task: train.Task, model: base.Model) -> float:
    """Return what a kind is judged by, on the task's later rows, as it serves: log loss, Brier score, pinball loss in bp."""
    rows, data = task.split.judge, task.data
    predicted = serve(model, data, rows)
    if task.kind == "signal":
        return measures.log_loss(data.labels[signal.LABEL][rows].astype(int), predicted)
    if task.kind == "risk":
        return measures.brier(data.labels[risk.LABEL][rows], predicted)
    pairs = [(data.labels[label][rows], predicted[:, i]) for i, label in enumerate(forecast.LABELS)]
    return 1e4 * sum(measures.pinball(actual, quantiles, LEVELS) for actual, quantiles in pairs) / len(pairs)


def main(arguments: list[str] | None = None) -> int:
    """Fit and judge, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", default="signal,risk")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    asked = parser.parse_args(arguments)
    data = dataset.build(trial.read_folder(asked.folder))
    for kind in asked.kinds.split(","):
        task, fewest = train.prepare(kind, data), None
        for rows in map(int, asked.rows.split(",")):
            began = time.process_time()
            model = train.fit(task, OPTIONS[kind](rows))
            seconds = time.process_time() - began
            loss = loss_of(task, model)
            fewest = loss if fewest is None else fewest
            shown = {"kind": kind, "rows": rows, "of": len(task.split.fit), "judged": len(task.split.judge)}
            figures = {
                "loss": round(loss, 6),
                "better_by": round(1 - loss / fewest, 5),
                "processor_s": round(seconds, 1),
            }
            print(json.dumps(shown | figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
