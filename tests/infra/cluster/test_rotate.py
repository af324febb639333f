"""`infra/k8s/rotate` with the real kubectl against an API: at no moment is a pod left with a login that its server does not know.

What needs pods (a question to a server, a rollout) is answered by a stand-in, which may be told to refuse. What the servers
themselves do with two logins is tried on real ones: tests/infra/rights/test_rotation.py and test_acls.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.cluster.api_store import Cluster
from tests.infra.cluster.conftest import Kubectl
from tests.infra.cluster.test_up import secrets
from tests.infra.manifests import K8S
from tests.infra.rights.test_secrets import USERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STAND_IN = """#!/bin/sh
# Pods answer by this; all else is the real one's.
words=$*
case "$words" in
  *" exec "* | *" rollout "*)
    cat >/dev/null 2>&1 <&0 || true
    echo "$words" >> "$ASKED"
    [ ! -s "$REFUSED" ] || case "$words" in *$(cat "$REFUSED")*) exit 1 ;; esac
    exit 0 ;;
  *"quantstream-airflow get deployments,statefulsets "*) echo deployment/airflow; exit 0 ;;
  *" get deployments,statefulsets "*)
    printf '%s\\n' statefulset/postgres statefulset/objects deployment/mlflow statefulset/sink
    exit 0 ;;
  *" get pods "* | *" get jobs "*) cat "$WORKING" 2>/dev/null; exit 0 ;;
  *"secret "*"jsonpath={.data.password}"*)
    name=$(printf '%s' "$words" | sed 's/.* secret \\([a-z-]*\\) .*/\\1/')
    case "$name" in *-b) user=${name%-b} second=-b ;; *) user=$name second= ;; esac
    case " $USERS " in
      *" $user "*) exec "$REAL" --namespace quantstream get secret "kafka-logins$second" --output "jsonpath={.data.$user}" ;;
    esac ;;
esac
exec "$REAL" "$@"
"""
Rotate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def installed(kubectl: Kubectl, environment: dict[str, str]) -> None:
    """Have every secret in the cluster."""
    kubectl("apply", "--filename", "production/infrastructure/00-namespace.yaml")
    subprocess.run([K8S / "secrets.sh"], env=environment, check=True, capture_output=True, timeout=400)


@pytest.fixture
def rotate(tmp_path: Path, installed: None, environment: dict[str, str]) -> Rotate:
    """The script, in a cluster that has its secrets."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text(STAND_IN)
    (folder / "kubectl").chmod(0o755)
    own = {
        "PATH": f"{folder}:{environment['PATH']}",
        "REAL": str(shutil.which("kubectl")),
        "ASKED": str(tmp_path / "asked"),
        "REFUSED": str(tmp_path / "refused"),
        "WORKING": str(tmp_path / "working"),
        "USERS": " ".join(sorted(USERS)),
        "WAIT": "1",
        "PAUSE": "1",
    }

    def run(refused: str = "", working: str = "", folder: Path = K8S) -> subprocess.CompletedProcess[str]:
        (tmp_path / "refused").write_text(refused)
        (tmp_path / "working").write_text(working)
        command, given = [str(folder / "rotate")], environment | own
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=600, check=False)

    return run


def in_use(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Return the login that a pod which starts now is given, by the secret that it is in."""
    held, found = secrets(cluster), {}
    for name, one in held.items():
        if {"username", "password"} <= set(one) and name != "quantstream/postgres":  # the administrator's
            found[name] = one["username"], one["password"]
        if {"access-key", "secret-key"} <= set(one) and name != "quantstream/objects":
            found[name] = one["access-key"], one["secret-key"]
        for key in ("connection", "database-uri", "basic-auth"):
            if key in one:
                (found[f"{name} {key}"],) = re.findall(r"postgresql\+psycopg2://([a-z-]+):([0-9a-f]+)@", one[key])
    return found


def known(cluster: Cluster) -> set[tuple[str, str]]:
    """Return every login that some server knows."""
    held = {name.partition("/")[2]: one for name, one in secrets(cluster).items()}
    found = {(name.removesuffix("-password"), text) for name, text in held["postgres-logins"].items()}
    found |= set(re.findall(r'"access": "([a-z-]+)", "secret": "([0-9a-f]+)"', held["objects-users"]["users.json"]))
    found |= set(held["mlflow-logins"].items()) | set(held["kafka-logins"].items())
    return found | {(f"{name}-b", text) for name, text in held["kafka-logins-b"].items()}


def test_every_login_is_another_and_the_old_ones_are_worth_nothing(cluster: Cluster, rotate: Rotate) -> None:
    before = in_use(cluster)
    assert len(before) > 15
    assert set(before.values()) <= known(cluster)
    done = rotate()
    assert done.returncode == 0, done.stdout + done.stderr
    after = in_use(cluster)
    assert {name: login[0] for name, login in after.items()} == {
        name: f"{login[0]}-b" for name, login in before.items()
    }
    assert set(after.values()) <= known(cluster)
    assert not set(before.values()) & known(cluster)
    again = rotate()
    assert again.returncode == 0, again.stdout + again.stderr
    assert {name: login[0] for name, login in in_use(cluster).items()} == {
        name: login[0] for name, login in before.items()
    }
    assert not (set(after.values()) | set(before.values())) & known(cluster)


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("psql", "Postgres does not take the login mlflow-b"),
        ("curl", "the object store does not take the login sink-b"),
        ("status statefulset/sink", "statefulset/sink is not ready"),
        ("status deployment/airflow", "deployment/airflow is not ready"),
    ],
    ids=["postgres", "objects", "sink", "airflow"],
)
def test_stopped_anywhere_old_pods_and_new_ones_can_still_log_in_and_it_goes_on(
    cluster: Cluster, rotate: Rotate, refused: str, said: str
) -> None:
    before = in_use(cluster)
    stopped = rotate(refused)
    assert stopped.returncode == 1
    assert said in stopped.stderr
    assert set(before.values()) <= known(cluster)
    middle = in_use(cluster)
    assert set(middle.values()) <= known(cluster)
    done = rotate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(in_use(cluster).values()) <= known(cluster)
    assert not set(before.values()) & known(cluster)


def test_postgres_is_asked_where_its_logins_are_made(rotate: Rotate, tmp_path: Path) -> None:
    assert rotate().returncode == 0
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if "psql" in line]
    assert asked
    assert {" exec --stdin deployment/postgres-logins --container logins " in line for line in asked} == {True}


def test_a_task_that_still_runs_keeps_its_login(cluster: Cluster, rotate: Rotate) -> None:
    before = in_use(cluster)
    stopped = rotate(working="pod/task-1")
    assert "tasks of Airflow or jobs still run with the old set" in stopped.stderr
    assert set(before.values()) <= known(cluster)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("unread", ["get secrets", "get configmap"])
def test_secrets_that_cannot_be_read_are_not_made_anew(
    cluster: Cluster, environment: dict[str, str], tmp_path: Path, unread: str
) -> None:
    before, made = secrets(cluster), len(cluster.changes)
    deaf = tmp_path / "kubectl"
    deaf.write_text(f"""#!/bin/sh\ncase "$*" in *"{unread}"*) exit 1 ;; esac\nexec {shutil.which("kubectl")} "$@"\n""")
    deaf.chmod(0o755)
    own = environment | {"PATH": f"{tmp_path}:{environment['PATH']}"}
    assert subprocess.run([K8S / "secrets.sh"], env=own, capture_output=True, timeout=100).returncode == 1
    assert (secrets(cluster), cluster.changes[made:]) == (before, [])
