"""The rights of every account that may ask Kubernetes, tried over an API by the real kubectl and by the pods' own scripts."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.embedded.state import PROJECT
from tests.infra.cluster.api_server import serving
from tests.infra.cluster.api_store import Cluster
from tests.infra.cluster.conftest import Kubectl, kubectl_of, shell
from tests.infra.cluster.test_apply import PROD, apply, install_operators
from tests.infra.manifests import K8S, TEMPLATED, named, of_kind, pod, render, space

pytestmark = pytest.mark.slow
SCHEDULER = "quantstream-airflow:airflow-scheduler"
MONITOR = "quantstream:monitor"
CERTIFICATE = "quantstream:kafka-ca"
BOTH = ("quantstream", "quantstream-airflow")


@dataclass(frozen=True)
class Served:
    """An API that has everything of production; each test only adds to it."""

    cluster: Cluster
    kubectl: Kubectl
    environment: dict[str, str]

    @property
    def server(self) -> str:
        """Its address."""
        config = yaml.safe_load(Path(self.environment["KUBECONFIG"]).read_text())
        return str(config["clusters"][0]["cluster"]["server"])

    def ask(self, account: str, *arguments: str, sent: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as an account."""
        return self.kubectl("--server", f"{self.server}/as/{account}", *arguments, check=False, sent=sent)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API."""
    folder = tmp_path_factory.mktemp("api")
    with serving(folder) as (cluster, config):
        environment = shell(config, folder)
        kubectl = kubectl_of(environment)
        install_operators(kubectl)
        apply(kubectl, PROD)
        yield Served(cluster, kubectl, environment)


def is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0 or "Forbidden" in done.stderr, done.stderr
    return done.returncode != 0


def task_pod() -> str:
    (pod,) = of_kind(render("prod"), "Pod")
    return yaml.safe_dump(pod)


def test_the_scheduler_makes_pods_in_its_own_namespace_and_nowhere_else(served: Served) -> None:
    assert not is_refused(served.ask(SCHEDULER, "create", "-f", "-", sent=task_pod()))
    elsewhere = task_pod().replace("namespace: quantstream-airflow", "namespace: quantstream")
    assert is_refused(served.ask(SCHEDULER, "create", "-f", "-", sent=elsewhere))
    assert not is_refused(served.ask(SCHEDULER, "get", "pods", "-n", "quantstream-airflow"))
    for what in ("pods", "secrets", "deployments", "configmaps"):
        assert is_refused(served.ask(SCHEDULER, "get", what, "-n", "quantstream"))


@pytest.mark.parametrize("account", [SCHEDULER, MONITOR, "quantstream-airflow:tasks", "quantstream-airflow:airflow"])
def test_no_account_reads_a_secret(served: Served, account: str) -> None:
    for namespace in BOTH:
        assert is_refused(served.ask(account, "get", "secrets", "-n", namespace))
        assert is_refused(served.ask(account, "get", "secret", "objects", "-n", namespace))


def test_an_account_that_is_bound_to_nothing_may_do_nothing(served: Served) -> None:
    bound = {
        f"{subject['namespace']}:{subject['name']}"
        for binding in of_kind(render("prod"), "RoleBinding", "ClusterRoleBinding")
        for subject in binding["subjects"]
    }
    assert bound == {SCHEDULER, MONITOR, CERTIFICATE}
    assert is_refused(served.ask("quantstream-airflow:tasks", "get", "pods", "-n", "quantstream-airflow"))


def test_only_who_is_bound_has_a_token() -> None:
    for system in ("local", "prod"):
        objects = render(system)
        has = {
            (space(one), spec["serviceAccountName"])
            for one in objects
            for spec in _pods(one)
            if spec["automountServiceAccountToken"]
        }
        expected = {("quantstream-airflow", "airflow-scheduler")}
        assert has == expected | ({("quantstream", "kafka-ca")} if system == "prod" else set())
        accounts = of_kind(objects, "ServiceAccount")
        assert {one["automountServiceAccountToken"] for one in accounts} == {False}


def _pods(thing: dict[str, Any]) -> list[dict[str, Any]]:
    return [pod(thing)] if thing["kind"] in TEMPLATED else []


def test_the_monitor_reads_all_it_shows_and_changes_nothing(served: Served) -> None:
    for namespace in BOTH:
        for what in (
            "pods",
            "deployments",
            "statefulsets",
            "services",
            "persistentvolumeclaims",
            "jobs",
            "cronjobs",
            "events",
        ):
            assert not is_refused(served.ask(MONITOR, "get", what, "-n", namespace))
    for what in ("kafkas", "kafkatopics", "kafkausers", "scaledobjects"):
        assert not is_refused(served.ask(MONITOR, "get", what, "-n", "quantstream"))
    assert is_refused(served.ask(MONITOR, "delete", "statefulset", "score", "-n", "quantstream"))
    assert is_refused(served.ask(MONITOR, "scale", "statefulset", "sink", "--replicas", "0", "-n", "quantstream"))
    assert is_refused(served.ask(MONITOR, "create", "-f", "-", sent=task_pod()))


def test_the_monitor_itself_is_refused_nothing(served: Served, tmp_path: Path) -> None:
    config = yaml.safe_load(Path(served.environment["KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"]["server"] += f"/as/{MONITOR}"
    own = tmp_path / "monitor"
    own.write_text(yaml.safe_dump(config))
    command = [str(PROJECT / "infra" / "monitor" / "quantstream-monitor"), "health", "--json"]
    command += ["--kubeconfig", str(own), "--skip", "volumes"]
    done = subprocess.run(command, env=served.environment, capture_output=True, text=True, timeout=200, check=False)
    output = json.loads(done.stdout)
    assert output["where"] == f"namespace {', '.join(sorted(BOTH))}"  # found by their labels
    assert not [one for one in output["findings"] if one["reason"] == "Forbidden"]
    assert {"rollouts", "nodes", "kafka", "scalers", "cronjob"} <= {one["check"] for one in output["findings"]}


def test_of_the_cluster_the_monitor_reads_namespaces_and_nodes_alone(served: Served) -> None:
    for what in ("namespaces", "nodes"):
        assert not is_refused(served.ask(MONITOR, "get", what))
    for what in ("clusterroles", "storageclasses", "secrets"):
        assert is_refused(served.ask(MONITOR, "get", what))
    assert is_refused(served.ask(MONITOR, "get", "pods", "-n", "default"))


@pytest.fixture
def certificate(served: Served, tmp_path: Path) -> Callable[..., str]:
    """Run the script of the CronJob as its account."""
    account = tmp_path / "account"
    account.mkdir()
    for name in ("token", "ca.crt"):
        (account / name).write_text("x")
    (container,) = named(render("prod"), "CronJob", "kafka-ca")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    given = {one["name"]: one["value"] for one in container["env"]}
    given |= {"KUBERNETES": f"{served.server}/as/{CERTIFICATE}", "ACCOUNT": str(account)}
    script = K8S / "sources" / "infrastructure" / "kafka" / "copy-ca.sh"

    def run(**others: str) -> str:
        done = subprocess.run(
            ["sh", str(script)],
            env=os.environ | given | others,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    return run


def test_the_certificate_is_copied_and_an_apply_leaves_it(served: Served, certificate: Callable[..., str]) -> None:
    cluster = served.cluster
    maps = cluster.kind("v1", "configmaps")
    assert "binaryData" not in cluster.get(maps, "quantstream-airflow", "kafka-ca")
    assert certificate() == "copied\n"
    copied = cluster.get(maps, "quantstream-airflow", "kafka-ca")["binaryData"]["ca.crt"]
    assert base64.b64decode(copied) == b"of quantstream-cluster-ca-cert"
    made = len(cluster.changes)
    apply(served.kubectl, PROD)
    assert cluster.changes[made:] == []


def test_the_copier_reads_and_writes_nothing_else(certificate: Callable[..., str]) -> None:
    objects = "/api/v1/namespaces/quantstream/secrets/objects"
    assert "403" in certificate(FROM=objects)
    assert "403" in certificate(TO="/api/v1/namespaces/quantstream-airflow/configmaps/tasks")
