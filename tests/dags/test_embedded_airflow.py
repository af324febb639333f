"""The home, the environment and the command lines of the embedded Airflow."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path

from infra.local import airflow


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    password = airflow.prepare(home)
    files = {path.name: path.read_text() for path in home.iterdir()}
    assert sorted(files) == ["airflow.cfg", "passwords.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert airflow.prepare(home) == password == airflow.password(home)
    assert {path.name: path.read_text() for path in home.iterdir()} == files


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    assert airflow.prepare(tmp_path / "a") != airflow.prepare(tmp_path / "b")
    assert (tmp_path / "a" / "airflow.cfg").read_text() != (tmp_path / "b" / "airflow.cfg").read_text()


def test_the_environment_holds_no_secret_and_one_address_everywhere(tmp_path: Path) -> None:
    password = airflow.prepare(tmp_path)
    config = configparser.ConfigParser(interpolation=None)
    config.read(tmp_path / "airflow.cfg")
    secrets = [password, *(value for section in config.sections() for value in config[section].values())]
    environment = airflow.environment(tmp_path, port=12345)
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in " ".join(environment.values())] == []
    assert environment["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:12345"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:12345/execution/"
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(airflow.DAGS)


def test_every_process_is_on_loopback_and_serves_no_second_port() -> None:
    commands = airflow.commands(12345, python="python")
    assert {name: command[3] for name, command in commands.items()} == {
        "airflow-api": "api-server",
        "airflow-scheduler": "scheduler",
        "airflow-dag-processor": "dag-processor",
        "airflow-triggerer": "triggerer",
    }
    assert commands["airflow-api"][4:8] == ["--host", "127.0.0.1", "--port", "12345"]
    assert [name for name, command in commands.items() if "--skip-serve-logs" in command] == [
        "airflow-scheduler",
        "airflow-triggerer",
    ]
