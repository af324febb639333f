"""The gate: named checks that a model passes or not, each with its sentence and figures; pure, of what was measured before.

A model is refused by the first check that it fails, and all are told. The order goes from what makes the later ones meaningless
(files, shapes, numbers) to how well it predicts. What may serve is compared twice: with the champion, and with a *reference* that
does not move when champions do, so that a long row of champions, each a little worse than the last, cannot walk down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from ml.data import labels
from ml.evaluation import bootstrap
from ml.evaluation.behaviour import Trait
from ml.evaluation.bootstrap import Compared
from ml.evaluation.judgement import Report
from ml.metric_words import words
from ml.models.base import Model
from ml.promotion.rules import RULES, bounds
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.setting_groups import Gate

MEGABYTE = 1_000_000


class Outcome(StrEnum):
    """What becomes of a model that was judged."""

    PROMOTED = "promoted"  # it serves from now on
    CHALLENGER = "challenger"  # it scores in the champion's shadow, and serves if it earns it there
    REFUSED = "refused"


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it was passed, why, and the figures that say so."""

    name: str
    passed: bool
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rival:
    """Another version on the same rows: what it is, and how it was judged."""

    role: str  # champion, reference
    version: str
    report: Report

    @property
    def called(self) -> str:
        """Name it."""
        return f"{self.role}, version {self.version}"


@dataclass(frozen=True)
class Verdict:
    """The outcome and every check that led to it, in the order of the gate."""

    outcome: Outcome
    checks: Sequence[Check]
    sentence: str  # the outcome, against what, by how much, within which interval

    @property
    def refused_by(self) -> str:
        """The name of the first check that was not passed, empty where all were."""
        return next((check.name for check in self.checks if not check.passed), "")

    @property
    def reasons(self) -> list[str]:
        """The verdict, and the sentence of each check that failed after the first."""
        failed = [check for check in self.checks if not check.passed]
        return [self.sentence, *(f"Not passed either: {check.name}: {check.sentence}." for check in failed[1:])]


def artefact(fault: str) -> Check:
    """Whether the registry gives back the files that were put in, and they predict the same; `fault` says what is wrong."""
    return Check("artefact", not fault, fault or "the registry gives back the same files, and they predict the same")


def signature(model: Model, said: Floats, rows: int, kind: str) -> Check:
    """Whether the model is of its kind: known features, one window each, and an answer of the kind's shape."""
    wanted, shape = (rows, *RULES[kind].shape), tuple(np.shape(said))
    unknown = [name for name in model.names if name not in features.NAMES and name not in labels.HORIZON]
    if model.kind != kind:
        return Check("signature", False, f"it is a model of kind {model.kind}, not {kind}")
    if unknown or len(set(model.names)) < len(model.names):
        return Check("signature", False, f"it reads {', '.join(unknown) or 'a feature twice'}, which no stage computes")
    if not 1 <= model.length <= features.DAY:
        return Check("signature", False, f"it reads {model.length} candles at once; 1 to {features.DAY} can be had")
    if shape != wanted:
        return Check(
            "signature", False, f"for {rows} windows it answers in shape {shape}; a {kind} answers in {wanted}"
        )
    return Check(
        "signature",
        True,
        f"it reads {len(model.names)} known features of {model.length} candle{'s' * (model.length > 1)}, "
        f"and answers as a {kind} does: {' × '.join(map(str, shape[1:])) or 'one number'} for each",
    )


def finite(said: Floats) -> Check:
    """Whether all that was predicted of held-out rows are numbers."""
    bad = int((~np.isfinite(said)).reshape(len(said), -1).any(axis=1).sum())
    share = {"rows": float(len(said)), "not_finite": float(bad)}
    return Check(
        "finite",
        not bad,
        f"{bad} of {len(said)} held-out predictions are not numbers" if bad else "all predictions are numbers",
        share,
    )


def leakage(names: Iterable[str], differing: Mapping[str, str] | None, looked_at: int = 0, note: str = "") -> Check:
    """Whether a model reads nothing of the future: no label, and each feature as the scorer computes it from the past alone.

    `differing` says which features the training table has otherwise, None where they could not be computed anew; `note` says why.
    """
    if read := [name for name in names if name in labels.HORIZON]:
        return Check("leakage", False, f"it reads {', '.join(read)}: what is to be predicted")
    if differing is None:
        return Check(
            "leakage", True, f"it reads no label; its features were not computed anew, for {note or 'it was not asked'}"
        )
    if differing:
        told = "; ".join(f"{name}: {how}" for name, how in list(differing.items())[:3])
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        return Check(
            "leakage", False, f"what it learnt from is not what can be known at a candle's close: {told}{more}"
        )
    return Check("leakage", True, f"all its features at {looked_at} held-out candles are what the past alone gives")


def implausible(kind: str, report: Report, limits: Gate) -> Check | None:
    """Refuse what is too good to be true: nobody saves half of a good baseline's loss but by looking at the outcome."""
    loss = report.losses.get(RULES[kind].primary)
    if loss is None or not loss.baselines:
        return None
    best = min(float(each.mean()) for each in loss.baselines.values())
    skill = 1 - float(loss.rows.mean()) / best if best > 0 else 0.0
    if skill <= limits.implausible_skill:
        return None
    most = f"more than {limits.implausible_skill:.0%} is taken for a look at the outcome"
    sentence = f"it saves {skill:.0%} of the best baseline's loss; {most}"
    return Check("leakage", False, sentence, {"skill": skill})


def behaviour(traits: Sequence[Trait]) -> Check:
    """Whether it does what every model of its kind must."""
    failed = [trait.sentence for trait in traits if not trait.passed]
    sentence = f"not true of it: {'; '.join(failed)}" if failed else "; ".join(trait.sentence for trait in traits)
    return Check("behaviour", not failed, sentence, {"traits": float(len(traits)), "failed": float(len(failed))})


def latency(taken: float, budget: float, measure: str) -> Check:
    """Whether it predicts in time; seconds for the same windows, `measure` says what the budget comes from."""
    side = "over" if taken > budget else "within"
    sentence = f"{taken * 1e3:.2f} ms for the windows of 64 symbols, {side} {budget * 1e3:.2f} ms: {measure}"
    return Check("latency", taken <= budget, sentence, {"ms": taken * 1e3, "budget_ms": budget * 1e3})


def size(count: int, limits: Gate) -> Check:
    """Whether its files are small enough to be fetched between two candles; bytes."""
    held, most = count / MEGABYTE, limits.size_mb
    return Check("size", held <= most, f"{held:.2f} MB of files, {most:g} MB allowed", {"mb": held, "budget_mb": most})


def calibration(kind: str, figures: Mapping[str, float], limits: Gate) -> Check:
    """Whether what it promises holds: frequencies, coverage, alarms."""
    found, failed = {name: figures.get(name, float("nan")) for name in bounds(kind, limits)}, []
    for name, (low, high) in bounds(kind, limits).items():
        if not low <= found[name] <= high:
            value = words(name).value
            failed.append(f"{words(name).words} is {value(found[name])}, outside {value(low)} to {value(high)}")
    passed = "; ".join(f"{words(name).words} {words(name).value(value)}" for name, value in found.items())
    return Check("calibration", not failed, "; ".join(failed) or passed, found)


def reference(kind: str, report: Report, limits: Gate, fixed: Rival | None, champion: Rival | None) -> Check:
    """Whether it holds against what does not move: the baselines, and the best champion so far."""
    found = against_baselines(kind, report)
    figures = {f"excess over {name}": one.excess for name, one in found.items()}
    failed = [
        f"its loss is {one} that of {name}, surely more than {limits.worse_than_baselines:.0%}"
        for name, one in found.items()
        if one.low > limits.worse_than_baselines
    ]
    if champion is not None and not _has_edge(found) and _has_edge(against_baselines(kind, champion.report)):
        failed.append("it has no edge over the baselines, which the champion has")
    told = [f"{one} that of {name}" for name, one in found.items()]
    if fixed is not None:
        each = against(report, fixed.report)
        failed += [f"{sentence} ({fixed.called})" for sentence in _worse(each, limits)]
        told.append(f"{each[RULES[kind].primary]} that of the {fixed.called}")
        figures |= {f"excess of {name} over the reference": one.excess for name, one in each.items()}
    return Check(
        "reference",
        not failed,
        "; ".join(failed) or f"its loss is {', '.join(told) or 'compared with nothing'}",
        figures,
    )


def champion(kind: str, report: Report, limits: Gate, serving: Rival | None) -> Check:
    """Whether it is no worse than what serves: not surely, and not by more than the tolerance, on any loss."""
    if serving is None:
        return Check("champion", True, "none serves that it could be compared with")
    each = against(report, serving.report)
    failed = _worse(each, limits)
    figures = {f"excess of {name}": one.excess for name, one in each.items()}
    return Check(
        "champion",
        not failed,
        "; ".join(failed) or f"its loss is {each[RULES[kind].primary]} that of the {serving.called}",
        figures,
    )


def against(ours: Report, theirs: Report) -> dict[str, Compared]:
    """Return how two judgements of the same rows compare, loss by loss."""
    return {
        name: bootstrap.compared(loss.rows, theirs.losses[name].rows, loss.blocks, loss.floor)
        for name, loss in ours.losses.items()
        if name in theirs.losses and len(loss.rows) == len(theirs.losses[name].rows) > 0
    }


def against_baselines(kind: str, report: Report) -> dict[str, Compared]:
    """Return how the loss that decides compares with that of each baseline."""
    loss = report.losses[RULES[kind].primary]
    return {name: bootstrap.compared(loss.rows, theirs, loss.blocks) for name, theirs in loss.baselines.items()}


def is_better_reference(kind: str, serving: Report, fixed: Report) -> bool:
    """Tell whether a champion is surely better than the reference, so that it becomes what others are held against."""
    found = against(serving, fixed).get(RULES[kind].primary)
    return found is not None and found.is_surely_better


def decide(kind: str, checks: Sequence[Check], report: Report | None, serving: Rival | None, shadow: bool) -> Verdict:
    """Return the verdict; `shadow` says whether what passes must earn its place beside the champion first."""
    failed = [check for check in checks if not check.passed]
    compared = "" if report is None else _against_what(kind, report, serving)
    if failed:
        others = f" (and {', '.join(check.name for check in failed[1:])})" if failed[1:] else ""
        held = f" Judged all the same, {compared}." if compared else " It was not judged."
        return Verdict(
            Outcome.REFUSED, checks, f"Refused at the check “{failed[0].name}”{others}: {failed[0].sentence}.{held}"
        )
    if serving is None:
        return Verdict(Outcome.PROMOTED, checks, f"Promoted as the first sane model of its kind: {compared}.")
    if shadow:
        return Verdict(Outcome.CHALLENGER, checks, f"Challenger, to be tried in the champion's shadow: {compared}.")
    return Verdict(Outcome.PROMOTED, checks, f"Promoted: {compared}.")


def _against_what(kind: str, report: Report, serving: Rival | None) -> str:
    primary = RULES[kind].primary
    loss, metric = report.losses[primary], words(primary)
    value = f"its {metric.words} is {metric.value(float(loss.rows.mean()))} ({metric.better})"
    if serving is not None and (found := against(report, serving.report).get(primary)):
        return f"{value}, {found} that of the {serving.called}, drawn from {found.blocks}"
    if not loss.baselines:
        return value
    name, found = min(against_baselines(kind, report).items(), key=lambda item: item[1].theirs)
    return f"{value}, {found} that of {name}, drawn from {found.blocks}"


def _has_edge(found: Mapping[str, Compared]) -> bool:
    return all(one.excess < 0 for one in found.values())


def _how(one: Compared, limits: Gate) -> str:
    return "surely" if one.is_surely_worse else f"by more than {limits.tolerance:.1%}"


def _worse(each: Mapping[str, Compared], limits: Gate) -> list[str]:
    """Sentences on the losses that are worse, surely or by more than the tolerance."""
    return [
        f"worse, {_how(one, limits)}: its {words(name).words} is {one} the other's"
        for name, one in each.items()
        if one.is_surely_worse or not one.excess <= limits.tolerance
    ]
