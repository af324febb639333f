"""How the embedded Airflow runs: the environment, the command lines and the secrets of its four processes.

Airflow is made for a cluster: left alone it starts forty processes. Here it runs on SQLite with a LocalExecutor, and starts
what it is asked to within a second or two instead of within the half minutes that suit a cluster.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from pathlib import Path

from quantstream.core.errors import Misconfigured
from quantstream.files import PRIVATE, write_whole

PROJECT = Path(__file__).resolve().parents[3]
DAGS = PROJECT / "dags"
USER = "admin"
PASSWORD_FILE = "passwords.json"
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that a reader could take for something else
PARALLELISM = 2  # tasks at a time: the machine's cores
STOP_SECONDS = 5  # an open page must not keep the API server from stopping
QUIET = (
    "airflow.providers_manager=WARNING airflow.serialization=WARNING alembic=WARNING httpx=WARNING "
    "great_expectations=WARNING"
)
BESIDE = {  # what the preloaded libraries look at on import
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PYTHONWARNINGS": "ignore",
}
OPTIONS: dict[str, object] = {
    "api__instance_name": "QuantStream",
    "core__auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "core__dags_are_paused_at_creation": False,
    "core__executor": "infra.embedded.airflow.executor.WarmLocalExecutor",
    "core__hostname_callable": "socket.gethostname",  # no name server is asked
    "core__load_examples": False,
    "core__min_serialized_dag_update_interval": 5,
    "core__parallelism": PARALLELISM,
    "core__simple_auth_manager_users": f"{USER}:admin",
    "dag_processor__min_file_process_interval": 60,  # our files change when the code does
    "dag_processor__parsing_processes": 1,
    "dag_processor__print_stats_interval": 0,
    "dag_processor__refresh_interval": 60,
    "logging__colored_console_log": False,
    "logging__namespace_levels": QUIET,
    "logging__uvicorn_logging_level": "WARNING",
    "scheduler__job_heartbeat_sec": 2,
    "scheduler__scheduler_heartbeat_sec": 1,
    "scheduler__scheduler_idle_sleep_time": 0.5,
    "scheduler__task_queued_timeout": 3600,  # a training waits for its turn on a small machine
    # A task's process that is still exiting when its sockets close is looked at again only so much later: 5 s by default.
    "workers__min_heartbeat_interval": 1,
    "workers__execution_api_timeout": 30,  # a machine that is busy training answers late, and that is no failure
}


def commands(port: int, host: str = "127.0.0.1", python: str = sys.executable) -> dict[str, list[str]]:
    """Return the argument vector of each always-on process, in the order in which to start them.

    Logs of finished tasks are read from the shared folder, so that nobody needs to serve them on a port of their own.
    """
    airflow = [python, "-m", "airflow"]
    api = ["api-server", "--host", host, "--port", str(port), "--workers", "1", "--worker-timeout", str(STOP_SECONDS)]
    return {
        "airflow-api": [*airflow, *api],
        "airflow-scheduler": [*airflow, "scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": [*airflow, "dag-processor"],
        "airflow-triggerer": [*airflow, "triggerer", "--skip-serve-logs"],
    }


def migrate_command(python: str = sys.executable) -> list[str]:
    """Return the argument vector that makes or updates the metadata database; run it once before the processes."""
    return [python, "-m", "airflow", "db", "migrate"]


def environment(home: Path, port: int, host: str = "127.0.0.1", dags: Path = DAGS) -> dict[str, str]:
    """Return what all of Airflow's processes need in their environment, beside the `QUANTSTREAM_` settings of the tasks.

    It holds no secret: those are in `home`/airflow.cfg, which `prepare` makes.
    """
    home = home.absolute()
    address = f"http://{host}:{port}"
    logs = home / "logs"
    options = {
        **OPTIONS,
        "api__base_url": address,
        "core__dags_folder": dags,
        "core__execution_api_server_url": f"{address}/execution/",
        "core__plugins_folder": home / "plugins",
        "core__simple_auth_manager_passwords_file": home / PASSWORD_FILE,
        "database__sql_alchemy_conn": f"sqlite:///{home}/airflow.db?timeout=30",  # wait for the writer, don't fail at 5 s
        "logging__base_log_folder": logs,
        "logging__dag_processor_child_process_log_directory": logs / "dag_processor",
    }
    names = {f"AIRFLOW__{name}".upper(): str(value) for name, value in options.items()}
    return {"AIRFLOW_HOME": str(home), **BESIDE, **names}


def prepare(home: Path) -> str:
    """Make Airflow's home with its secrets and the admin's password, once, readable by their owner alone.

    Return the password. Restarts keep all of them: a session survives, and encrypted connections stay readable.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = home / "airflow.cfg"
    if not config.exists():
        write_whole(config, _secrets().encode(), PRIVATE)
    passwords = home / PASSWORD_FILE
    if not passwords.exists():
        drawn = "".join(secrets.choice(ALPHABET) for _ in range(16))
        write_whole(passwords, json.dumps({USER: drawn}).encode() + b"\n", PRIVATE)
    return password(home)


def password(home: Path) -> str:
    """Return the admin's password.

    Raises: Misconfigured when the file is damaged.
    """
    path = home / PASSWORD_FILE
    try:
        return str(json.loads(path.read_text())[USER])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Misconfigured(f"{path} is damaged; remove it, and the next start writes a new password") from None


def _secrets() -> str:
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return (
        f"[core]\nfernet_key = {fernet}\n\n"
        f"[api]\nsecret_key = {secrets.token_urlsafe(32)}\n\n"
        f"[api_auth]\njwt_secret = {secrets.token_urlsafe(48)}\n"
    )
