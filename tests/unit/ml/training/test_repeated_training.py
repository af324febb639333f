"""A version of the features table gives the same model for ever, in memory or on disk, one that serves live as it was judged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.dataset import Dataset
from ml.data.feature_table.build import build
from ml.data.feature_table.columns import SHORT
from ml.data.feature_table.reading import load
from ml.models import base
from ml.training import own_words, train
from quantstream.lake.store import Lake
from tests.unit.ml import markets
from tests.unit.ml.conftest import SMALL

pytestmark = pytest.mark.slow
KINDS = ("signal", "risk")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
CLOSE = 1e-4  # probability that a model may differ by where features are rounded to float32


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, candles: dict[str, pd.DataFrame]) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for symbol, frame in candles.items():
        markets.write_candles(lake, symbol, frame)
    return lake


@pytest.fixture(scope="module")
def version(lake: Lake) -> int:
    return build(lake, SYMBOLS).version


def files(model: base.Model, folder: Path) -> dict[str, str]:
    """What a model is: the checksum of each of its files."""
    base.save(model, folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_gives_the_same_model_after_the_candles_went_on(
    kind: str, lake: Lake, version: int, tmp_path: Path
) -> None:
    first = train.prepare(kind, load(lake, tmp_path, version)[0])
    model = train.fit(first, SMALL)
    wanted = files(model, tmp_path / "first")
    later = markets.candles(300, 7)
    later["opened_at"] += pd.Timedelta(minutes=5 * 11_000)
    markets.write_candles(lake, "BTCUSDT", later)
    assert build(lake, SYMBOLS).version > version
    for most in (400_000, 0):  # in memory, on disk
        task = train.prepare(kind, load(lake, tmp_path, version, most=most)[0])
        assert files(train.fit(task, SMALL), tmp_path / str(most)) == wanted
        assert task.data.is_on_disk == (most == 0)
        judged = train.judge(task, model)
        assert judged.metrics.keys() == train.judge(first, model).metrics.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_judgement_on_disk_is_the_one_in_memory_where_baselines_see_all_rows(
    kind: str, lake: Lake, version: int, tmp_path: Path
) -> None:
    tasks = [train.prepare(kind, load(lake, tmp_path, version, most=most)[0]) for most in (400_000, 0)]
    model = train.fit(tasks[0], SMALL)
    memory, disk = (train.judge(task, model) for task in tasks)
    assert json.dumps(disk.fields()) == json.dumps(memory.fields())  # as text, for figures that are NaN


def test_of_many_symbols_some_are_judged_and_it_is_said_which(
    lake: Lake, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(lake, tmp_path, version)[0]
    whole = train.prepare("risk", data)
    assert own_words.judged(whole.data, whole.split) == []
    monkeypatch.setattr(train, "MOST_JUDGED", 1)
    task = train.prepare("risk", data)
    (judged,) = np.unique(data.symbol[task.split.judge])
    assert np.array_equal(task.split.judge, whole.split.judge[data.symbol[whole.split.judge] == judged])
    assert np.array_equal(task.split.fit, whole.split.fit)
    assert own_words.judged(task.data, task.split) == [
        f"judged on 1 of {len(data.symbols)} symbols, which their names chose"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_learnt_from_float32_says_the_same_of_the_live_scorers_float64(
    kind: str, lake: Lake, version: int, tmp_path: Path
) -> None:
    exact = load(lake, tmp_path, version)[0]
    short = rounded(exact)
    task = train.prepare(kind, short)
    model = train.fit(task, SMALL)
    rows = task.split.judge
    live = model.predict(exact.sequences(rows, model.names, model.length))
    judged = model.predict(short.sequences(rows, model.names, model.length))
    assert np.abs(live - judged).max() < CLOSE
    assert np.abs(live - judged).mean() < CLOSE / 100


def rounded(data: Dataset) -> Dataset:
    """The same rows as a table of many rows keeps them."""
    return replace(data, features=np.asarray(data.features).astype(SHORT).astype(np.float64))
