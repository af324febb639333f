"""Days in quarantine and the table of features: held candles are as if they were not there, held features do not teach."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ml.data.dataset import Dataset
from ml.data.feature_table.build import build, plan
from ml.data.feature_table.columns import TABLE
from ml.data.feature_table.reading import load
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY
from quantstream.lake.quarantine import HELD, RELEASED, Change, note
from quantstream.lake.store import Lake
from tests.unit.ml import markets
from tests.unit.ml.data.feature_table.test_feature_build import MONTH, frame, same, whole

HELD_DAY = date(2024, 1, 20)
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        markets.write_candles(lake, symbol, frame(10_000, number))
    build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    return lake


def hold(lake: Lake, table: str, change: str = HELD, at: datetime = AT, day: date = HELD_DAY) -> None:
    note(lake, [Change("BTCUSDT", day, table, "expect_x", change, "odd", at, "gate")])


def learnt(lake: Lake, tmp: Path) -> Dataset:
    build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    return load(lake, tmp, None, MONTH)[0]


def is_of_the_day(data: Dataset) -> np.ndarray:
    day = (HELD_DAY - date(1970, 1, 1)).days
    return np.asarray((data.opened_at // DAY == day) & (data.symbol == data.symbols.index("BTCUSDT")))


def test_a_day_whose_features_are_held_does_not_teach_and_all_other_rows_are_as_before(
    lake: Lake, tmp_path: Path
) -> None:
    before = learnt(lake, tmp_path)
    hold(lake, TABLE)
    after = learnt(lake, tmp_path)
    stays = ~is_of_the_day(before)
    assert is_of_the_day(before).sum() == 288
    assert not is_of_the_day(after).any()
    np.testing.assert_array_equal(np.asarray(before.features)[stays], np.asarray(after.features))
    np.testing.assert_array_equal(before.opened_at[stays], after.opened_at)
    for name in before.labels:
        np.testing.assert_array_equal(before.labels[name][stays], after.labels[name])
    hold(lake, TABLE, RELEASED, AT + timedelta(hours=1))
    same(learnt(lake, tmp_path), before)


def test_a_day_whose_candles_are_held_after_a_build_is_left_out_of_the_next_one_in_the_same_process(
    lake: Lake, tmp_path: Path
) -> None:
    hold(lake, "candles")
    after = learnt(lake, tmp_path)
    assert not is_of_the_day(after).any()
    same(after, whole(lake, "BTCUSDT", "ETHUSDT"))
    hold(lake, "candles", RELEASED, AT + timedelta(hours=1))
    same(learnt(lake, tmp_path), whole(lake, "BTCUSDT", "ETHUSDT"))


def test_a_pinned_version_stays_what_it_was_whatever_is_held_since(lake: Lake, tmp_path: Path) -> None:
    version = build(lake, ["BTCUSDT", "ETHUSDT"], MONTH).version
    before = load(lake, tmp_path, version, MONTH)
    hold(lake, TABLE)
    learnt(lake, tmp_path)
    after = load(lake, tmp_path, version, MONTH)
    same(after[0], before[0])
    assert after[1] == before[1]


def test_a_held_day_makes_only_the_months_anew_that_depend_on_it(lake: Lake) -> None:
    hold(lake, TABLE)
    assert [(one.symbol, one.months) for one in plan(lake, ["BTCUSDT", "ETHUSDT"], MONTH).stretches] == [
        ("BTCUSDT", ("2024-01",))
    ]
    assert build(lake, ["BTCUSDT", "ETHUSDT"], MONTH).made == 1
    assert plan(lake, ["BTCUSDT", "ETHUSDT"], MONTH).stretches == ()
    hold(lake, "candles", day=date(2024, 2, 3))  # February looks back on it, and so does nothing else
    assert [one.months for one in plan(lake, ["BTCUSDT", "ETHUSDT"], MONTH).stretches] == [("2024-02",)]


def test_a_month_of_which_every_day_is_held_has_no_rows(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    markets.write_candles(lake, "BTCUSDT", frame(2 * 288))
    for day in (date(2024, 1, 1), date(2024, 1, 2)):
        hold(lake, TABLE, day=day)
    with pytest.raises(DataRejected):
        build(lake, ["BTCUSDT"], MONTH)
