"""What trainings and trials tell the record of looks: every judgement on held-out rows, of candidate, champion and reference.

Not recorded, because nothing held out is looked at: `tune` (its folds lie inside the folder that is fitted on), calibration
parts, and outcomes of live scores, which no version could be chosen for before they came.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.dataset import Dataset, Rows
from ml.data.feature_table.columns import TABLE
from ml.evaluation.judgement import Report
from ml.looks import table
from ml.looks.counting import counted, deflation, sharpes_of
from ml.looks.look import Look, came_out, of_rows
from ml.looks.table import Written
from ml.serving.descriptions import KINDS
from ml.training.code_version import code_version
from ml.training.examination import Examined
from quantstream.lake.store import Lake

Recorder = Callable[[Sequence[Look]], Written]
Judged = Sequence[tuple[Rows, Report]]


@dataclass(frozen=True)
class Counted:
    """What a training says of its looks: notes for a person, and JSON values for the evidence."""

    notes: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


def record_training(
    lake: Lake,
    name: str,
    number: str,
    examined: Examined,
    data: Dataset,
    rows: Rows,
    params: Mapping[str, Any],
    features_version: int,
    by: str,
) -> Counted:
    """Record what a version's examination judged: itself and its rivals, on the same rows. One that was not judged saw none."""
    if examined.report is None:
        return Counted()
    seen, code, at = of_rows(data, rows), code_version(), datetime.now(UTC)
    rivals = {one.version: one for one in (examined.reference, examined.champion) if one is not None}
    judged = [("candidate", number, examined.report), *((one.role, one.version, one.report) for one in rivals.values())]
    looks = [
        Look(
            at,
            by,
            KINDS[name],
            f"{name}/{version}",
            role,
            f"features version {features_version} at {lake.url}/{TABLE}",
            **seen,
            settings=json.dumps(params, default=str) if version == number else "{}",
            code=code,
            figures=_figures(report.metrics),
        )
        for role, version, report in judged
    ]
    written = table.record(lambda: lake, looks)
    found = counted(written, written.looks[0])
    after = deflation(examined.report.metrics, found, sharpes_of(written, written.looks[0]))
    return Counted([found["sentence"]], {"looks": found, "deflated": after})


def look_of_trial(
    kind: str, options: Mapping[str, Any], data: Dataset, judged: Judged, fit_on: Path, judge_on: Path
) -> Look:
    """Return the look of a trial on folders; what was tried is told by what came of it, for nothing is registered."""
    losses = {f"{i} {name}": loss.rows for i, (_, report) in enumerate(judged) for name, loss in report.losses.items()}
    settings = {"fitted_on": str(fit_on.resolve()), "folds": len(judged), **options}
    rows = np.unique(np.concatenate([rows for rows, _ in judged]))
    return _of_trial(kind, came_out(losses), settings, of_rows(data, rows), judge_on, judged[-1][1].metrics)


def look_of_hours(
    kind: str,
    figures: Mapping[str, float],
    data: Dataset,
    span: tuple[int, int],
    symbols: Collection[str],
    judge_on: Path,
) -> Look:
    """Return the look of a trial of what is fitted anew each day, at the candles of some symbols that open in `span` (µs)."""
    parts = [np.arange(*at) for name, at in zip(data.symbols, data.spans, strict=True) if name in symbols]
    rows = np.concatenate(parts)
    rows = rows[(data.opened_at[rows] >= span[0]) & (data.opened_at[rows] < span[1])]
    candidate = came_out({name: np.array([value]) for name, value in figures.items()})
    return _of_trial(kind, candidate, {}, of_rows(data, rows), judge_on, figures)


def _of_trial(
    kind: str,
    candidate: str,
    settings: Mapping[str, Any],
    seen: Mapping[str, Any],
    judge_on: Path,
    figures: Mapping[str, float],
) -> Look:
    return Look(
        datetime.now(UTC),
        f"evaluate by {_user()}",
        kind,
        candidate,
        "trial",
        str(judge_on.resolve()),
        **seen,
        settings=json.dumps(settings, default=str),
        code=code_version(),
        figures=_figures(figures),
    )


def told_of_looks(result: dict[str, Any], looks: Mapping[str, Look], record: Recorder) -> None:
    """Record the looks of a trial, and put into each kind's result how many there were and what that leaves of its edges."""
    written = record(list(looks.values()))
    for kind, look in zip(looks, written.looks, strict=True):
        found = counted(written, look)
        result[kind] |= {
            "looks": found,
            "deflated": deflation(result[kind]["pooled"], found, sharpes_of(written, look)),
        }


def looks_in_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what the table of a trial says of looks: the sentence, and the bounds where more than one was tried."""
    if "looks" not in found:
        return []
    lines, after = [f"  {found['looks']['sentence']}."], found["deflated"]
    if after["tried"] > 1:
        lines.append(f"  95 % bounds after {after['tried']} candidates ({after['method']}):")
        lines += [f"    {name:24} {low:10.4f} {high:10.4f}" for name, (low, high) in after["bounds"].items()]
    return lines


def _figures(metrics: Mapping[str, float]) -> str:
    return json.dumps({name: round(float(value), 10) for name, value in metrics.items() if np.isfinite(value)})


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in pods
        return "somebody"
