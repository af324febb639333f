"""A search for settings: alone it finds the same again, and several who share a database search one study together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from ml.training import tuning
from quantstream.core.errors import Misconfigured, Unavailable
from tests.unit.ml import markets


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candles")
    markets.candles(13_000, 5).to_parquet(folder / "BTCUSDT_5m.parquet")
    return folder


def begin(candles: Path, storage: str, trials: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ml", "tune", "--train", str(candles), "--trials", str(trials)]
    environment = os.environ | {"QUANTSTREAM_STUDIES": storage}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.mark.slow
def test_workers_that_share_a_database_search_one_study_and_make_its_trials_together(
    candles: Path, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    alone = end(begin(candles, storage, 2))
    assert alone["trials"] == 2
    both = [end(one) for one in [begin(candles, storage, 6) for _ in range(2)]]
    assert all(6 <= one["trials"] <= 7 for one in both), "the one that is not last may be within a trial"
    (study,) = optuna.get_all_study_summaries(storage)
    best = optuna.load_study(study_name=study.study_name, storage=storage)
    assert min(one["loss"] for one in both) == best.best_value <= alone["loss"]
    settings = [tuple(sorted(trial.params.items())) for trial in best.trials]
    assert len(set(settings)) == len(settings), "nobody tries what another tried"
    assert end(begin(candles, storage, 6))["trials"] == len(best.trials), "there is nothing left to try"


@pytest.mark.slow
def test_other_candles_are_another_study(candles: Path, tmp_path: Path) -> None:
    storage, other = f"sqlite:///{tmp_path / 'studies.db'}", tmp_path / "other"
    other.mkdir()
    markets.candles(13_000, 6).to_parquet(other / "BTCUSDT_5m.parquet")
    for folder in (candles, other):
        assert tuning.search(folder, "risk", 1, 5.0, storage)["trials"] == 1
    assert len(optuna.get_all_study_summaries(storage)) == 2


@pytest.mark.slow
def test_a_search_of_ones_own_finds_the_same_again(candles: Path) -> None:
    assert tuning.search(candles, "risk", 2, 5.0) == tuning.search(candles, "risk", 2, 5.0)


@pytest.mark.parametrize(
    ("storage", "kind", "told"),
    [
        (f"postgresql+nonsense://me:{'secret'}@host/db", Misconfigured, "QUANTSTREAM_STUDIES cannot be opened here"),
        ("sqlite:////nowhere/at/all.db", Unavailable, "the database of studies at /nowhere/at/all.db does not answer"),
    ],
)
def test_a_database_that_is_none_is_told_in_a_sentence_without_its_password(
    storage: str, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told) as error, tuning._told(storage):
        tuning.RDBStorage(storage)
    assert "secret" not in str(error.value)
