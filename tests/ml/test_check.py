"""The checkers: silent on what is right, loud on what looks ahead or depends on where the history starts."""

from __future__ import annotations

import numpy as np
import pytest

from ml import check, labels
from quantstream import features
from quantstream.features import definitions
from quantstream.windows import Floats

pytestmark = pytest.mark.slow
CANDLES = check.synthetic()


@pytest.mark.parametrize("proof", [check.lookahead, check.parity])
def test_every_feature_and_label_passes(proof: object) -> None:
    verdict = proof(CANDLES)  # type: ignore[operator]
    assert verdict.faults == []
    assert set(verdict.compared) == {*features.NAMES, *labels.HORIZON}
    assert min(verdict.compared.values()) >= check.PLACES - 1


def _replace(monkeypatch: pytest.MonkeyPatch, formula: object) -> None:
    odd = definitions.Definition(1, 0, formula, "odd", "odd")  # type: ignore[arg-type]
    monkeypatch.setitem(definitions.DEFINITIONS, "hour_sin", odd)


def test_a_feature_that_looks_ahead_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def tomorrow(grid: features.Grid) -> Floats:
        return np.append(grid.close[1:], grid.close[-1:])

    _replace(monkeypatch, tomorrow)
    assert {fault.split()[0] for fault in check.lookahead(CANDLES).faults} == {"hour_sin"}


def test_a_feature_that_depends_on_where_the_history_starts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, lambda grid: np.nancumsum(grid.close, axis=-1))
    assert {fault.split()[0] for fault in check.parity(CANDLES).faults} == {"hour_sin"}
