"""Searches for settings that share a real Postgres: in the database that the pod's script makes, with its own login."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest

from ml.training import tuning
from tests.infra.rights import postgres
from tests.infra.rights.object_store import secret
from tests.infra.rights.postgres import Postgres
from tests.unit.ml import markets
from tests.unit.ml.training.test_tuning import begin, end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if why := postgres.whats_missing():
        pytest.skip(why)
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("STUDIES ON POSTGRES NOT RUN: psycopg2 is not installed; make setup brings it")
    with postgres.running() as served:
        yield served


def test_two_searches_share_one_study_and_see_nothing_of_other_databases(server: Postgres, tmp_path: Path) -> None:
    markets.candles(13_000, 5).to_parquet(tmp_path / "BTCUSDT_5m.parquet")
    password = secret("postgres-logins", "studies-password")
    storage = f"postgresql://studies:{password}@127.0.0.1:{server.port}/studies"
    both = [end(one) for one in [begin(tmp_path, storage, 4) for _ in range(2)]]
    assert all(4 <= one["trials"] <= 5 for one in both), "the one that is not last may be within a trial"
    driver = storage.replace("postgresql://", "postgresql+psycopg2://")
    (study,) = optuna.get_all_study_summaries(driver)
    trials = optuna.load_study(study_name=study.study_name, storage=driver).trials
    assert len({tuple(sorted(trial.params.items())) for trial in trials}) == len(trials)
    refused = _asked(server, password, "mlflow")
    assert refused.returncode != 0
    assert "permission denied for database" in refused.stderr
    assert _asked(server, password, "studies").returncode == 0


def test_of_many_who_find_an_empty_database_one_makes_its_tables_and_all_open_it(server: Postgres) -> None:
    password = secret("postgres-logins", "studies-password")
    login = f"postgresql://studies:{password}@127.0.0.1:{server.port}"
    for turn in range(5):
        made = server.run(
            "psql",
            "--command",
            f"CREATE DATABASE empty{turn} OWNER studies",
            user="postgres",
            password=secret("postgres", "password"),
        )
        assert made.returncode == 0, made.stderr
        with ThreadPoolExecutor(6) as pool:
            assert len(list(pool.map(tuning.opened, [f"{login}/empty{turn}"] * 6))) == 6


def _asked(server: Postgres, password: str, database: str) -> subprocess.CompletedProcess[str]:
    return server.run("psql", "--dbname", database, "--command", "SELECT 1", user="studies", password=password)
