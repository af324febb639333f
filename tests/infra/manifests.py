"""The manifests as they are applied, and what is found in them."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.embedded.state import PROJECT

Object = dict[str, Any]
K8S = PROJECT / "infra" / "k8s"
SYSTEMS = {  # what somebody applies to have a whole system
    "local": ("infrastructure", "services"),
    "prod": ("production/infrastructure", "production/services", "production/monitoring"),
    "local-replay": ("infrastructure", "services", "jobs"),
    "prod-replay": ("production/infrastructure", "production/services", "production/jobs"),
}
TEMPLATED = ("Deployment", "StatefulSet", "Job", "CronJob", "Pod")


@cache
def _applied(folder: str) -> tuple[Object, ...]:
    files = sorted((K8S / folder).glob("*.yaml"))
    return tuple(one for file in files for one in yaml.safe_load_all(file.read_text()) if one)


def copied_to(folder: Path) -> Path:
    """Copy scripts and manifests, and the pinned images that lie beside them; return where `infra/k8s` is then."""
    (folder / "docker").mkdir()
    shutil.copy(K8S.parent / "docker" / "images.lock", folder / "docker")
    return Path(shutil.copytree(K8S, folder / "k8s"))


def render(system: str) -> list[Object]:
    """Return every object of a system, each a copy of one's own, and the pod that Airflow makes of its template for a task."""
    objects = [copy.deepcopy(one) for folder in SYSTEMS[system] for one in _applied(folder)]
    templates = [one for one in objects if title(one).startswith("ConfigMap airflow-task")]
    return [*objects, *(_task(one) for one in templates)]


def _task(template: Object) -> Object:
    made: Object = yaml.safe_load(template["data"]["pod.yaml"])
    made["metadata"]["namespace"] = template["metadata"]["namespace"]  # as the executor is told to
    return made


@cache
def secret_script(system: str = "prod") -> tuple[Object, ...]:
    """Return the secrets that `secrets.sh` makes for a system."""
    command = [str(K8S / "secrets.sh"), *(["--plain"] if system.startswith("local") else []), "--print"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def title(thing: Object) -> str:
    """Return what a person calls an object."""
    own = thing["metadata"]
    return f"{thing['kind']} {own.get('name', own.get('generateName'))}"


def space(thing: Object) -> str:
    """Return the namespace that an object is in; nothing for what is the cluster's."""
    return str(thing["metadata"].get("namespace", ""))


def is_for_a_restore(thing: Object) -> bool:
    """Say whether it is what is made by hand in the place of an object that was there."""
    return thing["kind"] == "Cluster" and "bootstrap" in thing["spec"]


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return one object."""
    found = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}, not one: see infra/k8s/sources"
    return found[0]


def pod(workload: Object) -> Object:
    """Return the pod's specification of a workload."""
    spec: Object = _template(workload)["spec"]
    return spec


def _template(workload: Object) -> Object:
    if workload["kind"] == "Pod":
        return workload
    spec = workload["spec"]
    found: Object = (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]
    return found


def pod_labels(workload: Object) -> Mapping[str, str]:
    """Return the labels of a workload's pods."""
    labels: Mapping[str, str] = _template(workload)["metadata"]["labels"]
    return labels


def containers(workload: Object) -> list[Object]:
    """Return a workload's containers, the initial ones too."""
    return [*pod(workload).get("initContainers", ()), *pod(workload)["containers"]]


def tag(image: str) -> str:
    """Return the tag of an image's name, with or without a digest behind it."""
    return image.partition("@")[0].rpartition(":")[2]


def variables(workload: Object) -> dict[str, Any]:
    """Return what a workload's first container is given by name: a value, or where it comes from."""
    return {
        one["name"]: one.get("value", one.get("valueFrom")) for one in pod(workload)["containers"][0].get("env", ())
    }


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Say whether a label selector takes these labels; an empty one takes all."""
    if not selector:
        return True
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", ()):
        has = one["key"] in labels
        allowed = {"Exists": has, "DoesNotExist": not has}
        if not allowed.get(one["operator"], labels.get(one["key"]) in one.get("values", ())):
            return False
    return True


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Go through every field of an object with its path."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{path}[{number}]")


def path_of(folder: str) -> Path:
    """Return the path of a folder of manifests."""
    return K8S / folder
