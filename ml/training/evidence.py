"""The evidence of a verdict as JSON values: what `evaluation.json` of a version holds, and what its report is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from ml.data.universe import UNKNOWN
from ml.promotion import gate
from ml.promotion.gate import Rival
from ml.serving.descriptions import KINDS
from ml.training.examination import Examined


def evaluation_of(name: str, version: str, examined: Examined, notes: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a version that was examined; `notes` say of whom it was judged, survivorship at the end."""
    verdict, report = examined.verdict, examined.report
    fields = {} if report is None else report.fields()
    found = {
        "name": name,
        "kind": KINDS[name],
        "version": version,
        "outcome": verdict.outcome.value,
        "verdict": verdict.sentence,
        "refused_by": verdict.refused_by,
        "checks": [{**asdict(check), "figures": dict(check.figures)} for check in verdict.checks],
        "notes": [*examined.notes, *notes],
        "universe": notes[-1] if notes else UNKNOWN,
        **fields,
        "rivals": [_rival(one, examined) for one in (examined.champion, examined.reference) if one is not None],
    }
    return {key: _known(value) for key, value in found.items()}


def _known(value: Any) -> Any:
    """Return a value with None for each number that is none: JSON has no other word for it."""
    if isinstance(value, Mapping):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _rival(rival: Rival, examined: Examined) -> dict[str, Any]:
    compared = {} if examined.report is None else gate.against(examined.report, rival.report)
    return {
        "role": rival.role,
        "version": rival.version,
        "pooled": rival.report.metrics,
        "compared": {name: {**asdict(one), "told": str(one)} for name, one in compared.items()},
    }
