"""`python -m ml train signal --rows N`: as many rows as are asked for, of the one model that takes them in batches."""

from __future__ import annotations

from typing import Any

import pytest

from ml import __main__ as command
from ml.models.signal import SignalOptions
from ml.training import train as training
from ml.training.train import Options, TrainResult
from quantstream.core.errors import Misconfigured


def test_the_signal_learns_from_as_many_rows_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Options] = []

    def train(kind: str, settings: Any, options: Options, version: int) -> TrainResult:
        asked.append(options)
        return TrainResult(kind, "1", True, [], {}, "promoted")

    monkeypatch.setattr(training, "train", train)
    command.train(["signal"], 7, 2_000_000)
    command.train(["signal", "risk"], 7)
    assert asked == [Options(signal=SignalOptions(most_rows=2_000_000)), Options(), Options()]


@pytest.mark.parametrize(("kinds", "rows"), [(["risk"], 5), (None, 5), (["signal", "risk"], 5), (["signal"], 0)])
def test_rows_of_a_model_that_learns_in_memory_are_refused(kinds: list[str] | None, rows: int) -> None:
    with pytest.raises(Misconfigured, match="--rows is a number above 0 and goes with `signal` alone"):
        command.train(kinds, 7, rows)
