"""Backups and their way back, with the pods' own scripts, commands and logins on the real Postgres and the real object store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.state import PROJECT
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake, Step
from tests.infra.manifests import K8S, containers, named, render
from tests.infra.rights import object_store, postgres
from tests.infra.rights.object_store import ObjectStore, secret
from tests.infra.rights.postgres import Postgres
from tests.unit.quantstream.lake.test_store import candle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first time the store is built
LAKE = "s3://quantstream/lake"
SCRIPTS = K8S / "sources" / "services" / "base"
OWNERS = {"airflow": "airflow", "mlflow": "mlflow", "mlflow_login": "mlflow"}
NAMES = ["BTCUSDT", "O'X=Y/%20", "币安人生USDT"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """The object store."""
    if why := object_store.whats_missing():
        pytest.skip(why)
    with object_store.running(tmp_path_factory.mktemp("objects")) as served:
        yield served


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Postgres, with the databases and logins of its pod."""
    if why := postgres.whats_missing():
        pytest.skip(why)
    with postgres.running() as served:
        yield served


def command(store: ObjectStore, role: str, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run what a pod's container runs, with the key that it holds."""
    given = store.options(role) | {"PYTHONPATH": str(PROJECT), "QUANTSTREAM_LAKE": LAKE, "PATH": "/usr/bin:/bin"} | more
    return subprocess.run(
        [sys.executable, *words[1:]], env=given, capture_output=True, text=True, check=False, timeout=300, cwd="/tmp"
    )


def words_of(kind: str, name: str, **places: str) -> list[str]:
    """Return the words of the container that runs our image, with places of this machine."""
    workloads = [one for one in render("local-replay") if one["kind"] == kind]
    (found,) = [one for one in workloads if name in (one["metadata"].get("name"), one["metadata"].get("generateName"))]
    (ours,) = [one for one in containers(found) if "/streaming:" in one["image"]]
    return [places.get(word.strip("/"), word) for word in ours["args"]]


def commit(lake: Lake, number: int) -> None:
    step = Step(number - 1 if number else None, number)
    rows = candle_rows([candle(number, name) for name in NAMES])
    lake.append("candles", rows, {"candles.0": step}, {"candles.0": f"state {number}".encode()})


def test_the_lake_goes_to_the_other_bucket_and_comes_back_while_its_writer_goes_on(store: ObjectStore) -> None:
    lake = Lake(LAKE, store.options("sink"))
    for number in range(3):
        commit(lake, number)
    rows = lake.read("candles")
    made = command(store, "backup", words_of("CronJob", "backup-lake"))
    assert made.returncode == 0, made.stderr
    commit(lake, 3)
    again = command(store, "backup", words_of("CronJob", "backup-lake"))
    assert again.returncode == 0, again.stderr
    assert "5 of them new" in again.stdout  # a file of each symbol, a commit and a state
    stamp = made.stdout.split()[1]
    back = command(store, "restore", [*words_of("Job", "restore-"), "--at", stamp])
    assert back.returncode == 0, back.stderr
    found = Lake(f"{LAKE}/restored", store.options("sink"))
    assert found.read("candles").equals(rows)
    assert found.states("candles") == {"candles.0": b"state 2"}
    commit(found, 3)  # the sink goes on from there
    assert found.read("candles").equals(lake.read("candles"))
    refused = command(store, "restore", words_of("Job", "restore-"))
    assert (refused.returncode, "name a new folder" in refused.stderr) == (2, True)


def test_backups_may_be_kept_in_another_store(store: ObjectStore, tmp_path: Path) -> None:
    commit(Lake(f"{LAKE}/other", store.options("sink")), 0)
    with object_store.running(tmp_path / "elsewhere") as other:
        elsewhere = {f"BACKUPS_{name}": value for name, value in other.options("backup").items()}
        words = [
            "python",
            "-m",
            "streaming",
            "backup",
            "lake",
            "--of",
            f"{LAKE}/other",
            "--backups",
            "s3://backups/of-other",
        ]
        made = command(store, "backup", words, **elsewhere)
        assert made.returncode == 0, made.stderr
        elsewhere = {f"BACKUPS_{name}": value for name, value in other.options("restore").items()}
        words = [
            "python",
            "-m",
            "streaming",
            "restore",
            "lake",
            "--backups",
            "s3://backups/of-other",
            "--to",
            f"{LAKE}/back",
        ]
        back = command(store, "restore", words, **elsewhere)
        assert back.returncode == 0, back.stderr
    assert Lake(f"{LAKE}/back", store.options("sink")).version("candles") == 1
    listed = command(
        store,
        "backup",
        ["python", "-m", "streaming", "restore", "lake", "--list", "--backups", "s3://backups/of-other"],
    )
    assert listed.stdout == "there is no backup\n"


def test_models_files_come_back(store: ObjectStore) -> None:
    for name in ("1/models/m-1/weights.npz", "1/models/m-1/MLmodel"):
        assert store.ask("mlflow", "PUT", f"quantstream/mlflow/{name}", f"of {name}") == 200
    made = command(store, "backup", words_of("CronJob", "backup-models"))
    assert made.returncode == 0, made.stderr
    words = ["python", "-m", "streaming", "restore", "models", "--backups", "s3://backups"]
    back = command(store, "restore", [*words, "--to", "s3://quantstream/mlflow/restored"])
    assert back.returncode == 0, back.stderr
    assert store.ask("mlflow", "GET", "quantstream/mlflow/restored/1/models/m-1/weights.npz") == 200


def fill(database: Postgres) -> None:
    for name, owner in OWNERS.items():
        rows = "SELECT n, 'row ' || n FROM generate_series(1, 1000) AS n"
        database.sql(name, f"CREATE TABLE things (id int PRIMARY KEY, said text); INSERT INTO things {rows};", owner)


def dumped(database: Postgres, folder: Path) -> subprocess.CompletedProcess[str]:
    given = database.variables("backup", secret("postgres-backup", "password"))
    return script(given, "backup-dump.sh", folder)


def script(given: dict[str, str], name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(SCRIPTS / name), str(folder)]
    return subprocess.run(words, env=given, capture_output=True, text=True, check=False, timeout=300)


def test_databases_are_dumped_kept_and_put_back_whole(database: Postgres, store: ObjectStore, tmp_path: Path) -> None:
    fill(database)
    (tmp_path / "dump").mkdir()
    done = dumped(database, tmp_path / "dump")
    assert done.returncode == 0, done.stderr
    made = command(store, "backup", words_of("CronJob", "backup-postgres", dump=str(tmp_path / "dump")))
    assert made.returncode == 0, made.stderr
    for name, owner in OWNERS.items():
        database.sql(name, "DELETE FROM things WHERE id > 10; CREATE TABLE later (id int);", owner)
    back = command(store, "restore", words_of("Job", "restore-postgres-", dump=str(tmp_path / "back")))
    assert back.returncode == 0, back.stderr
    given = database.variables("postgres", secret("postgres", "password"))
    put = script(given, "backup-put-back.sh", tmp_path / "back")
    assert put.returncode == 0, put.stderr
    for name, owner in OWNERS.items():
        assert database.sql(name, "SELECT count(*), max(said) FROM things", owner) == ["1000|row 999"]
        database.sql(
            name, "INSERT INTO things VALUES (1001, 'as its owner'); DELETE FROM things WHERE id = 1001;", owner
        )


def test_nothing_is_put_back_under_somebodys_session(database: Postgres, tmp_path: Path) -> None:
    given = database.variables("mlflow", secret("postgres-logins", "mlflow-password"))
    words = [str(postgres.bin_folder() or "") + "/psql", "--no-psqlrc", "--quiet", "mlflow"]
    with subprocess.Popen(words, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("\\echo here\n")
        session.stdin.flush()
        assert session.stdout.readline() == "here\n"
        administrator = database.variables("postgres", secret("postgres", "password"))
        assert dumped(database, tmp_path).returncode == 0
        put = script(administrator, "backup-put-back.sh", tmp_path)
        session.stdin.close()
        session.wait(30)
    assert put.returncode == 1
    assert "scale Airflow and MLflow to none first" in put.stderr


def test_a_dump_that_was_cut_changes_nothing(database: Postgres, tmp_path: Path) -> None:
    database.sql(
        "airflow", "DROP TABLE IF EXISTS things; CREATE TABLE things AS SELECT generate_series(1, 10) AS id", "airflow"
    )
    assert dumped(database, tmp_path).returncode == 0
    cut = tmp_path / "airflow.dump"
    cut.write_bytes(cut.read_bytes()[:-200])
    database.sql("airflow", "INSERT INTO things VALUES (11)", "airflow")
    put = script(database.variables("postgres", secret("postgres", "password")), "backup-put-back.sh", tmp_path)
    assert put.returncode != 0
    assert database.sql("airflow", "SELECT count(*) FROM things", "airflow") == ["11"]


def test_the_login_of_backups_reads_everything_and_writes_nothing(database: Postgres) -> None:
    login = {"user": "backup", "password": secret("postgres-backup", "password")}
    for name in OWNERS:
        done = database.run("psql", "--dbname", name, **login, given="CREATE TABLE mine (id int);")
        assert "read-only transaction" in done.stderr
        writing = "SET default_transaction_read_only TO off; CREATE TABLE public.mine (id int);"
        done = database.run("psql", "--dbname", name, **login, given=writing)
        assert "permission denied" in done.stderr


def test_an_owner_sees_nothing_of_the_other(database: Postgres) -> None:
    done = database.run(
        "psql", "--dbname", "airflow", user="mlflow", password=secret("postgres-logins", "mlflow-password")
    )
    assert "permission denied" in done.stderr


def test_a_dump_that_failed_is_none(database: Postgres, store: ObjectStore, tmp_path: Path) -> None:
    given = database.variables("backup", "guessed")
    assert script(given, "backup-dump.sh", tmp_path).returncode != 0
    assert not list(tmp_path.glob("*.dump"))


def test_every_cron_job_of_backups_says_when_and_keeps_only_one_at_work() -> None:
    times = set()
    for name in ("backup-postgres", "backup-models", "backup-lake"):
        spec = named(render("prod"), "CronJob", name)["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        times.add(spec["schedule"])
    assert len(times) == 3
