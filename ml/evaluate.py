"""Honest judgement of a fitted model on the held-out tail, always beside the baselines a simple mind would use.

Baselines are fitted on the same part as the model. Returns are judged, never price levels; probabilities by proper scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ml import fat_fingers, labels, metrics
from ml.dataset import Dataset, Rows, Split, thin
from ml.models import forecast, logistic, risk, signal
from ml.models.anomaly import AnomalyModel
from ml.models.base import Model
from quantstream.market import Trade
from quantstream.windows import Floats

HAR_SHORT = risk.HAR[:3]  # what a forecast knows of: a day back
JUDGED_ROWS = 40_000  # sequences are memory: enough for three digits
SEED = 1


@dataclass(frozen=True)
class Report:
    """Figures of one model on held-out data: pooled, and by symbol."""

    kind: str
    metrics: dict[str, float]
    symbols: dict[str, dict[str, float]] = field(default_factory=dict)
    judged_from: int = 0  # µs
    judged_to: int = 0  # µs
    rows: int = 0

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": self.kind,
            "pooled": self.metrics,
            "symbols": self.symbols,
            "judged_from_us": self.judged_from,
            "judged_to_us": self.judged_to,
            "rows": self.rows,
        }


def windows_of(model: Model, data: Dataset, rows: Rows) -> Floats:
    """Return (rows, length, names): what a model reads of some rows."""
    return data.sequences(rows, model.names, model.length)


def judge_risk(model: Model, data: Dataset, split: Split) -> Report:
    """AUC, Brier score and calibration of the abnormal hour, against the HAR logit and the base rate."""
    fitted_on = np.concatenate([split.fit, split.calibrate])
    har = risk.har_logit(data, fitted_on)
    rate = float(data.labels[risk.LABEL][fitted_on].mean())
    probability = model.predict(windows_of(model, data, split.judge))
    simple = har.probabilities(data.matrix(split.judge, risk.NAMES))[:, 1]

    def figures(part: npt.NDArray[np.bool_]) -> dict[str, float]:
        actual = data.labels[risk.LABEL][split.judge][part]
        return {
            "auc": metrics.auc(actual, probability[part]),
            "auc_har": metrics.auc(actual, simple[part]),
            "brier": metrics.brier(actual, probability[part]),
            "brier_har": metrics.brier(actual, simple[part]),
            "brier_base": metrics.brier(actual, np.full(len(actual), rate)),
            "ece": metrics.calibration_error(actual, probability[part]),
            "rate": float(actual.mean()),
        }

    return _report("risk", data, split.judge, figures)


def judge_signal(model: Model, data: Dataset, split: Split) -> Report:
    """Log loss and calibration of the three actions against base rates and a plain logistic; what the actions would earn."""
    assert isinstance(model, signal.SignalModel)
    actual = data.labels[signal.LABEL].astype(np.float64)
    fitted_on = np.concatenate([split.fit, split.calibrate])
    classes = actual[fitted_on].astype(int)
    base = np.bincount(classes, minlength=3) / len(classes)
    simple = logistic.fit(data.matrix(fitted_on, model.names), classes, 3)
    windows = windows_of(model, data, split.judge)
    probability = model.predict(windows)
    straight = simple.probabilities(data.matrix(split.judge, model.names))
    side = np.array([{"Buy": 1, "Hold": 0, "Sell": -1}[act] for act in model.actions(windows, probability)])
    moved = data.labels["return_1h"][split.judge]

    def figures(part: npt.NDArray[np.bool_]) -> dict[str, float]:
        came = actual[split.judge][part].astype(int)
        taken = side[part] != 0
        earned = side[part][taken] * moved[part][taken] - labels.COST
        earned = earned[np.isfinite(earned)]
        return {
            "log_loss": metrics.log_loss(came, probability[part]),
            "log_loss_base": metrics.log_loss(came, np.tile(base, (len(came), 1))),
            "log_loss_logistic": metrics.log_loss(came, straight[part]),
            "ece": float(
                np.mean(
                    [metrics.calibration_error((came == k).astype(float), probability[part][:, k]) for k in range(3)]
                )
            ),
            "trades": float(taken.sum()),
            "net_bp_per_trade": float(earned.mean() * 1e4) if len(earned) else 0.0,
            "hold_share": float(1 - taken.mean()),
        }

    return _report("signal", data, split.judge, figures)


def judge_forecast(model: Model, data: Dataset, split: Split) -> Report:
    """Pinball loss, coverage and rank correlation per horizon against HAR-scaled and unscaled empirical quantiles."""
    rows = thin(split.judge, JUDGED_ROWS, SEED)
    predicted = model.predict(windows_of(model, data, rows))
    fitted_on = np.concatenate([split.fit, split.calibrate])
    baselines = {label: _har_quantiles(data, fitted_on, rows, label) for label in forecast.LABELS}

    def figures(part: npt.NDArray[np.bool_]) -> dict[str, float]:
        held = [
            metrics.coverage(data.labels[label][rows][part], predicted[part, h, 0], predicted[part, h, -1])
            for h, label in enumerate(forecast.LABELS)
        ]
        found = {"coverage_90": float(np.mean(held))}
        for h, (horizon, label) in enumerate(zip(forecast.HORIZONS, forecast.LABELS, strict=True)):
            actual, ours = data.labels[label][rows][part], predicted[part, h]
            har, plain = (quantiles[part] for quantiles in baselines[label])
            loss = metrics.pinball(actual, ours, forecast.LEVELS)
            found[f"pinball_{horizon}_bp"] = loss * 1e4
            found[f"pinball_skill_{horizon}"] = _skill(loss, metrics.pinball(actual, har, forecast.LEVELS))
            found[f"pinball_skill_plain_{horizon}"] = _skill(loss, metrics.pinball(actual, plain, forecast.LEVELS))
            found[f"coverage_90_{horizon}"] = held[h]
            found[f"rank_ic_{horizon}"] = metrics.rank_correlation(actual, ours[:, 2])
        return found

    return _report("forecast", data, rows, figures)


def _skill(loss: float, baseline: float) -> float:
    return 1 - loss / baseline if baseline > 0 else 0.0


def _har_quantiles(data: Dataset, fitted_on: Rows, rows: Rows, label: str) -> tuple[Floats, Floats]:
    """Empirical quantiles of past returns scaled by a HAR regression of their size, and unscaled: (rows, levels) each."""
    past = data.labels[label][fitted_on]
    design = np.column_stack([np.ones(len(fitted_on)), data.matrix(fitted_on, HAR_SHORT)])
    size = np.log(np.maximum(np.abs(past), 1e-6))
    weights = np.linalg.lstsq(design, size, rcond=None)[0]
    unit = np.exp(design @ weights)
    scaled = np.quantile(past / unit, forecast.LEVELS)
    now = np.exp(np.column_stack([np.ones(len(rows)), data.matrix(rows, HAR_SHORT)]) @ weights)
    plain = np.quantile(past, forecast.LEVELS)
    return now[:, None] * scaled, np.tile(plain, (len(rows), 1))


def judge_anomaly(model: Model, data: Dataset, split: Split, trades: Sequence[Trade]) -> Report:
    """Recall of fat fingers put into held-out trades, false alarms without them, and how often a candle is novel."""
    assert isinstance(model, AnomalyModel)
    found = fat_fingers.trial(model, trades, np.random.default_rng(SEED))
    novelty = model.predict(windows_of(model, data, split.judge))

    def figures(part: npt.NDArray[np.bool_]) -> dict[str, float]:
        return {"novel_share": float((novelty[part] >= model.threshold).mean())}

    report = _report("anomaly", data, split.judge, figures)
    report.metrics.update(found)
    return report


def _report(
    kind: str, data: Dataset, rows: Rows, figures: Callable[[npt.NDArray[np.bool_]], dict[str, float]]
) -> Report:
    symbol, at = data.symbol[rows], data.opened_at[rows]
    by_symbol = {
        name: figures(symbol == i)
        for i, name in enumerate(data.symbols)
        if (symbol == i).any() and len(data.symbols) > 1
    }
    return Report(kind, figures(np.ones(len(rows), dtype=bool)), by_symbol, int(at.min()), int(at.max()), len(rows))
