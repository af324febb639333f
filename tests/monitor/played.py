"""A cluster of the rendered manifests whose controllers are played, and every answer that kubectl gives of it.

The manifests are applied to the tests' small API server, so that labels, names, claims and numbers are those of what is rendered;
pods, nodes and what operators report are put beside them as a cluster makes them. A situation is a change of that.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.cluster.api_store import Cluster
from tests.infra.cluster.test_apply import PLURALS, definition
from tests.infra.manifests import Object, matches, render

NOW = 1795370400  # 2026-11-22T18:00:00Z
RECORDED = Path(__file__).parent / "recorded"
STAGES = ("ingest", "aggregate", "detect", "sink", "score")
MINUTE, HOUR, DAY = 60, 3600, 86400
KAFKA_KINDS = ("Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser")
QUESTIONS = {  # what the monitor asks for, and the kinds that it gets
    "pods": ("Pod",),
    "deployments,statefulsets": ("Deployment", "StatefulSet"),
    "cronjobs,jobs": ("CronJob", "Job"),
    "persistentvolumeclaims": ("PersistentVolumeClaim",),
    "events": ("Event",),
    ",".join(f"{PLURALS[kind]}.kafka.strimzi.io" for kind in KAFKA_KINDS): KAFKA_KINDS,
    "clusters.postgresql.cnpg.io,objectstores.barmancloud.cnpg.io": ("Cluster", "ObjectStore"),
    "scaledobjects.keda.sh": ("ScaledObject",),
    "horizontalpodautoscalers.autoscaling": ("HorizontalPodAutoscaler",),
}
OPTIONAL = {
    "scaledobjects.keda.sh": "scaledobjects",
    "clusters.postgresql.cnpg.io,objectstores.barmancloud.cnpg.io": "clusters",
} | {",".join(f"{PLURALS[kind]}.kafka.strimzi.io" for kind in KAFKA_KINDS): "kafkas"}
NODES = ("node-a", "node-b", "node-c")


def ago(seconds: float) -> str:
    """Return a time before now as Kubernetes writes it."""
    return datetime.fromtimestamp(NOW - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, since: float = 6 * HOUR, reason: str = "", message: str = "") -> Object:
    """Return a condition as an object's status holds it."""
    told = {"reason": reason, "message": message} if reason or message else {}
    return {"type": kind, "status": status, "lastTransitionTime": ago(since)} | told


def running(pod: Object, node: str = NODES[0]) -> None:
    """Make a pod run and be ready."""
    pod["spec"]["nodeName"] = node
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    pod["status"] = {
        "phase": "Running",
        "conditions": [condition(kind, "True") for kind in kinds],
        "containerStatuses": [
            {"name": one["name"], "ready": True, "restartCount": 0, "state": {"running": {"startedAt": ago(6 * HOUR)}}}
            for one in pod["spec"]["containers"]
        ],
    }


@dataclass
class Played:
    """Everything that a cluster would answer. `refused` holds exit code and stderr by question."""

    objects: list[Object]
    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    unknown_kinds: set[str] = field(default_factory=set)

    def of(self, kind: str, name: str) -> Object:
        """Return one object."""
        (found,) = [one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def all_of(self, *kinds: str) -> list[Object]:
        """Return all objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def pods(self, part: str) -> list[Object]:
        """Return the pods of one workload, by its label."""
        return [
            one for one in self.all_of("Pod") if one["metadata"].get("labels", {}).get("app.kubernetes.io/name") == part
        ]

    def pod(self, part: str) -> Object:
        """Return the first pod of a workload."""
        return self.pods(part)[0]

    def remove(self, *things: Object) -> None:
        """Take objects away."""
        gone = {id(one) for one in things}
        self.objects = [one for one in self.objects if id(one) not in gone]

    def remove_workload(self, part: str) -> None:
        """Take a workload away with its pods, as if it had never been applied."""
        labels = {"matchLabels": {"app.kubernetes.io/name": part}}
        found = self.all_of("Deployment", "StatefulSet", "Pod", "CronJob")
        self.remove(*(one for one in found if matches(labels, one["metadata"].get("labels", {}))))

    def another(self, part: str, name: str) -> Object:
        """Add a second pod like the first of a workload."""
        pod = copy.deepcopy(self.pod(part))
        pod["metadata"]["name"] = name
        self.objects.append(pod)
        return pod

    def metric(self, name: str, value: float | None, pod: str = "") -> None:
        """Put a value in the place of what a stage's pages say, or take the lines of a metric away."""
        stage = name.split("_")[1]
        for key, text in self.texts.items():
            if f"/metrics.{pod or stage}" in key:
                lines = [line for line in text.splitlines() if line.partition(" ")[0] != name]
                if value is None:
                    lines = [line for line in lines if not line.startswith(name)]
                else:
                    lines.append(f"{name} {value}")
                self.texts[key] = "\n".join(lines) + "\n"

    def set_lines(self, stage: str, *lines: str) -> None:
        """Add lines to a stage's pages of metrics."""
        for key in [key for key in self.texts if f"/metrics.{stage}" in key]:
            self.texts[key] += "".join(f"{line}\n" for line in lines)

    def log(self, part: str, text: str, previous: bool = False) -> None:
        """Let the first container of a workload's first pod have logged these lines, each with kubectl's time before it."""
        pod = self.pod(part)
        self.texts[log_file(pod, previous)] = text

    def refuse(self, question: str, code: int | str, text: str) -> None:
        """Answer a question with an error."""
        self.refused[question] = (str(code), text)

    def forbid(self, question: str, kind: str) -> None:
        """Refuse a question as a cluster does for want of a right."""
        self.refuse(
            question,
            1,
            f'Error from server (Forbidden): {kind} is forbidden: User "jane" cannot list resource "{kind}" in API group ""',
        )

    def answers(self) -> Iterator[tuple[str, str]]:
        """Yield every answer with the question that it is to, as the fake kubectl finds it."""
        spaces = [one["metadata"]["name"] for one in self.all_of("Namespace")]
        yield "namespaces", listed([one for one in self.all_of("Namespace") if "_hidden" not in one and is_ours(one)])
        yield "nodes", listed(self.all_of("Node"))
        for space in spaces:
            mine = [one for one in self.objects if one["metadata"].get("namespace") == space]
            for question, kinds in QUESTIONS.items():
                if question not in self.unknown_kinds:
                    yield f"{space}/{question}", listed([one for one in mine if one["kind"] in kinds])
            yield f"{space}/top", usage([one for one in mine if one["kind"] == "Pod"])
        for node in self.all_of("Node"):
            yield (
                f"stats.{node['metadata']['name']}",
                json.dumps(fill(self.objects, node["metadata"]["name"]), indent=4),
            )
        yield from self.texts.items()

    def write(self, folder: Path) -> None:
        """Write the answers where the fake kubectl finds them."""
        for question, text in self.answers():
            (folder / question).parent.mkdir(parents=True, exist_ok=True)
            (folder / question).write_text(text)
        for space in self.all_of("Namespace"):
            for question in self.unknown_kinds:
                output = f'1\nerror: the server doesn\'t have a resource type "{OPTIONAL[question]}"\n'
                (folder / space["metadata"]["name"] / f"{question}.fail").write_text(output)
        for question, (code, text) in self.refused.items():
            (folder / f"{question}.fail").write_text(f"{code}\n{text}\n")


def is_ours(space: Object) -> bool:
    """Say whether a namespace carries the label by which it is asked for."""
    return bool(space["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "quantstream")


def listed(objects: list[Object]) -> str:
    """Return a list as kubectl prints it."""
    items = [{key: value for key, value in one.items() if not key.startswith("_")} for one in objects]
    return json.dumps(
        {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}},
        sort_keys=True,
        indent=4,
    )


def usage(pods: list[Object]) -> str:
    """Return what `kubectl top pods` prints."""
    rows = [
        f"{pod['metadata']['name']}   {one['name']}   18m   157Mi\n"
        for pod in pods
        if pod.get("status", {}).get("phase") == "Running"
        for one in pod["spec"]["containers"]
    ]
    return "".join(rows)


def fill(objects: list[Object], node: str, percent: int = 25) -> dict[str, Any]:
    """Return what a kubelet says of the volumes of its pods; a claim's annotation `filled` is its percentage."""
    claims = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one
        for one in objects
        if one["kind"] == "PersistentVolumeClaim"
    }
    pods = []
    for pod in objects:
        if pod["kind"] != "Pod" or pod["spec"].get("nodeName") != node:
            continue
        space, volumes = pod["metadata"]["namespace"], []
        for volume in pod["spec"].get("volumes", ()):
            name = volume.get("persistentVolumeClaim", {}).get("claimName")
            if name and (claim := claims.get((space, name))):
                used = int(claim.get("_filled", percent))
                numbers = {"capacityBytes": 100 * 2**20, "usedBytes": used * 2**20, "inodes": 100, "inodesUsed": 3}
                volumes.append(numbers | {"name": volume["name"], "pvcRef": {"name": name, "namespace": space}})
        pods.append({"podRef": {"name": pod["metadata"]["name"], "namespace": space}, "volume": volumes})
    return {"node": {"nodeName": node}, "pods": pods}


def log_file(pod: Object, previous: bool = False) -> str:
    """Return where the fake kubectl finds the log of a pod's first container."""
    own = pod["metadata"]
    return (
        f"{own['namespace']}/logs.{own['name']}.{pod['spec']['containers'][0]['name']}{'.previous' if previous else ''}"
    )


def stamped(*lines: str, since: float = 300) -> str:
    """Return lines as `kubectl logs --timestamps` prints them, a second apart."""
    return "".join(f"{ago(since - number)[:-1]}.000000000Z {line}\n" for number, line in enumerate(lines))


def apply(system: str) -> Cluster:
    """Apply a system's rendered manifests to an API of its own."""
    cluster = Cluster()
    crds = cluster.kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
    for operators in PLURALS if system == "prod" else ():
        cluster.create(crds, "", definition(operators))
    for thing in render(system):
        if thing["kind"] == "Pod":
            continue  # Airflow's template of tasks
        (kind,) = [
            one for one in cluster.kinds if (one.name, one.group_version) == (thing["kind"], thing["apiVersion"])
        ]
        cluster.create(kind, thing["metadata"].get("namespace", ""), thing)
    return cluster


@cache
def _well(system: str) -> Played:
    from tests.monitor import controllers  # what they make is long

    return controllers.play(apply(system))


def well(system: str) -> Played:
    """Return a system in which all is well, to be changed."""
    return copy.deepcopy(_well(system))
