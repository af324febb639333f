"""MLflow behind its login, as in a cluster: the users that its pod makes, each on the real server with the code that uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.embedded.state import PROJECT
from ml.models import base
from ml.serving.registry import CHAMPION, Registry
from ml.training import train
from quantstream.core.errors import QuantStreamError
from quantstream.messages.models import MODEL_NAMES
from tests.infra.manifests import named, pod, render
from tests.unit.ml.conftest import SMALL, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = PROJECT / "infra" / "k8s" / "sources" / "services" / "base" / "mlflow-users.py"
ADMIN, PASSWORD = "quantstream", "a-long-password-of-the-admin"
NAME = "quantstream-risk"
USERS = ("reader", "reader-b", "trainer", "trainer-b")
Login = Callable[[str, str], None]


def password(user: str) -> str:
    return PASSWORD if user == ADMIN else f"a-long-password-of-{user}"


def variables() -> dict[str, Any]:
    """Return the variables of the pod's container."""
    (container,) = [
        one for one in pod(named(render("prod"), "Deployment", "mlflow"))["initContainers"] if one["name"] == "users"
    ]
    return {one["name"]: one.get("value") for one in container["env"]}


def make_users(folder: Path, **others: str) -> None:
    """Run what the pod runs before its server."""
    given = {f"{user.upper().replace('-', '_')}_PASSWORD": password(user) for user in USERS} | others
    given["MLFLOW_AUTH_CONFIG_PATH"] = str(folder / "basic_auth.ini")
    given |= {"MODELS": variables()["MODELS"], "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server and its users are kept."""
    place = tmp_path_factory.mktemp("login")
    (place / "basic_auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{place / 'users.db'}\n"
        f"admin_username = {ADMIN}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    return place


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The server, its users made before it."""
    make_users(folder)
    own = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "x" * 32,
    }
    with serving(folder, folder / "artifacts", "--app-name", "basic-auth", **own) as served:
        yield served


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Login:
    """Take a user's login, as a pod's variables do."""

    def take(user: str, secret: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)

    return take


@pytest.fixture(scope="module")
def risk(tasks: dict[str, train.Task]) -> base.Model:
    """A small model."""
    return train.fit(tasks["risk"], SMALL)


def register(url: str, model: base.Model) -> str:
    registry = Registry(url)
    reports = {"evaluation": {"kind": model.kind}}
    return registry.register(model, {"ece": 0.01}, reports, {"rounds": 20}, {"lake_version": "12"})


@pytest.fixture(scope="module")
def of_the_admin(url: str, risk: base.Model) -> str:
    """A version that was registered when the one login was the administrator's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        return register(url, risk)


def test_the_pod_makes_every_model_that_the_code_asks_for() -> None:
    assert set(variables()["MODELS"].split(",")) == set(MODEL_NAMES)


@pytest.mark.parametrize("user", USERS)
def test_of_a_registry_without_a_model_it_is_known_that_there_is_none(url: str, login: Login, user: str) -> None:
    login(user, password(user))
    assert Registry(url).alias_version("quantstream-anomaly", CHAMPION) is None


@pytest.mark.parametrize("user", ["trainer", "trainer-b"])
def test_the_trainer_registers_explains_and_promotes_also_what_others_made(
    url: str, login: Login, of_the_admin: str, risk: base.Model, user: str
) -> None:
    login(user, password(user))
    registry, version = Registry(url), register(url, risk)
    for each in (of_the_admin, version):
        registry.explain(NAME, each, ["as good as any"], promoted=True)
        registry.describe(NAME, each)
        registry.set_alias(NAME, CHAMPION, each)
    assert registry.alias_version(NAME, CHAMPION) == version
    assert registry.load(NAME, version).version == version


def test_the_reader_loads_the_champion_and_changes_nothing(
    url: str, login: Login, of_the_admin: str, risk: base.Model
) -> None:
    login(ADMIN, PASSWORD)
    Registry(url).set_alias(NAME, CHAMPION, of_the_admin)
    login("reader", password("reader"))
    registry = Registry(url)
    assert registry.champions() == {NAME: of_the_admin}
    card = registry.card(NAME)
    assert card is not None
    assert registry.load(NAME, card.version).version == of_the_admin
    changes: list[Callable[[], object]] = [
        lambda: registry.set_alias(NAME, CHAMPION, "1"),
        lambda: registry.tag(NAME, of_the_admin, "reasons", "mine"),
        lambda: register(url, risk),
    ]
    for change in changes:
        with pytest.raises(QuantStreamError, match=r"(?i)permission|403|forbidden"):
            change()
    assert registry.champions() == {NAME: of_the_admin}


@pytest.mark.parametrize("user", USERS)
def test_only_the_administrator_makes_users(url: str, user: str) -> None:
    asked = {"username": "another", "password": "a-long-password-of-another"}
    place = f"{url}/api/2.0/mlflow/users/create"
    assert requests.post(place, json=asked, auth=(user, password(user)), timeout=30).status_code == 403
    place = f"{url}/api/2.0/mlflow/users/update-admin"
    text = json.dumps({"username": user, "is_admin": True})
    header = {"Content-Type": "application/json"}
    assert requests.patch(place, data=text, headers=header, auth=(user, password(user)), timeout=30).status_code == 403


def test_without_a_login_nothing_is_answered(url: str) -> None:
    place = f"{url}/api/2.0/mlflow/registered-models/search"
    assert requests.get(place, timeout=30).status_code == 401
    assert requests.get(place, auth=("reader", "guessed"), timeout=30).status_code == 401


@pytest.fixture(scope="module")
def rotation(url: str, folder: Path) -> dict[str, dict[str, int]]:
    """What the reader's logins are answered at each step of a rotation, at which the pod starts anew; the last puts all back."""
    place = f"{url}/api/2.0/mlflow/registered-models/search"
    new = {"READER_B_PASSWORD": "another-long-password"}
    logins = {
        "old": ("reader", password("reader")),
        "new": ("reader-b", new["READER_B_PASSWORD"]),
        "new before": ("reader-b", password("reader-b")),
    }
    found = dict[str, dict[str, int]]()
    for step, given in {
        "renewed": new,
        "retired": new | {"READER_PASSWORD": "that-nobody-is-told"},
        "back": {},
    }.items():
        make_users(folder, **given)
        found[step] = {name: requests.get(place, auth=login, timeout=30).status_code for name, login in logins.items()}
    return found


def test_a_password_that_was_changed_is_taken_over_at_the_next_start(rotation: dict[str, dict[str, int]]) -> None:
    assert (rotation["renewed"]["new before"], rotation["renewed"]["new"]) == (401, 200)
    assert (rotation["back"]["new before"], rotation["back"]["new"]) == (200, 401)


def test_while_passwords_are_rotated_the_old_login_and_the_new_one_are_good(
    rotation: dict[str, dict[str, int]],
) -> None:
    assert (rotation["renewed"]["old"], rotation["renewed"]["new"]) == (200, 200)
    assert (rotation["retired"]["old"], rotation["retired"]["new"]) == (401, 200)
    assert rotation["back"]["old"] == 200
