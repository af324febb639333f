"""The two commands, given by the real kubectl to an API: no refusal, no change the second time, what a scaler did stays."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.cluster.api_store import Cluster, Refused
from tests.infra.cluster.conftest import Kubectl
from tests.infra.manifest_checks import SCHEMAS
from tests.infra.manifests import K8S
from tests.infra.test_rendered import rendered_anew

LOCAL = ("infrastructure/", "services/")
PROD = ("production/infrastructure/", "production/services/", "production/monitoring/")
PLURALS = {
    "Kafka": "kafkas",
    "KafkaNodePool": "kafkanodepools",
    "KafkaTopic": "kafkatopics",
    "KafkaUser": "kafkausers",
    "Cluster": "clusters",
    "ScheduledBackup": "scheduledbackups",
    "ObjectStore": "objectstores",
    "ScaledObject": "scaledobjects",
    "TriggerAuthentication": "triggerauthentications",
    "ServiceMonitor": "servicemonitors",
    "PodMonitor": "podmonitors",
    "PrometheusRule": "prometheusrules",
    "DaskCluster": "daskclusters",
    "DaskAutoscaler": "daskautoscalers",
}


def definition(kind: str) -> dict[str, Any]:
    """Return what an operator's chart installs for one of its kinds."""
    (api,) = json.loads((SCHEMAS / f"{kind}.json").read_text())["x-apiVersions"]
    group, version = api.split("/")
    names = {"kind": kind, "plural": PLURALS[kind], "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURALS[kind]}.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True}],
        },
    }


@pytest.fixture
def operators(kubectl: Kubectl) -> None:
    """The kinds that Strimzi, CloudNativePG, KEDA and the Prometheus operator bring."""
    install_operators(kubectl)


def install_operators(kubectl: Kubectl) -> None:
    """Do what the charts of the operators do for `kubectl apply`."""
    definitions = {"apiVersion": "v1", "kind": "List", "items": [definition(kind) for kind in PLURALS]}
    kubectl("create", "--filename", "-", sent=json.dumps(definitions))


def apply(kubectl: Kubectl, folders: tuple[str, ...], *flags: str) -> None:
    """Give the commands as the mission writes them."""
    for folder in folders:
        kubectl("apply", "-f", folder, *flags)


def test_two_commands_on_a_fresh_cluster_and_again_change_nothing(cluster: Cluster, kubectl: Kubectl) -> None:
    apply(kubectl, LOCAL)
    made = len(cluster.changes)
    assert made == sum(path.read_text().count("\nkind: ") for folder in LOCAL for path in (K8S / folder).iterdir())
    apply(kubectl, LOCAL)
    assert cluster.changes[made:] == []


@pytest.mark.slow
@pytest.mark.usefixtures("operators")
def test_a_cluster_with_operators_takes_everything_and_again_changes_nothing(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    apply(kubectl, PROD)
    made = len(cluster.changes)
    apply(kubectl, PROD)
    assert cluster.changes[made:] == []


@pytest.mark.slow
@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("folders", [LOCAL, PROD])
def test_server_side_apply_takes_the_same_and_again_changes_nothing(
    cluster: Cluster, kubectl: Kubectl, folders: tuple[str, ...]
) -> None:
    apply(kubectl, folders, "--server-side")
    made = len(cluster.changes)
    apply(kubectl, folders, "--server-side")
    assert cluster.changes[made:] == []


@pytest.mark.slow
@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("flags", [(), ("--server-side",)])
def test_pods_that_a_scaler_added_stay(cluster: Cluster, kubectl: Kubectl, flags: tuple[str, ...]) -> None:
    apply(kubectl, PROD, *flags)
    for name in ("score", "detect"):
        cluster.scale("StatefulSet", name, 4)
    made = len(cluster.changes)
    apply(kubectl, PROD, *flags)
    kind = cluster.kind("apps/v1", "statefulsets")
    assert [cluster.get(kind, "quantstream", name)["spec"]["replicas"] for name in ("score", "detect")] == [4, 4]
    assert cluster.changes[made:] == []


@pytest.mark.slow
@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize(("folders", "where"), [(LOCAL, ""), (PROD, "production/")])
def test_a_second_system_beside_the_live_one_leaves_its_objects_alone(
    cluster: Cluster, kubectl: Kubectl, tmp_path: Path, folders: tuple[str, ...], where: str
) -> None:
    apply(kubectl, folders)
    live = len(cluster.changes)
    second = rendered_anew(tmp_path, "TOPIC_PREFIX=restored.")
    for folder in (f"{where}infrastructure/", f"{where}beside/"):
        kubectl("apply", "-f", str(second / folder))
    new = [one.split() for one in cluster.changes[live:]]
    assert {name.startswith("restored") for action, _, name in new if action == "create"} == {True}
    # rights on the second topics are added to the logins that there are
    assert {kind for action, kind, _ in new if action != "create"} <= {"KafkaUser"}
    made = len(cluster.changes)
    kubectl("apply", "-f", str(second / where / "beside"))
    assert cluster.changes[made:] == []


def test_without_operators_kubectl_says_what_is_missing_and_takes_the_rest(cluster: Cluster, kubectl: Kubectl) -> None:
    done = kubectl("apply", "-f", "production/infrastructure/", check=False)
    assert done.returncode == 1
    assert 'no matches for kind "Kafka" in version "kafka.strimzi.io/v1"' in done.stderr
    assert 'no matches for kind "Cluster" in version "postgresql.cnpg.io/v1"' in done.stderr
    assert "create StatefulSet objects" in cluster.changes


def test_a_job_by_hand_may_be_made_again_and_again(cluster: Cluster, kubectl: Kubectl) -> None:
    apply(kubectl, LOCAL)
    for _ in range(2):
        kubectl("create", "-f", "jobs/replay.yaml")
    assert len(cluster.every(cluster.kind("batch/v1", "jobs"))) == 2


def test_a_change_of_a_setting_is_a_rollout_of_all_that_read_it(cluster: Cluster, kubectl: Kubectl) -> None:
    apply(kubectl, LOCAL)
    made = len(cluster.changes)
    text = (K8S / "services" / "10-stages.yaml").read_text()
    (name,) = set(re.findall(r"name: (quantstream-[a-z0-9]{10})\n", text))
    kubectl("apply", "-f", "-", sent=text.replace(name, f"{name}x"))
    changed = {one for one in cluster.changes[made:] if one.startswith("change")}
    stages = {f"change {kind} {stage}" for kind, stage in STAGED}
    assert stages <= changed


STAGED = (
    ("StatefulSet", "ingest"),
    ("StatefulSet", "aggregate"),
    ("StatefulSet", "detect"),
    ("StatefulSet", "sink"),
    ("StatefulSet", "score"),
)


def test_the_api_refuses_what_a_real_one_refuses(cluster: Cluster) -> None:
    services = cluster.kind("v1", "services")
    with pytest.raises(Refused, match='namespaces "nowhere" not found'):
        cluster.create(services, "nowhere", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}})
    spaces, labels = cluster.kind("v1", "namespaces"), {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}}
    cluster.create(spaces, "", space)
    loose = {"containers": [{"name": "x", "image": "x"}]}
    with pytest.raises(Refused, match="violates PodSecurity restricted: x may escalate"):
        cluster.create(
            cluster.kind("v1", "pods"),
            "strict",
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": loose},
        )
    misspelt = loose | {"serviceAcountName": "x"}
    with pytest.raises(Refused, match="serviceAcountName"):
        cluster.create(
            cluster.kind("v1", "pods"),
            "default",
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": misspelt},
        )


def test_the_api_keeps_what_another_manager_owns(cluster: Cluster, kubectl: Kubectl) -> None:
    apply(kubectl, LOCAL, "--server-side")
    cluster.scale("StatefulSet", "sink", 3)
    done = kubectl("apply", "-f", "services/", "--server-side", check=False)
    assert done.returncode == 1
    assert 'conflict with "autoscaler"' in done.stderr
