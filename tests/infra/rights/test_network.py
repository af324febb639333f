"""What really flows is let through, and nothing else: every pair of pods, judged by the policies of both ends."""

from __future__ import annotations

import pytest
import yaml

from quantstream.messages.stages import STAGES
from tests.infra.manifest_checks import schema_faults
from tests.infra.manifests import TEMPLATED, Object, named, of_kind, path_of, pod_labels, render, space
from tests.infra.rights.network import End, lets

PORTS = {
    "objects": 7070,
    "postgres": 5432,
    "mlflow": 5000,
    "airflow": 8080,
    "dashboard": 8501,
    **dict.fromkeys(STAGES, 8000),
}
AIRFLOW = {"airflow", "postgres"}
DATABASES = {"cnpg.io/cluster": "databases"}  # the label of CloudNativePG's pods
REACHES = {  # who talks to whom
    "ingest": {"kafka", "exchange"},
    "aggregate": {"kafka"},
    "detect": {"kafka", "mlflow"},
    "sink": {"kafka", "objects"},
    "score": {"kafka", "mlflow", "objects"},
    "dashboard": {"kafka", "mlflow", "objects", *STAGES},
    "mlflow": {"objects", "postgres"},
    "objects": set[str](),
    "postgres": set[str](),
    "postgres-logins": {"postgres"},
    "databases": {"postgres", "objects", "kubernetes"},
    "exchange": set[str](),
    "kafka-ca": {"kubernetes"},
    "replay": {"kafka", "objects", "exchange"},
    "backup-lake": {"objects"},
    "backup-models": {"objects"},
    "backup-postgres": {"objects", "postgres"},
    "restore": {"objects"},
    "restore-postgres": {"objects", "postgres"},
    "airflow": AIRFLOW,
    "airflow-dag-processor": AIRFLOW,
    "airflow-cleanup": AIRFLOW,
    "airflow-scheduler": AIRFLOW | {"kubernetes"},
    "airflow-task": {"airflow", "mlflow", "objects", "kafka", "exchange"},
}


def name(workload: Object) -> str:
    return pod_labels(workload)["app.kubernetes.io/name"]


def strimzis(objects: list[Object]) -> list[Object]:
    """Return the policies that Strimzi makes of a Kafka: who may come to each of its listeners."""
    found = []
    for one in of_kind(objects, "Kafka"):
        rules = [
            {"ports": [{"protocol": "TCP", "port": each["port"]}], "from": each["networkPolicyPeers"]}
            for each in one["spec"]["kafka"]["listeners"]
        ]
        spec = {"podSelector": {"matchLabels": {"strimzi.io/cluster": one["metadata"]["name"]}}, "ingress": rules}
        metadata = {"name": "strimzis", "namespace": space(one)}
        found.append({"kind": "NetworkPolicy", "metadata": metadata, "spec": {**spec, "policyTypes": ["Ingress"]}})
    return found


def instance(cluster: Object) -> End:
    """Return a pod that CloudNativePG makes."""
    return End(space(cluster), DATABASES | cluster["spec"]["inheritedMetadata"]["labels"])


def targets(objects: list[Object], system: str) -> dict[str, tuple[End, tuple[int, ...]]]:
    """Return whom one may want to talk to, each with its ports."""
    workloads = {name(one): one for one in of_kind(objects, *TEMPLATED)}
    kafka = 9092 if system.startswith("local") else 9093
    found: dict[str, tuple[End, tuple[int, ...]]] = {
        each: (End(space(workloads[each]), pod_labels(workloads[each])), (port,))
        for each, port in PORTS.items()
        if each in workloads
    }
    if operators := of_kind(objects, "Cluster"):
        found["postgres"] = instance(operators[0]), (PORTS["postgres"],)
    broker = End("quantstream", {"strimzi.io/cluster": "quantstream", "app.kubernetes.io/name": "kafka"})
    found["kafka"] = broker, (kafka,)
    found["kubernetes"] = End("", is_kubernetes=True), (443, 6443, 8443)
    market = workloads.get("exchange")
    found["exchange"] = (End("quantstream", pod_labels(market)), (9400,)) if market else (End(""), (443,))
    return found


@pytest.mark.parametrize("system", ["local-replay", "prod-replay"])
def test_who_needs_another_reaches_it_and_nobody_else_does(system: str) -> None:
    objects = render(system)
    objects += strimzis(objects)
    sources = {name(one): End(space(one), pod_labels(one)) for one in of_kind(objects, *TEMPLATED)}
    sources |= {one["metadata"]["name"]: instance(one) for one in of_kind(objects, "Cluster")}
    sources.pop("kafka", None)
    wanted, found = {}, {}
    for who, source in sources.items():
        wanted[who] = REACHES[who] - {who}
        found[who] = {
            each
            for each, (end, ports) in targets(objects, system).items()
            if each != who and all(lets(objects, source, end, port) for port in ports)
        }
        if "kubernetes" in REACHES[who] or "quantstream.io/needs-backups" in source.labels:
            found[who].discard("exchange")  # a rule by port cannot tell Kubernetes' API or a store from other addresses
    assert found == wanted


def test_the_operator_and_each_instance_reach_an_instance_where_it_says_how_it_is() -> None:
    objects = render("prod")
    own = instance(named(objects, "Cluster", "databases"))
    operator = End("cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"})
    without = [one for one in objects if space(one) != "cnpg-system"]
    assert [lets(without, operator, own, port) for port in (8000, 5432, 9187)] == [True, True, False]
    assert [lets(objects, own, own, port) for port in (8000, 5432)] == [True, True]
    prometheus = End("monitoring", {"app.kubernetes.io/name": "prometheus"})
    assert [lets(objects, prometheus, own, port) for port in (9187, 5432, 8000)] == [True, False, False]


@pytest.mark.parametrize(
    ("namespace", "enters"),
    [
        ("ingress-nginx", {"dashboard", "airflow"}),
        ("monitoring", set(STAGES)),
        ("keda", {"kafka", "sink"}),
        ("somebody-elses", set[str]()),
        ("quantstream-airflow", set[str]()),  # a pod without the labels of a task
    ],
)
@pytest.mark.parametrize("system", ["local", "prod"])
def test_from_other_namespaces_only_who_is_meant_enters(system: str, namespace: str, enters: set[str]) -> None:
    objects = render(system)
    objects += strimzis(objects)
    stranger = End(namespace, {"app.kubernetes.io/name": "anything"})
    without = [one for one in objects if space(one) != namespace]  # what its own namespace lets out is not asked here
    found = {
        each
        for each, (end, ports) in targets(objects, system).items()
        if end.namespace not in ("", namespace) and all(lets(without, stranger, end, port) for port in ports)
    }
    assert found == (set() if (system, namespace) == ("local", "keda") else enters)  # nothing is scaled on one machine


def test_the_component_of_an_ingress_leads_to_the_page_that_its_policy_opens() -> None:
    objects = render("prod")
    text = (path_of("sources/components/ingress") / "ingress.yaml").read_text()
    ingress = yaml.safe_load(text)
    assert list(schema_faults([ingress], "1.34")) == []
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    backend = path["backend"]["service"]
    service = named(objects, "Service", backend["name"])
    (port,) = [one for one in service["spec"]["ports"] if one["name"] == backend["port"]["name"]]
    assert (space(ingress), port["port"]) == (space(service), PORTS["dashboard"])
