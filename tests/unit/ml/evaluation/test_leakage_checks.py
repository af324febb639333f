"""The checkers: silent on what is right, loud on what looks ahead or depends on where the history starts."""

from __future__ import annotations

import numpy as np
import pytest

from ml.data import labels
from ml.evaluation import leakage_checks
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.features import definitions

pytestmark = pytest.mark.slow
CANDLES = leakage_checks.synthetic()


@pytest.mark.parametrize("proof", [leakage_checks.lookahead, leakage_checks.parity])
def test_every_feature_and_label_passes(proof: object) -> None:
    verdict = proof(CANDLES)  # type: ignore[operator]
    assert verdict.faults == []
    assert set(verdict.compared) == {*features.NAMES, *labels.HORIZON}
    assert min(verdict.compared.values()) >= leakage_checks.PLACES - 1


def _replace(monkeypatch: pytest.MonkeyPatch, formula: object) -> None:
    odd = definitions.Definition(1, 0, formula, "odd", "odd")  # type: ignore[arg-type]
    monkeypatch.setitem(definitions.DEFINITIONS, "hour_sin", odd)


def test_a_feature_that_looks_ahead_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def tomorrow(grid: features.Grid) -> Floats:
        return np.append(grid.close[1:], grid.close[-1:])

    _replace(monkeypatch, tomorrow)
    assert {fault.split()[0] for fault in leakage_checks.lookahead(CANDLES).faults} == {"hour_sin"}


def test_a_feature_that_depends_on_where_the_history_starts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, lambda grid: np.nancumsum(grid.close, axis=-1))
    assert {fault.split()[0] for fault in leakage_checks.parity(CANDLES).faults} == {"hour_sin"}


def test_what_was_compared_is_said_a_line_a_symbol_and_a_line_a_fault() -> None:
    clean = leakage_checks.Verdict({"hour_sin": 40, "action": 1200}, [])
    odd = leakage_checks.Verdict({"hour_sin": 40}, [f"hour_sin differs in row {row}" for row in range(30)])
    lines = leakage_checks.summary({"BTCUSDT": clean, "ETHUSDT": odd})
    assert lines[:3] == [
        "BTCUSDT: 2 features and labels, 1,240 numbers compared, no difference",
        "ETHUSDT: 1 features and labels, 40 numbers compared, 30 differences",
        "  hour_sin differs in row 0",
    ]
    assert len(lines) == 2 + 20
