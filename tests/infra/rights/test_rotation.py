"""Passwords are rotated on the real Postgres and the real object store while somebody works: old and new logins overlap.

The steps are those of `infra/k8s/rotate`; with which secrets it takes them is tried in tests/infra/cluster/test_rotate.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantstream.lake.store import Lake
from tests.infra.rights import object_store, postgres
from tests.infra.rights.object_store import ObjectStore, secret
from tests.infra.rights.postgres import Postgres, logins
from tests.infra.rights.test_backups import LAKE, commit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 120.0  # seconds
FRESH, NOBODYS = "fresh-0123456789abcdef", "nobodys-0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """The object store."""
    if why := object_store.whats_missing():
        pytest.skip(why)
    with object_store.running(tmp_path) as served:
        yield served


@pytest.fixture
def database() -> Iterator[Postgres]:
    """Postgres, with the databases and logins of its pod."""
    if why := postgres.whats_missing():
        pytest.skip(why)
    with postgres.running() as served:
        yield served


def until(is_so: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        meanwhile()


def give(store: ObjectStore, name: str, key: str) -> None:
    """Change one user's key, as the Secret's file in the pod changes."""
    users = json.loads(store.users.read_text())
    users["accessAccounts"][name]["secret"] = key
    store.users.write_text(json.dumps(users))


def test_the_object_stores_keys(store: ObjectStore) -> None:
    old, fresh = store.login("sink"), ("sink-b", FRESH)
    lake, number = Lake(LAKE, store.options("sink")), 0

    def goes_on(with_lake: Lake) -> None:
        nonlocal number
        commit(with_lake, number)
        number += 1

    def takes(login: tuple[str, str]) -> bool:
        return store.ask_as(login, "GET", "") == 200  # what `rotate` asks

    goes_on(lake)
    assert takes(old)
    assert not takes(fresh)
    give(store, "sink-b", FRESH)
    until(lambda: takes(fresh), lambda: goes_on(lake))
    assert takes(old)
    goes_on(lake)  # a pod that still has the old one
    options = store.options("sink") | {"AWS_ACCESS_KEY_ID": fresh[0], "AWS_SECRET_ACCESS_KEY": fresh[1]}
    successor = Lake(LAKE, options)
    goes_on(successor)
    give(store, "sink", NOBODYS)
    until(lambda: not takes(old), lambda: goes_on(successor))
    goes_on(successor)
    assert successor.progress("candles", "candles.0") == number - 1


def test_postgres_logins(database: Postgres, tmp_path: Path) -> None:
    old = secret("postgres-logins", "mlflow-password")
    database.sql("mlflow", "CREATE TABLE runs (id int); INSERT INTO runs VALUES (1)", "mlflow", old)
    database.log_in(tmp_path / "passwords", logins() | {"mlflow-b-password": FRESH})
    database.sql("mlflow", "INSERT INTO runs VALUES (2)", "mlflow", old)
    made = "INSERT INTO runs VALUES (3); CREATE TABLE models (id int); ALTER TABLE runs ADD said text"
    database.sql("mlflow", made, "mlflow-b", FRESH)
    database.sql("mlflow", "INSERT INTO models VALUES (1)", "mlflow", old)  # whose owner is the same, whoever made it
    database.log_in(tmp_path / "passwords", logins() | {"mlflow-password": NOBODYS, "mlflow-b-password": FRESH})
    refused = database.run("psql", "--dbname", "mlflow", user="mlflow", password=old)
    assert "password authentication failed" in refused.stderr
    assert database.sql("mlflow", "SELECT count(*) FROM runs", "mlflow-b", FRESH) == ["3"]
    refused = database.run("psql", "--dbname", "airflow", user="mlflow-b", password=FRESH)
    assert "permission denied" in refused.stderr


@pytest.mark.parametrize("login", ["backup", "backup-b"])
def test_both_logins_of_backups_read_all_and_write_nothing(database: Postgres, login: str) -> None:
    password = secret("postgres-logins", f"{login}-password")
    database.sql("mlflow", "CREATE TABLE IF NOT EXISTS runs (id int)", "mlflow")
    assert database.sql("mlflow", "SELECT count(*) FROM runs", login, password) == ["0"]
    done = database.run(
        "psql", "--dbname", "mlflow", user=login, password=password, given="INSERT INTO runs VALUES (1);"
    )
    assert "read-only transaction" in done.stderr
