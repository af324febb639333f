"""Each container of ours with just the environment that a node would give it: settings it takes, a command that its image has.

Beside what the manifests name a pod gets the image's own variables and, unless it declines, one set for every Service of its
namespace. Both are put together here for each container, with what secrets hold in the shape that `secrets.sh` makes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.airflow.environment import environment as embedded_airflow
from infra.embedded.state import PROJECT
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings
from tests.infra.manifests import (
    SYSTEMS,
    TEMPLATED,
    Object,
    containers,
    named,
    of_kind,
    pod_labels,
    render,
    secret_script,
    space,
    title,
)
from tests.infra.test_images import lock, locked, targets

PROGRAMS = {
    "streamlit": "streamlit",
    "mlflow": "mlflow",
    "airflow": "apache-airflow",
}  # command → package that brings it
SHELL = {"sh", "date", "find", "mkdir"}  # of every base image
# Options of apache-airflow-providers-cncf-kubernetes 10.25, which is in the image only, from its `get_provider_info`.
KUBERNETES_EXECUTOR = {"delete_worker_pods", "delete_worker_pods_on_failure", "namespace", "pod_template_file"}
USERS_CREATE = {
    "--username",
    "--firstname",
    "--lastname",
    "--email",
    "--role",
    "--password",
}  # of the FAB provider 3.10


def role(container: Object) -> str:
    """Return the target of the Dockerfile that a container's image is; empty for images of others."""
    found = re.fullmatch(r"\S+/quantstream/([a-z]+):\S+", container["image"])
    return found[1] if found else ""


def ours() -> Iterator[Any]:
    """Go through every container that runs an image of ours, in every system."""
    for system in SYSTEMS:
        for workload in of_kind(render(system), *TEMPLATED):
            for container in containers(workload):
                if role(container):
                    name = f"{system}-{title(workload)}-{container['name']}".replace(" ", "-")
                    yield pytest.param(system, workload, container, id=name)


EVERY = list(ours())


def of_image(name: str) -> dict[str, str]:
    """Return the variables that a role's image sets."""
    text = targets()["runtime"] + targets()[name]
    lines = re.findall(r"^ENV (.+)$", text, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def service_links(objects: Sequence[Object], namespace: str) -> dict[str, str]:
    """Return what Kubernetes sets for the Services of a namespace (kubernetes.io/docs/concepts/services-networking/service)."""
    links = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    services = [one for one in of_kind(objects, "Service") if space(one) == namespace]
    ports = {one["metadata"]["name"]: one["spec"]["ports"] for one in services}
    if namespace == "quantstream":
        ports["quantstream-kafka-bootstrap"] = [
            {"name": "tcp-clientstls", "port": 9093},
            {"name": "tcp-replication", "port": 9091},
        ]
    for service, offered in ports.items():
        name, host = service.upper().replace("-", "_"), "10.96.0.17"
        links |= {f"{name}_SERVICE_HOST": host, f"{name}_SERVICE_PORT": str(offered[0]["port"])}
        links[f"{name}_PORT"] = f"tcp://{host}:{offered[0]['port']}"
        for port in offered:
            number = port["port"]
            links[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(number)
            links[f"{name}_PORT_{number}_TCP"] = f"tcp://{host}:{number}"
            links[f"{name}_PORT_{number}_TCP_PROTO"] = "tcp"
            links[f"{name}_PORT_{number}_TCP_PORT"] = str(number)
            links[f"{name}_PORT_{number}_TCP_ADDR"] = host
    return links


def environment(objects: Sequence[Object], workload: Object, container: Object) -> dict[str, str]:
    """Return the variables of a container, without service links."""
    given = of_image(role(container)) | {"HOSTNAME": "score-0"}
    for source in container.get("envFrom", ()):
        given |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for one in container.get("env", ()):
        value = one["value"] if "value" in one else _referred(objects, workload, one["valueFrom"])
        if value is not None:
            given[one["name"]] = value
    return given


def _referred(objects: Sequence[Object], workload: Object, source: Mapping[str, Any]) -> str | None:
    if field := source.get("fieldRef", {}).get("fieldPath"):
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field)
        return pod_labels(workload)[label[1]] if label else f"{title(workload).split()[1]}0"
    reference = source["secretKeyRef"]
    for secret in secret_script("prod" if of_kind(objects, "Kafka") else "local"):
        if (space(secret), secret["metadata"]["name"]) == (space(workload), reference["name"]):
            return b64decode(secret["data"][reference["key"]]).decode()
    assert reference.get("optional"), f"{title(workload)} reads {reference}, which nobody makes"
    return None


@pytest.mark.parametrize(("system", "workload", "container"), EVERY)
@pytest.mark.parametrize("has_links", [False, True], ids=["declined", "service-links"])
def test_a_containers_environment_makes_settings(
    monkeypatch: pytest.MonkeyPatch, system: str, workload: Object, container: Object, has_links: bool
) -> None:
    objects = render(system)
    given = environment(objects, workload, container) | (service_links(objects, space(workload)) if has_links else {})
    for name in os.environ:
        if name.startswith("QUANTSTREAM_"):
            monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    if container.get("envFrom") and not title(workload).startswith("CronJob"):
        reads_jobs = "QUANTSTREAM_KAFKA__BOOTSTRAP" in given
        name, port = ("kafka", 9092) if system.startswith("local") else ("quantstream-kafka-bootstrap", 9093)
        host = name if space(workload) == "quantstream" else f"{name}.quantstream"
        assert not reads_jobs or settings.kafka.bootstrap == f"{host}:{port}"
        assert settings.exchange == ("simulated" if system.startswith("local") else "binance")


def test_no_variable_of_a_service_hides_a_setting() -> None:
    for system, namespace in product(SYSTEMS, ("quantstream", "quantstream-airflow")):
        links = service_links(render(system), namespace)
        made = {name.removeprefix("QUANTSTREAM_").lower() for name in links}
        assert made & set(Settings.model_fields) == set()


def commands(container: Object) -> list[list[str]]:
    """Return what a container runs, each as a list of words; what a shell line runs, one by one."""
    words = [*container.get("command", ()), *container.get("args", ())]
    if not words:
        (own,) = re.findall(r"^CMD (\[.+\])$", targets()[role(container)], re.MULTILINE)
        words = json.loads(own)
    if words[:2] == ["sh", "-ec"]:
        return [shlex.split(part) for part in words[2].split(";")]
    probes = [container.get(key, {}).get("exec", {}).get("command") for key in ("livenessProbe", "readinessProbe")]
    return [words, *(one for one in probes if one)]


@pytest.mark.parametrize(("system", "workload", "container"), EVERY)
def test_a_containers_command_is_in_its_image(system: str, workload: Object, container: Object) -> None:
    if container["name"] == "base":
        return  # what Airflow's executor runs there is its own
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", targets()[role(container)], re.MULTILINE)
    for words in commands(container):
        program = words[0]
        if program == "python" and words[1:] == ["/users/users.py"]:
            assert "mlflow-skinny" in locked(
                lock(role(container))
            )  # mounted, and of MLflow's own; tried in test_mlflow_users
        elif program == "python":
            assert words[1] == "-m"
            assert words[2] in copied
            assert (PROJECT / words[2] / "__main__.py").is_file()
        elif program not in SHELL:
            assert PROGRAMS[program] in locked(lock(role(container)))
        for word in words[1:]:
            if re.fullmatch(r"[a-z]+/\S+\.py", word):
                assert word.split("/")[0] in copied
                assert (PROJECT / word).is_file()


def every_command(program: str) -> list[list[str]]:
    """Return each different command line of a program, over all systems."""
    found = {tuple(words) for each in EVERY for words in commands(each.values[2]) if words[0] == program}
    return sorted(list(words) for words in found)


def run(code: str, **variables: str) -> str:
    """Run a program apart from this process, for what it imports is heavy; return what it prints last."""
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "QUANTSTREAM_", "MLFLOW"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=known | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


@cache
def airflow_home(folder: Path) -> dict[str, str]:
    """Return the environment of an Airflow that only reads command lines."""
    return embedded_airflow(folder, port=9)


def test_airflow_knows_its_commands_and_options(tmp_path: Path) -> None:
    lines = [words[1:] for words in every_command("airflow")]
    users = [words for words in lines if words[0] == "users"]
    assert users
    assert all({word for word in words if word.startswith("--")} == USERS_CREATE for words in users)
    others = [words for words in lines if words[0] != "users"]
    assert {tuple(words[:2]) for words in others} >= {("db", "migrate"), ("db", "clean"), ("jobs", "check")}
    code = f"""
import json
from airflow.cli.cli_parser import get_parser
for words in {others!r}:
    get_parser().parse_args(["2026-01-01" if "$(" in word else word for word in words])
print(json.dumps("ok"))
"""
    assert json.loads(run(code, **airflow_home(tmp_path))) == "ok"


def test_airflow_knows_its_settings(tmp_path: Path) -> None:
    given = {name for each in EVERY for name in environment(render(each.values[0]), *each.values[1:])}
    wanted = sorted(
        name.removeprefix("AIRFLOW__").lower().split("__", 1) for name in given if name.startswith("AIRFLOW__")
    )
    assert len(wanted) > 10
    code = f"""
import json
from airflow.configuration import conf
known = conf.configuration_description
print(json.dumps([w for w in {wanted!r} if w[1] not in known.get(w[0], dict(options=())) ["options"]]))
"""
    bare = {key: value for key, value in airflow_home(tmp_path).items() if not key.startswith("AIRFLOW__")}
    unknown = json.loads(run(code, **bare))
    assert [
        option for section, option in unknown if section == "kubernetes_executor" and option not in KUBERNETES_EXECUTOR
    ] == []
    assert [one for one in unknown if one[0] != "kubernetes_executor"] == []


def test_mlflow_knows_its_command_and_options() -> None:
    for words in every_command("mlflow"):
        code = f"""
import json
from mlflow.cli import cli
found = cli
for word in {words[1:]!r}:
    found = getattr(found, "commands", {{}}).get(word, found)
print(json.dumps([found.name, *(option for one in found.params for option in one.opts)]))
"""
        name, *known = json.loads(run(code, MLFLOW_DISABLE_TELEMETRY="true"))
        assert name in ("server", "upgrade")
        assert {word for word in words if word.startswith("--")} <= set(known)


def test_the_streaming_program_knows_its_commands() -> None:
    for words in every_command("python"):
        if words[1] != "-m":
            continue
        code = f"""
from streaming.__main__ import main
try:
    main([{words[3]!r}, "--help"])
except SystemExit as ended:
    print(ended.code)
"""
        assert run(code) == "0"
