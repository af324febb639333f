"""Figures of judged hours, of a trial and live alike: exceedances, their clusters, the shortfall beyond, and the loss of σ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.evaluation import bootstrap
from ml.value_at_risk.backtests.coverage import Coverage, joint_loss, judge
from ml.value_at_risk.backtests.judged_hours import PLAIN, SIDES, JudgedHours, named
from ml.value_at_risk.gamma_regression import qlike
from ml.value_at_risk.loss_tail import LEVELS
from ml.value_at_risk.observations import Horizon
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, HOUR, WEEK

Figures = dict[str, float]


def block_of(horizon: Horizon) -> int:
    """Return the length (µs) of the blocks that bounds are drawn by: days of windows of an hour, weeks of windows of a day."""
    return DAY if horizon.micros <= HOUR else WEEK


def figures(told: Sequence[JudgedHours], horizon: Horizon) -> Figures:
    """Return the figures of some symbols over the same hours; nothing where no outcome is known yet."""
    found: Figures = {}
    for side in SIDES:
        for level in LEVELS:
            one = coverage(told, horizon, side, level)
            if one.windows:
                found |= _named(one, f"{level * 100:.0f}_{side}")
                found |= {f"joint_loss_{level * 100:.0f}_{side}": float(_mean(_joint(told, side, level)))}
    if found:
        found["windows"] = float(max(coverage(told, horizon, side, LEVELS[0]).windows for side in SIDES))
        found["qlike"] = float(_mean(_qlike(told, "sigma")))
    return found


def gains(told: Sequence[JudgedHours], horizon: Horizon) -> Figures:
    """Return what a trial's forecasts save: QLIKE against HAR, the joint loss against historical simulation; with 95 % bounds."""
    found = _gain("qlike_skill", _qlike(told, "sigma"), _qlike(told, "har"), told, horizon)
    for side in SIDES:
        for level in LEVELS:
            ours, plain = _joint(told, side, level), _joint(told, side, level, PLAIN)
            name = f"joint_gain_{level * 100:.0f}_{side}"
            found |= _difference(name, ours, plain, told, horizon)
    return found | {"qlike_har": float(_mean(_qlike(told, "har")))}


def coverage(told: Sequence[JudgedHours], horizon: Horizon, side: str, level: float) -> Coverage:
    """Return how a level of a side held over all symbols' hours."""
    losses = np.stack([one.losses(side) for one in told])
    value, shortfall = (_stacked(told, named(what, side, level)) for what in ("var", "es"))
    return judge(losses, value, shortfall, level, told[0].at, horizon.micros // HOUR, block_of(horizon))


def _named(one: Coverage, name: str) -> Figures:
    return {
        f"exceeded_{name}": one.share,
        f"exceeded_{name}_low": one.low,
        f"exceeded_{name}_high": one.high,
        f"kupiec_p_{name}": one.kupiec_p,
        f"christoffersen_p_{name}": one.christoffersen_p,
        f"clustering_{name}": one.clustering,
        f"shortfall_excess_{name}": one.shortfall_excess,
        f"shortfall_excess_{name}_low": one.shortfall_low,
        f"shortfall_excess_{name}_high": one.shortfall_high,
    }


def _stacked(told: Sequence[JudgedHours], name: str) -> Floats:
    return np.stack([one.columns[name] for one in told])


def _qlike(told: Sequence[JudgedHours], name: str) -> Floats:
    with np.errstate(invalid="ignore"):
        return qlike(_stacked(told, "variance"), _stacked(told, name) ** 2)


def _joint(told: Sequence[JudgedHours], side: str, level: float, of: str = "") -> Floats:
    losses = np.stack([one.losses(side) for one in told])
    value, shortfall = (_stacked(told, named(what, side, level, of)) for what in ("var", "es"))
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(losses), joint_loss(losses, value, shortfall, level), np.nan)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _gain(name: str, ours: Floats, theirs: Floats, told: Sequence[JudgedHours], horizon: Horizon) -> Figures:
    """What is saved of a baseline's loss, as a share."""
    sums, blocks = _by_block(ours, theirs, told, horizon)
    bounds = bootstrap.interval(blocks, lambda w: 1 - float(w @ sums[0]) / max(float(w @ sums[1]), 1e-300))
    return _bounded(name, 1 - float(sums[0].sum() / sums[1].sum()), bounds)


def _difference(name: str, ours: Floats, theirs: Floats, told: Sequence[JudgedHours], horizon: Horizon) -> Figures:
    """By how much the mean loss is below a baseline's: the joint loss is a log, so shares of it mean nothing."""
    sums, blocks = _by_block(ours, theirs, told, horizon)
    bounds = bootstrap.interval(blocks, lambda w: float(w @ (sums[1] - sums[0])) / max(float(w @ sums[2]), 1.0))
    return _bounded(name, float((sums[1] - sums[0]).sum() / sums[2].sum()), bounds)


def _by_block(
    ours: Floats, theirs: Floats, told: Sequence[JudgedHours], horizon: Horizon
) -> tuple[tuple[Floats, Floats, Floats], bootstrap.Days]:
    known = np.isfinite(ours) & np.isfinite(theirs)
    blocks = np.unique(told[0].at // block_of(horizon), return_inverse=True)[1].astype(np.intp)
    parts = [
        np.bincount(blocks, np.where(known, each, 0.0).sum(axis=0)).astype(np.float64) for each in (ours, theirs, known)
    ]
    has_some = parts[2] > 0
    return (parts[0][has_some], parts[1][has_some], parts[2][has_some]), np.arange(int(has_some.sum()))


def _bounded(name: str, value: float, bounds: tuple[float, float]) -> Figures:
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}
