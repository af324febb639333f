"""The home, the environment and the command lines of the embedded Airflow."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path

from infra.embedded.airflow import environment


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    password = environment.prepare(home)
    files = {path.name: path.read_text() for path in home.iterdir()}
    assert sorted(files) == ["airflow.cfg", "passwords.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert environment.prepare(home) == password == environment.password(home)
    assert {path.name: path.read_text() for path in home.iterdir()} == files


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    assert environment.prepare(tmp_path / "a") != environment.prepare(tmp_path / "b")
    assert (tmp_path / "a" / "airflow.cfg").read_text() != (tmp_path / "b" / "airflow.cfg").read_text()


def test_the_environment_holds_no_secret_and_one_address_everywhere(tmp_path: Path) -> None:
    password = environment.prepare(tmp_path)
    config = configparser.ConfigParser(interpolation=None)
    config.read(tmp_path / "airflow.cfg")
    secrets = [password, *(value for section in config.sections() for value in config[section].values())]
    variables = environment.environment(tmp_path, port=12345)
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in " ".join(variables.values())] == []
    assert variables["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:12345"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:12345/execution/"
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(environment.DAGS)


def test_every_process_is_on_loopback_and_serves_no_second_port() -> None:
    commands = environment.commands(12345, python="python")
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
