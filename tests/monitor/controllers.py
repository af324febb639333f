"""What controllers and operators make of the applied manifests once all went well: pods, claims, nodes, conditions."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator

from tests.infra.cluster.api_store import Cluster
from tests.infra.manifests import Object
from tests.monitor.played import (
    DAY,
    HOUR,
    KAFKA_KINDS,
    MINUTE,
    NODES,
    NOW,
    RECORDED,
    STAGES,
    Played,
    ago,
    condition,
    log_file,
    running,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def play(cluster: Cluster) -> Played:
    """Return a cluster in which everything that was applied runs."""
    objects = [copy.deepcopy(one) for one in cluster.objects.values()]
    for thing in objects:
        thing["metadata"]["creationTimestamp"] = ago(6 * HOUR)
    played = Played(objects)
    for scaler in played.all_of("ScaledObject"):
        target, least = scaler["spec"]["scaleTargetRef"], scaler["spec"]["minReplicaCount"]
        scaled = played.of(target["kind"], target["name"])
        scaled["spec"]["replicas"] = least
        scaled["status"] |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), least)
    for thing in list(objects):
        objects.extend(_made(thing))
    objects += [_node(name) for name in NODES]
    for number, pod in enumerate(played.all_of("Pod")):
        running(pod, NODES[number % len(NODES)])
    _operators(played)
    _claims(played)
    _pages(played)
    if not played.all_of("Kafka"):
        from tests.monitor.played import OPTIONAL

        played.unknown_kinds = set(OPTIONAL)
    return played


def _made(thing: Object) -> Iterator[Object]:
    """Yield what the controller of an object makes."""
    kind, name = thing["kind"], thing["metadata"]["name"]
    if kind in ("Deployment", "StatefulSet"):
        count = thing["spec"].get("replicas", 1)
        for number in range(count):
            yield _pod(thing, number)
            for claim in thing["spec"].get("volumeClaimTemplates", ()):
                yield _claim(thing, f"{claim['metadata']['name']}-{name}-{number}", claim["spec"])
    elif kind == "KafkaNodePool":
        yield from _strimzi_nodes(thing)
    elif kind == "Cluster":
        yield from _instances(thing)
    elif kind == "Kafka":
        yield from (_strimzi_deployment(thing, one) for one in ("entity-operator", "kafka-exporter"))
    elif kind == "ScaledObject":
        yield _autoscaler(thing)
    elif kind == "CronJob":
        thing["status"] = {"lastScheduleTime": ago(15 * HOUR), "lastSuccessfulTime": ago(15 * HOUR - MINUTE)}
        thing["metadata"]["creationTimestamp"] = ago(5 * DAY)


def _autoscaler(scaler: Object) -> Object:
    conditions = [condition(kind, "True") for kind in ("AbleToScale", "ScalingActive")]
    own = {"name": f"keda-hpa-{scaler['metadata']['name']}", "namespace": scaler["metadata"]["namespace"]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": own,
        "spec": {"maxReplicas": scaler["spec"]["maxReplicaCount"]},
        "status": {"conditions": [*conditions, condition("ScalingLimited", "False")]},
    }


def _pod(owner: Object, number: int) -> Object:
    template = owner["spec"]["template"]
    name, space = owner["metadata"]["name"], owner["metadata"]["namespace"]
    code = hashlib.sha256(f"{name}{number}".encode()).hexdigest()
    is_stateful = owner["kind"] == "StatefulSet"
    spec = copy.deepcopy(template["spec"])
    for claim in owner["spec"].get("volumeClaimTemplates", ()):
        own = {"claimName": f"{claim['metadata']['name']}-{name}-{number}"}
        spec.setdefault("volumes", []).append({"name": claim["metadata"]["name"], "persistentVolumeClaim": own})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{number}" if is_stateful else f"{name}-{code[:9]}-{code[9:14]}",
            "namespace": space,
            "labels": dict(template["metadata"]["labels"]),
            "creationTimestamp": ago(6 * HOUR),
            "ownerReferences": [{"kind": "StatefulSet" if is_stateful else "ReplicaSet", "name": name}],
        },
        "spec": spec,
    }


def _claim(owner: Object, name: str, spec: Object) -> Object:
    own = {"name": name, "namespace": owner["metadata"]["namespace"], "creationTimestamp": ago(6 * HOUR)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": own, "spec": copy.deepcopy(spec)}


def _strimzi(owner: Object, name: str, part: str, labels: Object) -> Object:
    cluster = "quantstream"
    known = {
        "app.kubernetes.io/name": part,
        "app.kubernetes.io/instance": cluster,
        "app.kubernetes.io/managed-by": "strimzi-cluster-operator",
        "app.kubernetes.io/part-of": f"strimzi-{cluster}",
        "strimzi.io/cluster": cluster,
        "strimzi.io/kind": "Kafka",
    }
    own = {"name": name, "namespace": owner["metadata"]["namespace"], "labels": known | labels}
    own["creationTimestamp"] = ago(6 * HOUR)
    container = {
        "name": part,
        "image": "quay.io/strimzi/kafka",
        "ports": [{"name": "tcp-clients", "containerPort": 9093}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": {"containers": [container]}}


def _strimzi_nodes(pool: Object) -> Iterator[Object]:
    name = pool["metadata"]["name"]
    first = 0 if "broker" in pool["spec"]["roles"] else 100
    for number in range(first, first + pool["spec"]["replicas"]):
        pod = _strimzi(pool, f"quantstream-{name}-{number}", "kafka", {"strimzi.io/pool-name": name})
        claim = f"data-0-{pod['metadata']['name']}"
        pod["spec"]["volumes"] = [{"name": "data-0", "persistentVolumeClaim": {"claimName": claim}}]
        yield pod
        yield _claim(pool, claim, {"resources": {"requests": {"storage": "1Ti"}}})


def _instances(cluster: Object) -> Iterator[Object]:
    """Yield what CloudNativePG makes: pods with the labels of its pkg/specs/pods.go, a claim for each."""
    own, spec = cluster["metadata"], cluster["spec"]
    for number in range(1, spec["instances"] + 1):
        name = f"{own['name']}-{number}"
        labels = {
            "app.kubernetes.io/name": "postgresql",
            "app.kubernetes.io/instance": own["name"],
            "cnpg.io/cluster": own["name"],
            "cnpg.io/podRole": "instance",
        }
        sidecar = {"name": "plugin-barman-cloud", "restartPolicy": "Always"}
        pod = {
            "initContainers": [sidecar],
            "containers": [{"name": "postgres", "ports": [{"name": "postgresql", "containerPort": 5432}]}],
            "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": name}}],
        }
        known = {"name": name, "namespace": own["namespace"], "creationTimestamp": ago(6 * HOUR)}
        known |= {"labels": labels | spec["inheritedMetadata"]["labels"]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": known, "spec": pod}
        yield _claim(cluster, name, {"resources": {"requests": {"storage": spec["storage"]["size"]}}})


def _strimzi_deployment(kafka: Object, part: str) -> Object:
    return _strimzi(kafka, f"quantstream-{part}-5b8d9c7f6-x2k8m", part, {"strimzi.io/name": f"quantstream-{part}"})


def _node(name: str) -> Object:
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    conditions = [condition(kind, "False") for kind in pressures] + [condition("Ready", "True")]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, "creationTimestamp": ago(30 * DAY)},
        "spec": {},
        "status": {"conditions": conditions},
    }


def _operators(played: Played) -> None:
    """Let every operator say that what it looks after is as it should be."""
    for thing in played.all_of(*KAFKA_KINDS, "ScaledObject"):
        seen = {"observedGeneration": thing["metadata"]["generation"]}
        thing["status"] = seen | {"conditions": [condition("Ready", "True")]}
        if thing["kind"] == "ScaledObject":
            calm = [condition(kind, "False") for kind in ("Active", "Fallback", "Paused")]
            thing["status"]["conditions"] += calm
    for thing in played.all_of("Cluster"):
        healthy = [condition(kind, "True") for kind in ("Ready", "ContinuousArchiving", "LastBackupSucceeded")]
        thing["status"] = {"readyInstances": 3, "phase": "Cluster in healthy state", "conditions": healthy}
    for thing in played.all_of("ObjectStore"):
        window = {"firstRecoverabilityPoint": ago(14 * DAY), "lastSuccessfulBackupTime": ago(17 * HOUR)}
        thing["status"] = {"serverRecoveryWindow": {"databases": window}}
    for thing in played.all_of("KafkaNodePool"):
        thing["status"] = {"observedGeneration": 1, "replicas": thing["spec"]["replicas"]}


def _claims(played: Played) -> None:
    for claim in played.all_of("PersistentVolumeClaim"):
        claim["status"] = {"phase": "Bound"}


def _pages(played: Played) -> None:
    """Give each stage's pods a page of metrics and a log."""
    for pod in played.all_of("Pod"):
        own = pod["metadata"]
        stage = own["labels"].get("quantstream.io/stage")
        log = RECORDED / "logs" / f"{stage}.txt"
        lines = log.read_text().splitlines() if stage in STAGES else ["it is quiet here"]
        played.texts[log_file(pod)] = "".join(f"2026-11-22T17:55:00.000000000Z {line}\n" for line in lines)
        for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"][1:]):
            played.texts[f"{own['namespace']}/logs.{own['name']}.{one['name']}"] = ""
        if stage in STAGES:
            page = (RECORDED / "metrics" / f"{stage}.txt").read_text()
            page += f"quantstream_{stage}_started_at_seconds {NOW - 6 * HOUR}.0\n"
            if stage == "ingest":
                page += "".join(f'quantstream_ingest_symbol_has_trades{{symbol="{one}"}} 1.0\n' for one in SYMBOLS)
            played.texts[f"{own['namespace']}/metrics.{own['name']}"] = page
