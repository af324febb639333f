"""Honest judgement of a fitted model on later data, always beside the baselines a simple mind would use.

Baselines are fitted on the same part as the model. Returns are judged, never price levels; probabilities by proper scores;
what is claimed of a difference has its bounds. The model is judged as it serves: corrected online by its own outcomes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml import measures
from ml.data.dataset import Dataset, Rows, Split
from ml.evaluation import bootstrap, fat_fingers
from ml.evaluation.direction_evaluation import directions_of
from ml.evaluation.forecast_evaluation import judge_forecast
from ml.evaluation.judgement import (
    Chosen,
    Loss,
    Report,
    fitted_on,
    named,
    over,
    predict,
    report_of,
    serve,
    skill_of,
    skills_of,
    windows_of,
)
from ml.models import risk, signal
from ml.models.anomaly import AnomalyModel
from ml.models.base import Model
from ml.models.parts import logistic
from quantstream.core.rolling import Floats
from quantstream.core.trade import Trade
from quantstream.setting_groups import BP, ROUND_TRIP

__all__ = ["Report", "judge_anomaly", "judge_forecast", "judge_risk", "judge_signal", "windows_of"]
SEED = 1
SIDES = {"Buy": 1, "Hold": 0, "Sell": -1}


def judge_risk(model: Model, data: Dataset, split: Split) -> Report:
    """AUC, Brier score and calibration of the abnormal hour, against the HAR logit, last hour's volatility and the base rate."""
    seen, rows = fitted_on(data, split), split.judge
    har = risk.har_logit(data, seen)
    rate = float(data.labels[risk.LABEL][seen].mean())
    probability = serve(model, data, rows)
    simple = over(rows, lambda some: har.probabilities(data.matrix(some, risk.NAMES)))[:, 1]
    last = data.matrix(rows, ("log_rms_1h",))[:, 0] - data.matrix(rows, (risk.UNIT,))[:, 0]
    actual, days = data.labels[risk.LABEL][rows], bootstrap.days_of(data.opened_at[rows])

    def figures(part: Chosen) -> dict[str, float]:
        outcomes = actual[part]
        found = {
            "auc": measures.auc(outcomes, probability[part]),
            "auc_har": measures.auc(outcomes, simple[part]),
            "auc_last_hour": measures.auc(outcomes, last[part]),
            "brier": measures.brier(outcomes, probability[part]),
            "brier_har": measures.brier(outcomes, simple[part]),
            "brier_base": measures.brier(outcomes, np.full(len(outcomes), rate)),
            "ece": measures.calibration_error(outcomes, probability[part]),
            "ece_har": measures.calibration_error(outcomes, simple[part]),
            "rate": float(outcomes.mean()),
        }
        return {
            **found,
            "auc_gain": found["auc"] - found["auc_har"],
            "brier_skill": skill_of(found["brier"], found["brier_har"]),
        }

    report = report_of("risk", data, rows, figures)
    gained = bootstrap.auc_gain(actual, probability, simple, days)
    skill = bootstrap.skill((probability - actual) ** 2, (simple - actual) ** 2, days)
    better = bootstrap.mean_gain((probability - actual) ** 2, (simple - actual) ** 2, days)
    report.metrics.update(named("auc_gain", gained, ("_low", "_high")) | named("brier_skill", skill, ("_low", "_high")))
    report.metrics.update(named("brier_gain", better, ("_dm", "_p")))
    report.curves["reliability"] = measures.reliability(actual, probability, days)
    squared, log = _squares(actual, probability, simple, rate), _logs(actual, probability, simple, rate)
    blocks = bootstrap.blocks_of(data.opened_at[rows])
    report.losses.update({"brier": Loss(squared[0], blocks, _beside(squared)), "log_loss": Loss(log[0], blocks)})
    report.skills.update(skills_of(data, rows, squared[0], squared[1]))
    return report


def _squares(actual: Floats, ours: Floats, har: Floats, rate: float) -> tuple[Floats, Floats, Floats]:
    """Squared errors of the model, of the HAR logit and of the base rate: (rows,) each."""
    return (ours - actual) ** 2, (har - actual) ** 2, (rate - actual) ** 2


def _logs(actual: Floats, *said: Floats | float) -> list[Floats]:
    """Log losses of probabilities of 1: (rows,) each."""
    both = [np.stack([1 - np.broadcast_to(p, actual.shape), np.broadcast_to(p, actual.shape)], axis=1) for p in said]
    return [measures.surprise(actual.astype(int), each) for each in both]


def _beside(losses: Sequence[Floats]) -> dict[str, Floats]:
    return {"the HAR regression": losses[1], "the past's base rate": losses[2]}


def judge_signal(model: Model, data: Dataset, split: Split, cost: float = ROUND_TRIP) -> Report:
    """Log loss and calibration of the three actions against base rates and a plain logistic; directions; earnings.

    `cost` is that of entering and leaving, as a share of the price: by it the signal acts.
    """
    assert isinstance(model, signal.SignalModel)
    rows, seen = split.judge, fitted_on(data, split)
    actual, classes = data.labels[signal.LABEL][rows], data.labels[signal.LABEL][seen].astype(int)
    base = np.bincount(classes, minlength=3) / len(classes)
    simple = _lines(data, split, model.names)
    probability = serve(model, data, rows)
    straight = over(rows, lambda some: simple.probabilities(data.matrix(some, model.names)))
    side = over(np.arange(len(rows)), lambda some: _sides(model, data, rows[some], probability[some], cost))
    edge = over(np.arange(len(rows)), lambda some: _edges(model, data, rows[some], probability[some]))
    moved, outcomes = data.labels["return_1h"][rows], actual.astype(int)
    directions = directions_of(model, data, rows, probability)
    losses = [
        measures.surprise(outcomes, shares) for shares in (probability, np.tile(base, (len(outcomes), 1)), straight)
    ]

    def figures(part: Chosen) -> dict[str, float]:
        taken = (side != 0) & part & np.isfinite(moved)
        earned = side[taken] * moved[taken] - cost
        gaps = [
            measures.calibration_error((outcomes[part] == k).astype(float), probability[part][:, k]) for k in range(3)
        ]
        ours, base_loss, logistic_loss = (float(loss[part].mean()) for loss in losses)
        return {
            "log_loss": ours,
            "log_loss_base": base_loss,
            "log_loss_logistic": logistic_loss,
            "ece": float(np.mean(gaps)),
            **directions.figures(part),
            "trades": float(taken.sum()),
            "net_bp_per_trade": float(earned.mean() * 1e4) if len(earned) else 0.0,
            "net_bp_total": float(earned.sum() * 1e4),
            "hold_share": float(1 - (side[part] != 0).mean()),
        }

    report = report_of("signal", data, rows, figures)
    report.said.update({"side": side, "edge": edge})
    days = bootstrap.days_of(data.opened_at[rows])
    for name, theirs in (("base", losses[1]), ("logistic", losses[2])):
        gain = bootstrap.mean_gain(losses[0], theirs, days)
        report.metrics.update(named(f"log_loss_gain_{name}", gain, ("", "_low", "_high", "_dm", "_p")))
    report.metrics.update(directions.bounds(bootstrap.blocks_of(data.opened_at[rows])))
    report.metrics.update(_earnings(side, moved, days, cost))
    report.metrics.update(_costs(model, cost))
    for k, action in enumerate(signal.ACTIONS):
        came = (outcomes == k).astype(float)
        report.curves[f"reliability {action}"] = measures.reliability(came, probability[:, k], days)
    blocks = bootstrap.blocks_of(data.opened_at[rows])
    beside = {"the past's base rates": losses[1], "a plain logistic regression": losses[2]}
    squared = ((probability - np.eye(len(base))[outcomes]) ** 2).sum(axis=1)
    report.losses.update({"log_loss": Loss(losses[0], blocks, beside), "brier_actions": Loss(squared, blocks)})
    report.skills.update(skills_of(data, rows, losses[0], losses[1]))
    return report


_kept: list[
    tuple[weakref.ref[Split], tuple[str, ...], logistic.Logistic]
] = []  # the newest; candidate and champion share it


def _lines(data: Dataset, split: Split, names: tuple[str, ...]) -> logistic.Logistic:
    """Return the plain logistic regression on what was fitted on: it takes longer than all else of a judgement."""
    for of, read, found in _kept:
        if of() is split and read == names:
            return found
    seen = fitted_on(data, split)
    found = logistic.fit(data.matrix(seen, names), data.labels[signal.LABEL][seen].astype(int), 3)
    _kept[:] = [(weakref.ref(split), names, found)]
    return found


def _costs(model: signal.SignalModel, cost: float) -> dict[str, float]:
    """What the signal acted by, and below which costs it would have acted at all as far as it knows: nothing where at none."""
    below = model.asks.pays_below
    return {"round_trip_bp": cost * BP, **({"acts_below_bp": below * BP} if below is not None else {})}


def _sides(model: signal.SignalModel, data: Dataset, rows: Rows, probability: Floats, cost: float) -> Floats:
    """1 where the model says Buy, −1 where it says Sell: (rows,)."""
    actions = model.actions(data.matrix(rows, model.names)[:, None], probability, cost)
    return np.array([SIDES[action] for action in actions], dtype=np.float64)


def _edges(model: signal.SignalModel, data: Dataset, rows: Rows, probability: Floats) -> Floats:
    """The log return that the model expects of buying, before costs: (rows,)."""
    return signal.expected(data.matrix(rows, signal.NAMES), probability, model.middle)


def _earnings(side: npt.NDArray[Any], moved: Floats, days: bootstrap.Days, cost: float) -> dict[str, float]:
    """Bounds of what an action earned after costs; zero where none was taken."""
    taken = (side != 0) & np.isfinite(moved)
    if not taken.any():
        return {"net_bp_per_trade_low": 0.0, "net_bp_per_trade_high": 0.0}
    net = np.where(taken, side * np.nan_to_num(moved) - cost, 0.0) * 1e4
    total, count = np.bincount(days, net), np.bincount(days, taken.astype(float))
    low, high = bootstrap.interval(days, lambda weight: float(weight @ total) / max(float(weight @ count), 1.0))
    return {"net_bp_per_trade_low": low, "net_bp_per_trade_high": high}


def judge_anomaly(model: Model, data: Dataset, split: Split, trades: Sequence[Trade]) -> Report:
    """Recall of fat fingers put into held-out trades, false alarms without them, and how often a candle is novel."""
    assert isinstance(model, AnomalyModel)
    found, losses = fat_fingers.trial(model, trades, np.random.default_rng(SEED))
    novelty = predict(model, data, split.judge)

    def figures(part: Chosen) -> dict[str, float]:
        return {"novel_share": float((novelty[part] >= model.threshold).mean())}

    report = report_of("anomaly", data, split.judge, figures)
    report.metrics.update(found)
    report.losses.update(losses)
    return report
