"""Nothing holds a secret that it does not use: every secret with all its holders, and the stages' by what their code opens."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.embedded.state import PROJECT
from quantstream.messages.stages import STAGES
from tests.infra.manifest_checks import secret_keys
from tests.infra.manifests import K8S, TEMPLATED, Object, of_kind, render, secret_script, space, title, variables, walk

KAFKA = {"ingest", "aggregate", "detect", "sink", "score", "dashboard"}
USERS = KAFKA | {"operations", "keda"}
OWN = {"airflow", "airflow-scheduler", "airflow-dag-processor"}  # Airflow's pods that run always
HOLDERS = {  # namespace, secret → who holds it
    ("quantstream", "objects"): {"objects"},
    ("quantstream", "objects-users"): {"objects"},
    ("quantstream", "objects-sink"): {"sink"},
    ("quantstream", "objects-score"): {"score"},
    ("quantstream", "objects-dashboard"): {"dashboard"},
    ("quantstream", "objects-replay"): {"replay-"},
    ("quantstream", "objects-mlflow"): {"mlflow"},
    ("quantstream", "objects-backup"): {"backup-lake", "backup-models", "backup-postgres"},
    ("quantstream", "objects-restore"): {"restore-", "restore-postgres-"},
    ("quantstream", "objects-databases"): {"databases"},  # of the server's own backups, where they lie beside the lake
    ("quantstream", "postgres-backup"): {"backup-postgres"},
    ("quantstream", "postgres-logins"): {"postgres-logins"},
    ("quantstream", "mlflow"): {"mlflow"},
    ("quantstream", "mlflow-logins"): {"mlflow"},
    ("quantstream", "mlflow-reader"): {"detect", "score", "dashboard"},
    ("quantstream", "mlflow-trainer"): set[str](),  # of a person who moves an alias
    ("quantstream", "postgres"): {"databases", "postgres-logins", "restore-postgres-"},
    ("quantstream", "quantstream-cluster-ca-cert"): KAFKA | {"replay-", "kafka"},
    ("quantstream", "keda-kafka"): {"kafka"},
    ("quantstream", "kafka-operations"): {"replay-"},
    ("quantstream", "kafka-logins"): USERS,
    ("quantstream", "kafka-logins-b"): {f"{name}-b" for name in USERS},
    ("quantstream", "backups-elsewhere"): {  # made by whoever has a place for them
        *("backup-lake", "backup-models", "backup-postgres", "restore-", "restore-postgres-"),
    },
    ("quantstream", "objects-logins"): set[str](),  # what `objects-users` is made of
    **{("quantstream", f"kafka-{name}"): {name} for name in KAFKA},
    ("quantstream-airflow", "objects-tasks"): {"task"},
    ("quantstream-airflow", "mlflow-trainer"): {"task"},
    ("quantstream-airflow", "kafka-operations"): {"task"},
    ("quantstream-airflow", "studies"): set[str](),  # of a person who begins a search
    ("quantstream-airflow", "airflow-database"): OWN | {"airflow-cleanup"},
    ("quantstream-airflow", "airflow-fernet-key"): OWN,
    ("quantstream-airflow", "airflow-api-secret-key"): OWN,
    ("quantstream-airflow", "airflow-jwt-secret"): OWN,
    ("quantstream-airflow", "airflow-admin"): {"airflow"},
}


# How CloudNativePG and its plugin are told of a secret.
BY_OPERATOR = (".superuserSecret", ".accessKeyId", ".secretAccessKey", ".s3Credentials.region")


def held(thing: Object) -> Iterator[str]:
    """Go through the secrets that an object refers to."""
    for path, value in walk(thing):
        if isinstance(value, dict) and (
            path.endswith((".secretKeyRef", ".secret", *BY_OPERATOR)) or ".secretTargetRef[" in path
        ):
            yield value.get("name") or value["secretName"]


def test_every_secret_has_just_the_holders_that_use_it() -> None:
    objects = render("prod-replay")
    found: dict[tuple[str, str], set[str]] = {place: set() for place in secret_keys(objects)}
    for one in objects:
        for name in held(one):
            found.setdefault((space(one), name), set()).add(
                one["metadata"].get("name") or one["metadata"]["generateName"]
            )
    assert found == HOLDERS


def test_postgres_may_be_somebody_elses(tmp_path: Path) -> None:
    shutil.copy(K8S / "secrets.sh", tmp_path)
    named = "POSTGRES=db.example.com"
    text = (K8S / "versions.conf").read_text()
    (tmp_path / "versions.conf").write_text(re.sub(r"^POSTGRES=\S+", named, text, flags=re.MULTILINE))
    made = subprocess.run([tmp_path / "secrets.sh", "--print"], capture_output=True, text=True, check=True).stdout
    held = {
        (space(one), one["metadata"]["name"]): {key: b64decode(value).decode() for key, value in one["data"].items()}
        for one in yaml.safe_load_all(made)
        if one
    }
    assert "@db.example.com:5432/mlflow" in held["quantstream", "mlflow"]["database-uri"]
    assert "@db.example.com:5432/mlflow_login" in held["quantstream", "mlflow"]["basic-auth"]
    assert "@db.example.com:5432/airflow" in held["quantstream-airflow", "airflow-database"]["connection"]
    assert held["quantstream", "postgres-backup"]["host"] == "db.example.com"
    assert held["quantstream", "postgres"]["host"] == "db.example.com"


def opened(stage: str) -> set[str]:
    """Return what the code of a stage opens, by the names that its wiring uses."""
    tree = ast.parse((PROJECT / "streaming" / "wiring.py").read_text())
    functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    seen, waiting = set[str](), [f"_{stage}"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if name in functions:
            used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
            waiting += used - seen
    return seen & {"Lake", "Registry"}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("system", ["local", "prod"])
def test_a_stage_holds_the_keys_of_what_its_code_opens(system: str, name: str) -> None:
    (workload,) = [
        one
        for one in of_kind(render(system), *TEMPLATED)
        if one["metadata"].get("labels", {}).get("quantstream.io/stage") == name
    ]
    given = set(variables(workload))
    assert ("AWS_SECRET_ACCESS_KEY" in given) is ("Lake" in opened(name))
    assert ("MLFLOW_TRACKING_PASSWORD" in given) is ("Registry" in opened(name))
    secrets = set(held(workload))
    assert secrets <= {f"objects-{name}", "mlflow-reader", f"kafka-{name}", "quantstream-cluster-ca-cert"}, title(
        workload
    )


def test_no_secret_of_the_stages_lies_beside_tasks() -> None:
    beside = {one["metadata"]["name"] for one in secret_script() if space(one) == "quantstream-airflow"}
    assert {name for name in beside if not name.startswith("airflow-")} == {
        "objects-tasks",
        "mlflow-trainer",
        "studies",  # of searches for settings, by hand
        "kafka-operations",
    }
