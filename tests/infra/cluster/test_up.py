"""`infra/k8s/up`, run whole with the real kubectl against an API; minikube, helm and podman only note what they are asked."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.infra.cluster.api_store import Cluster
from tests.infra.cluster.test_apply import definition
from tests.infra.manifests import K8S

MINE = {"access-key": "mine", "secret-key": "too"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # each applies everything, once or twice, with the real kubectl
ROLES = ("streaming", "scoring", "mlflow", "dashboard", "airflow")
OF_POSTGRES = ("cert-manager", "cnpg", "cnpg-backups")
Up = Callable[..., "subprocess.CompletedProcess[str]"]
MINIKUBE = """#!/bin/sh
echo "minikube $*" >> "$ASKED"
case "$1" in
  status) [ -f "$STATE/started" ] ;;
  start) touch "$STATE/started" ;;
  image) if [ "$2" = ls ]; then cat "$STATE/loaded" 2>/dev/null || echo "[]"; else cat >> "$STATE/loaded"; fi ;;
esac
"""
PODMAN = """#!/bin/sh
echo "podman $*" >> "$ASKED"
case "$1" in
  image) for last; do :; done; [ -f "$STATE/no-images" ] && exit 1; echo "id-of-${last##*/}" ;;
  save) echo "id-of-${2##*/}" ;;
esac
"""
HELM = """#!/bin/sh
case "$1" in version) cat "$STATE/helm"; exit ;; esac
case "$*" in *--kube-context*) shift 2 ;; esac
echo "helm $1 $2 $3 $4" >> "$ASKED"
kubectl create --filename "$STATE/crds-$3.json" >/dev/null 2>&1 || true
"""
KINDS = {
    "strimzi": ("Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"),
    "cnpg": ("Cluster", "ScheduledBackup"),
    "cnpg-backups": ("ObjectStore",),
    "keda": ("ScaledObject", "TriggerAuthentication"),
    "dask": ("DaskCluster", "DaskAutoscaler"),
    "monitoring": ("ServiceMonitor", "PodMonitor", "PrometheusRule"),
}


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Where the stand-ins note what they were asked."""
    return tmp_path / "asked"


@pytest.fixture
def up(tmp_path: Path, asked: Path, environment: dict[str, str]) -> Up:
    """Run the script beside stand-ins for what makes clusters, images and releases."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("minikube", MINIKUBE), ("podman", PODMAN), ("helm", HELM)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "helm").write_text("v3.19.2")
    for release, kinds in KINDS.items():
        items = {"apiVersion": "v1", "kind": "List", "items": [definition(kind) for kind in kinds]}
        (tmp_path / f"crds-{release}.json").write_text(json.dumps(items))
    own = {"ASKED": str(asked), "STATE": str(tmp_path), "PATH": f"{folder}:{environment['PATH']}", "WAIT": "20"}

    def run(*arguments: str, script: Path = K8S / "up") -> subprocess.CompletedProcess[str]:
        command = [str(script), *arguments]
        return subprocess.run(
            command, env=environment | own, capture_output=True, text=True, timeout=400, check=False, cwd=tmp_path
        )

    return run


@pytest.fixture
def rented(rendered: Path, tmp_path: Path, cluster: Cluster) -> Path:
    """A copy of them, and a cluster with both kinds of volumes."""
    copy = Path(shutil.copytree(rendered, tmp_path, dirs_exist_ok=True)) / "k8s"
    classes = cluster.kind("storage.k8s.io/v1", "storageclasses")
    for name, is_default in (("disks", "true"), ("quantstream-shared", "false")):
        own = {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": is_default}}
        cluster.create(classes, "", {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": own})
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quantstream"}}
    cluster.create(cluster.kind("v1", "namespaces"), "", space)
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backups-elsewhere"}, "data": {}}
    cluster.create(cluster.kind("v1", "secrets"), "quantstream", key)
    return copy


def secrets(cluster: Cluster) -> dict[str, dict[str, str]]:
    """Return every secret with what is in it."""
    found = cluster.every(cluster.kind("v1", "secrets"))
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": {
            key: base64.b64decode(value).decode() for key, value in one["data"].items()
        }
        for one in found
    }


def test_minikube_ends_in_a_whole_system_and_the_words_that_open_the_page(
    cluster: Cluster, up: Up, asked: Path, environment: dict[str, str]
) -> None:
    done = up("--minikube")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.partition(" ")[2] for line in done.stdout.splitlines() if line[:1].isdigit() and "." in line[:3]]
    assert [step.split(":")[0] for step in steps] == [
        "Minikube",
        "Images",
        "Namespaces and secrets",
        "kubectl apply -f infrastructure",
        "kubectl apply -f services",
        "It runs",
    ]
    assert "kubectl port-forward service/dashboard-service 8501:8501" in done.stdout
    calls = asked.read_text().splitlines()
    assert "minikube start --cpus 2 --memory 10240 --cni calico" in calls
    assert [call.split()[-1] for call in calls if call.startswith("podman save")] == [
        f"localhost/quantstream/{role}:0.1.0" for role in ROLES
    ]
    context = yaml.safe_load(Path(environment["KUBECONFIG"]).read_text())["contexts"][0]["context"]
    assert context["namespace"] == "quantstream"  # so that the port-forward needs no more words
    assert cluster.get(cluster.kind("v1", "services"), "quantstream", "dashboard-service")


def test_it_may_be_run_again_and_changes_nothing(cluster: Cluster, up: Up, asked: Path) -> None:
    assert up("--minikube").returncode == 0
    before, made = secrets(cluster), len(cluster.changes)
    asked.unlink()
    again = up("--minikube")
    assert again.returncode == 0, again.stdout + again.stderr
    assert cluster.changes[made:] == []
    assert secrets(cluster) == before
    assert not [call for call in asked.read_text().splitlines() if "start" in call or call.startswith("podman save")]


def test_every_secret_that_a_pod_reads_is_made_before_the_pod(cluster: Cluster, up: Up) -> None:
    assert up("--minikube").returncode == 0
    order = cluster.changes
    last_secret = max(index for index, change in enumerate(order) if change.startswith("create Secret"))
    first_pod = min(index for index, change in enumerate(order) if change.split()[1] in ("Deployment", "StatefulSet"))
    assert order.index("create Namespace quantstream") < last_secret < first_pod


def test_an_image_that_is_not_built_is_named_with_what_builds_it(cluster: Cluster, up: Up, tmp_path: Path) -> None:
    (tmp_path / "no-images").touch()
    done = up("--minikube")
    assert done.returncode == 2
    assert "up: there is no image localhost/quantstream/streaming:0.1.0 here; make images ROLES=" in done.stderr
    assert cluster.changes == []


def test_a_cluster_gets_operators_before_what_they_understand(
    cluster: Cluster, up: Up, asked: Path, rented: Path
) -> None:
    done = up("--prod", script=rented / "up")
    assert done.returncode == 0, done.stdout + done.stderr
    calls = asked.read_text().splitlines()
    assert [call.split()[3] for call in calls] == ["strimzi", "keda", "monitoring", *OF_POSTGRES]
    order = cluster.changes
    assert order.index("create Namespace quantstream") < order.index(
        "create CustomResourceDefinition kafkas.kafka.strimzi.io"
    )
    assert (
        order.index("create Secret postgres")
        < order.index("create CustomResourceDefinition clusters.postgresql.cnpg.io")
        < order.index("create Cluster databases")
        < order.index("create StatefulSet score")
    )
    assert (
        order.index("create Kafka quantstream")
        < order.index("create StatefulSet score")
        < order.index("create PrometheusRule quantstream")
    )
    again = up("--prod", script=rented / "up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert cluster.changes[len(order) :] == []


def test_a_managed_postgres_needs_no_operator_and_a_way_out_to_it(
    cluster: Cluster, up: Up, asked: Path, rented: Path
) -> None:
    conf = rented / "versions.conf"
    conf.write_text(re.sub(r"^POSTGRES=\S+", "POSTGRES=db.example.com", conf.read_text(), flags=re.MULTILINE))
    subprocess.run([rented / "render"], check=True, capture_output=True)
    done = up("--prod", script=rented / "up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.split()[3] for call in asked.read_text().splitlines()] == ["strimzi", "keda", "monitoring"]
    assert secrets(cluster)["quantstream/postgres"]["host"] == "db.example.com"
    policies = {
        one["metadata"]["name"] for one in cluster.every(cluster.kind("networking.k8s.io/v1", "networkpolicies"))
    }
    assert ("to-postgres-elsewhere" in policies, "databases" in policies) == (True, False)
    assert "create Deployment postgres-logins" in cluster.changes


def test_a_dask_cluster_brings_its_operator(cluster: Cluster, up: Up, asked: Path, rented: Path) -> None:
    conf = rented / "versions.conf"
    conf.write_text(re.sub(r"^DASK_WORKERS=\S+", "DASK_WORKERS=4", conf.read_text(), flags=re.MULTILINE))
    subprocess.run([rented / "render"], check=True, capture_output=True)
    done = up("--prod", script=rented / "up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert asked.read_text().splitlines()[-1] == "helm upgrade --install dask dask-kubernetes-operator"
    assert {"create DaskCluster engine", "create DaskAutoscaler engine"} <= set(cluster.changes)


def test_without_a_registry_of_ones_own_nothing_is_touched(cluster: Cluster, up: Up) -> None:
    done = up("--prod")
    assert done.returncode == 2
    assert "up: no registry is named: set REGISTRY in infra/k8s/versions.conf" in done.stderr
    assert cluster.changes == []


def test_backups_beside_the_lake_are_refused_until_somebody_accepts_them(
    cluster: Cluster, up: Up, rented: Path
) -> None:
    conf = rented / "versions.conf"
    named, before = conf.read_text(), len(cluster.changes)
    conf.write_text(named.replace("BACKUPS=s3://kept-elsewhere", "BACKUPS="))
    done = up("--prod", script=rented / "up")
    assert done.returncode == 2
    assert "up: backups would lie on the same volume as the lake: set BACKUPS=s3://BUCKET" in done.stderr
    conf.write_text(named)
    cluster.delete(cluster.kind("v1", "secrets"), "quantstream", "backups-elsewhere")
    done = up("--prod", script=rented / "up")
    assert done.returncode == 2
    assert "up: there is no secret backups-elsewhere, by which s3://kept-elsewhere is reached" in done.stderr
    assert [one for one in cluster.changes[before:] if "backups-elsewhere" not in one] == []
    conf.write_text(named.replace("BACKUPS=s3://kept-elsewhere", "BACKUPS=same-volume"))
    done = up("--prod", script=rented / "up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backups will lie on the same volume as the lake" in done.stdout


def test_a_cluster_keeps_its_backups_where_it_is_said(rented: Path) -> None:
    for file in ("services/10-stages.yaml", "jobs/restore.yaml", "jobs/restore-postgres.yaml"):
        text = (rented / "production" / file).read_text()
        assert "s3://backups" not in text
        assert text.count("- s3://kept-elsewhere\n") == (3 if file.startswith("services") else 1)
    platform = list(yaml.safe_load_all((rented / "production" / "infrastructure" / "10-platform.yaml").read_text()))
    (store,) = [one["spec"] for one in platform if one["kind"] == "ObjectStore"]
    assert store["configuration"]["destinationPath"] == "s3://kept-elsewhere/databases"
    held = {one["name"] for one in store["configuration"]["s3Credentials"].values()}
    assert (
        held
        == {"backups-elsewhere"}
        == {store["instanceSidecarConfiguration"]["env"][0]["valueFrom"]["secretKeyRef"]["name"]}
    )
    assert "s3://kept-elsewhere" not in (rented / "services" / "10-stages.yaml").read_text()


def test_without_a_class_for_shared_volumes_nothing_is_touched(cluster: Cluster, up: Up, rented: Path) -> None:
    cluster.delete(cluster.kind("storage.k8s.io/v1", "storageclasses"), "", "quantstream-shared")
    before = len(cluster.changes)
    done = up("--prod", script=rented / "up")
    assert done.returncode == 2
    assert "up: there is no StorageClass quantstream-shared; make one over NFS" in done.stderr
    assert cluster.changes[before:] == []


def test_an_old_helm_is_named(up: Up, rented: Path, tmp_path: Path) -> None:
    (tmp_path / "helm").write_text("v3.9.4")
    done = up("--prod", script=rented / "up")
    assert done.returncode == 2
    assert done.stderr.strip() == "up: helm is 3.9.4, and the charts need 3.19 at least"


def test_no_argument_says_how_it_is_used(up: Up) -> None:
    done = up()
    assert done.returncode == 2
    assert "infra/k8s/up --minikube" in done.stdout


def test_a_secret_that_is_there_stays(cluster: Cluster, up: Up) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quantstream"}}
    cluster.create(cluster.kind("v1", "namespaces"), "", space)
    values = {key: base64.b64encode(text.encode()).decode() for key, text in MINE.items()}
    mine = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "objects"}, "data": values}
    cluster.create(cluster.kind("v1", "secrets"), "quantstream", mine)
    assert up("--minikube").returncode == 0
    assert secrets(cluster)["quantstream/objects"] == MINE
