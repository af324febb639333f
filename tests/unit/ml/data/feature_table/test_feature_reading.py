"""Rows on disk answer as rows in memory do, and a version says where its rows come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data import dataset, disk_rows
from ml.data.feature_table.build import build
from ml.data.feature_table.reading import Lineage, load
from ml.models import anomaly, forecast, risk, signal
from quantstream import features
from quantstream.core.errors import Unavailable
from quantstream.lake import partition_files
from quantstream.lake.store import Lake
from tests.unit.ml import markets

MONTH = 300


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two symbols over three months, one with holes."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    markets.write_candles(lake, "BTCUSDT", markets.candles(19_000, 1).drop(index=[5, *range(15_000, 15_020)]))
    markets.write_candles(lake, "ETHUSDT", markets.candles(12_000, 2))
    build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    return lake


@pytest.fixture(scope="module")
def both(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> tuple[dataset.Dataset, dataset.Dataset]:
    """The same version in memory and on disk."""
    scratch = tmp_path_factory.mktemp("scratch")
    return load(lake, scratch, None, MONTH)[0], load(lake, scratch, None, MONTH, most=0)[0]


def test_what_is_usable_is_the_same_in_memory_and_on_disk(
    both: tuple[dataset.Dataset, dataset.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = both
    assert (memory.is_on_disk, disk.is_on_disk) == (False, True)
    assert memory.spans == disk.spans
    cases = (
        (forecast.NAMES, forecast.LABELS, forecast.LENGTH),
        (signal.NAMES, (signal.LABEL,), 1),
        (risk.NAMES, (risk.LABEL, risk.SIZE), 1),
        (anomaly.NAMES, (), 1),
    )
    for names, needed, length in cases:
        rows = memory.usable(names, needed, length)
        assert len(rows)
        np.testing.assert_array_equal(disk.usable(names, needed, length), rows)
    monkeypatch.setattr(dataset, "BLOCK", 1_000)
    for names, needed, length in cases:
        known = np.isfinite(np.asarray(memory.features)[:, memory.columns(names)]).all(axis=1)
        follows = np.concatenate(
            [[False], (np.diff(memory.opened_at) == features.STEP_US) & (np.diff(memory.symbol) == 0)]
        )
        fit = dataset.run_lengths(known, follows) >= length
        for label in needed:
            fit &= np.isfinite(memory.labels[label])
        np.testing.assert_array_equal(disk.usable(names, needed, length), np.flatnonzero(fit))
        np.testing.assert_array_equal(memory.usable(names, needed, length), np.flatnonzero(fit))


def test_splits_are_the_same_whatever_the_blocks(
    both: tuple[dataset.Dataset, dataset.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = both
    rows = memory.usable(signal.NAMES, (signal.LABEL,))
    whole = dataset.split(memory, rows, signal.LABEL)
    monkeypatch.setattr(dataset, "BLOCK", 777)
    parted = dataset.split(disk, rows, signal.LABEL)
    for name in ("fit", "calibrate", "judge"):
        np.testing.assert_array_equal(getattr(parted, name), getattr(whole, name))


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.integers(0, 30_978), min_size=0, max_size=60),
    names=st.lists(st.sampled_from(features.NAMES), min_size=1, unique=True),
    length=st.integers(1, 16),
)
def test_any_rows_in_any_order_are_the_same_in_memory_and_on_disk(
    both: tuple[dataset.Dataset, dataset.Dataset], places: list[int], names: list[str], length: int
) -> None:
    memory, disk = both
    rows = np.array(places, dtype=np.intp)
    np.testing.assert_array_equal(disk.matrix(rows, names), memory.matrix(rows, names))
    rows = rows[rows >= length]
    np.testing.assert_array_equal(disk.sequences(rows, names, length), memory.sequences(rows, names, length))


def test_scratch_takes_less_than_a_third_of_what_the_features_of_all_rows_would(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_alone = 30_979 * len(features.NAMES) * 4  # as float32
    usage = disk_rows.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk_rows.shutil, "disk_usage", lambda _: usage._replace(free=features_alone // 3))
    assert load(lake, tmp_path, None, MONTH, most=0)[0].is_on_disk


def test_only_parts_and_columns_that_are_asked_for_are_read(
    both: tuple[dataset.Dataset, dataset.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[str, tuple[str, ...]]]()
    read = partition_files.read_part

    def watched(lake: Lake, name: str, part: partition_files.Part, columns: Sequence[str] | None = None) -> pa.Table:
        asked.append((part.key[1], tuple(columns or ())))
        return read(lake, name, part, columns)

    monkeypatch.setattr(partition_files, "read_part", watched)
    both[1].matrix(np.array([18_900, 18_800, 3]), ("momentum_5m", "hour_sin"))
    assert sorted(asked) == [(month, ("momentum_5m", "hour_sin")) for month in ("2024-01", "2024-03")]


def test_scratch_leaves_nothing_behind_and_says_when_the_disk_is_too_small(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = load(lake, tmp_path, None, MONTH, most=0)
    assert data.is_on_disk
    assert list(tmp_path.iterdir()) == []
    usage = disk_rows.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk_rows.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(Unavailable, match=r"take 0\.0 GB of scratch in .*, where 0\.0 GB are free"):
        load(lake, tmp_path, None, MONTH, most=0)


def test_a_version_says_where_its_rows_come_from(lake: Lake, tmp_path: Path) -> None:
    _, lineage = load(lake, tmp_path, None, MONTH)
    assert lineage.parts == {"BTCUSDT": ["2024-01", "2024-02", "2024-03"], "ETHUSDT": ["2024-01", "2024-02"]}
    assert (lineage.rows, lineage.candles_versions, lineage.corrected) == (30_979, (2, 2), 0)
    assert lineage.tags()["features_version"] == str(lineage.version)
    assert isinstance(lineage, Lineage)


def test_the_same_candles_in_another_lake_have_the_same_hash_of_rows(lake: Lake, tmp_path: Path) -> None:
    other = Lake(str(tmp_path / "lake"))
    markets.write_candles(other, "ETHUSDT", markets.candles(12_000, 2))
    holed: pd.DataFrame = markets.candles(19_000, 1).drop(index=[5, *range(15_000, 15_020)])
    markets.write_candles(other, "BTCUSDT", holed[:8_000])
    build(other, ["BTCUSDT", "ETHUSDT"], MONTH)
    markets.write_candles(other, "BTCUSDT", holed[8_000:])
    build(other, ["BTCUSDT", "ETHUSDT"], MONTH)
    assert load(other, tmp_path, None, MONTH)[1].rows_hash == load(lake, tmp_path, None, MONTH)[1].rows_hash
