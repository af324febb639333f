"""The kept rows of features: a new candle costs one row, and what models read is what a start from scratch would read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ml.serving import feature_rows
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from tests.unit.ml import markets

LENGTH = 4
MARKET = markets.candles(features.WARMUP + 40)
OTHER = markets.candles(900, seed=2).drop(index=[880]).reset_index(drop=True)


def at(end: int, edits: int = 0) -> dict[str, features.Series]:
    """Both symbols' histories with so many candles left out at the end."""
    found = {}
    for name, frame in {"A1": MARKET, "B1": OTHER}.items():
        series = features.series_of(frame.iloc[: len(frame) - end])
        found[name] = features.Series(series.at, series.columns, edits=edits)
    return found


def rows(found: Mapping[str, Floats | DataRejected]) -> dict[str, Floats]:
    return {name: one for name, one in found.items() if not isinstance(one, DataRejected)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many symbols and rows were computed, call by call."""
    calls: list[tuple[int, int]] = []
    newest = features.newest

    def counted(histories: list[features.Series], count: int = 1) -> Floats:
        calls.append((len(histories), count))
        return newest(histories, count)

    monkeypatch.setattr(features, "newest", counted)
    return calls


def test_rows_that_are_kept_equal_those_computed_anew(asked: list[tuple[int, int]]) -> None:
    kept = feature_rows.Inputs()
    for end in (5, 4, 3, 2):
        found = rows(kept.of(at(end), LENGTH))
        fresh = features.newest(list(at(end).values()), LENGTH)
        assert all(np.array_equal(found[name], fresh[i], equal_nan=True) for i, name in enumerate(found))
        assert np.isfinite(found["A1"]).all()
    assert asked == [(2, 4), (2, 4), (2, 1), (2, 4), (2, 1), (2, 4), (2, 1), (2, 4)]


@pytest.mark.parametrize(("end", "edits", "length"), [(3, 1, 4), (2, 0, 4), (4, 0, 4), (3, 0, 5)])
def test_an_edit_a_jump_a_repeat_or_another_model_begins_anew(
    asked: list[tuple[int, int]], end: int, edits: int, length: int
) -> None:
    kept = feature_rows.Inputs()
    kept.of(at(4), LENGTH)
    kept.of(at(end, edits), length)
    assert asked == [(2, 4), (2, length)]


def test_an_odd_history_is_told_and_spares_the_others() -> None:
    kept = feature_rows.Inputs()
    odd = features.series_of(MARKET.iloc[::-1])
    for end in (3, 2):
        found = kept.of(at(end) | {"ODD": odd}, LENGTH)
        assert isinstance(found["ODD"], DataRejected)
        assert np.array_equal(rows(found)["A1"], features.newest([at(end)["A1"]], LENGTH)[0])


def test_no_symbols_give_no_rows() -> None:
    assert feature_rows.Inputs().of({}, LENGTH) == {}
