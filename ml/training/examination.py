"""What the gate is told of a registered version: loaded back, asked, timed, and judged on the rows of its rivals.

Everything is measured here and decided in `ml.promotion.gate`. What makes later measurements meaningless (damaged files, another
shape, labels among the features) ends the examination early: such a model is not judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ml.data.dataset import Dataset, Rows
from ml.evaluation import behaviour, live_windows, timing
from ml.evaluation.judgement import Report, windows_of
from ml.evaluation.live_windows import LiveWindows
from ml.models.base import Model
from ml.promotion import gate
from ml.promotion.gate import Check, Rival, Verdict
from ml.promotion.rules import RULES
from ml.serving.loaded import LoadedModel
from quantstream import features
from quantstream.core.errors import DataRejected, ModelRejected
from quantstream.core.rolling import Floats
from quantstream.setting_groups import Gate

ASKED = 512  # held-out rows that are asked for answers of the right shape
TIMED = 64  # windows of one call: as many symbols close a candle together
SEED = 31
Judge = Callable[[Model], Report]
Load = Callable[[], LoadedModel]
Candles = Callable[[Sequence[str]], Mapping[str, pd.DataFrame]]


@dataclass(frozen=True)
class Subject:
    """A version under examination: what was fitted, how it is loaded back, the rows it is held against."""

    kind: str
    fitted: Model
    load: Load
    data: Dataset
    rows: Rows  # held out
    judge: Judge
    candles: Candles | None = None  # of some symbols, to compute features anew; None where there are none


@dataclass(frozen=True)
class Rivals:
    """What a candidate is held against: what serves and the reference that does not move with it, loaded, and notes on both."""

    champion: LoadedModel | None = None
    reference: LoadedModel | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Examined:
    """The verdict, the candidate's judgement where it was judged, and the rivals' on the same rows."""

    verdict: Verdict
    report: Report | None = None
    champion: Rival | None = None
    reference: Rival | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def examine(
    subject: Subject, rivals: Rivals, limits: Gate, shadow: bool, clock: timing.Clock = time.process_time
) -> Examined:
    """Return the verdict on a version and all that led to it.

    Raises: Unavailable when the registry or the lake does not answer.
    """
    checks, loaded = _loads(subject)
    if loaded is None or not all(check.passed for check in checks):
        return Examined(gate.decide(subject.kind, checks, None, None, shadow), notes=rivals.notes)
    checks += _behaves(subject, loaded, rivals.champion, limits, clock)
    try:
        report = subject.judge(loaded.model)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        checks.append(Check("finite", False, f"it could not be judged: {str(error).splitlines()[0][:200]}"))
        return Examined(gate.decide(subject.kind, checks, None, None, shadow), notes=rivals.notes)
    champion, fixed = _judged(subject, rivals)
    if peeks := gate.implausible(subject.kind, report, limits):
        checks = [peeks if check.name == peeks.name and check.passed else check for check in checks]
    checks += [
        gate.calibration(subject.kind, report.metrics, limits),
        gate.reference(subject.kind, report, limits, fixed, champion),
        gate.champion(subject.kind, report, limits, champion),
    ]
    verdict = gate.decide(subject.kind, checks, report, champion, shadow)
    return Examined(verdict, report, champion, fixed, rivals.notes)


def _loads(subject: Subject) -> tuple[list[Check], LoadedModel | None]:
    """Load the version back; what must hold before anything is asked of it at length."""
    fitted, kind = subject.fitted, subject.kind
    try:
        loaded = subject.load()
    except ModelRejected as error:
        return [gate.artefact(str(error))], None
    known = [name in features.NAMES for name in fitted.names]
    if not all(known):
        nothing = np.zeros((1, *RULES[kind].shape))
        return [gate.artefact(""), gate.signature(fitted, nothing, 1, kind), gate.leakage(fitted.names, None)], loaded
    windows = windows_of(fitted, subject.data, _some(subject.rows, ASKED))
    try:
        said, again = fitted.predict(windows), loaded.model.predict(windows)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError) as error:
        return [
            gate.artefact(""),
            Check("signature", False, f"it does not predict: {str(error).splitlines()[0][:200]}"),
        ], loaded
    same = np.array_equal(said, again, equal_nan=True)
    checks = [
        gate.artefact("" if same else "loaded back from the registry, it predicts otherwise than when it was fitted")
    ]
    checks.append(gate.signature(loaded.model, again, len(windows), kind))
    if checks[-1].passed:
        checks.append(gate.finite(again))
    return checks, loaded


def _behaves(
    subject: Subject, loaded: LoadedModel, champion: LoadedModel | None, limits: Gate, clock: timing.Clock
) -> list[Check]:
    model, (live, note) = loaded.model, _live(subject)
    differing = None if live is None else live_windows.differing(subject.data, live, model.names)
    windows = windows_of(model, subject.data, _some(subject.rows, TIMED))
    return [
        gate.leakage(model.names, differing, 0 if live is None else len(live.rows), note),
        gate.behaviour(behaviour.traits(model, windows, live)),
        _timed(subject, model, champion, limits, clock),
        gate.size(loaded.size_bytes, limits),
    ]


def _live(subject: Subject) -> tuple[LiveWindows | None, str]:
    """Windows of some held-out candles from the candles alone; none, and why, where the lake cannot give those any more."""
    if subject.candles is None:
        return None, "no candles are at hand"
    rows = live_windows.choose(subject.data, subject.rows)
    symbols = [subject.data.symbols[i] for i in np.unique(subject.data.symbol[rows])]
    try:
        return live_windows.look(subject.data, rows, subject.candles(symbols), subject.fitted.length), ""
    except DataRejected as error:
        return None, str(error)


def _timed(subject: Subject, model: Model, champion: LoadedModel | None, limits: Gate, clock: timing.Clock) -> Check:
    """Time the model beside the champion on the same rows, and beside a fixed piece of arithmetic.

    A history that grows makes models of lines into models of trees: what a full-grown one of its kind takes is never too much.
    """
    rows = _some(subject.rows, TIMED)
    works: dict[str, Callable[[], object]] = {"ours": _work(model, subject.data, rows), "yardstick": timing.yardstick}
    if champion is not None:
        works["champion"] = _work(champion.model, subject.data, rows)
    taken, usual = timing.fastest(works, clock), RULES[subject.kind].usual_time
    grown = usual * taken["yardstick"]
    budgets = {f"what a full-grown {subject.kind} model takes on this machine": grown}
    if champion is None:
        budgets = {
            f"{limits.latency_factor:g} times {what}": limits.latency_factor * most for what, most in budgets.items()
        }
    else:
        told = f"{limits.latency_factor:g} times the champion's, version {champion.version}"
        budgets[told] = limits.latency_factor * taken["champion"]
    measure, budget = max(budgets.items(), key=lambda item: item[1])
    return gate.latency(taken["ours"], budget, measure)


def _work(model: Model, data: Dataset, rows: Rows) -> Callable[[], Floats]:
    windows = windows_of(model, data, rows)
    return lambda: model.predict(windows)


def _judged(subject: Subject, rivals: Rivals) -> tuple[Rival | None, Rival | None]:
    """Judge champion and reference on the candidate's rows; one that is both is judged once."""
    serving, fixed = rivals.champion, rivals.reference
    champion = None if serving is None else Rival("champion", serving.version, subject.judge(serving.model))
    if fixed is None:
        return champion, None
    if serving is not None and champion is not None and serving.version == fixed.version:
        return champion, Rival("reference", fixed.version, champion.report)
    return champion, Rival("reference", fixed.version, subject.judge(fixed.model))


def _some(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))
