"""What an API server refuses or makes of an object: unknown fields, the restricted standard, defaults, fixed fields."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from tests.infra.manifest_checks import UNITS, amount, schema_faults

Json = dict[str, Any]
VERSION = "1.34"  # of Kubernetes, whose definitions objects are held to
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
STATEFUL_MAY_CHANGE = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}


def pod_spec(thing: Json) -> Json | None:
    """Return the pod's specification of whatever makes pods."""
    if thing["kind"] == "Pod":
        return dict(thing["spec"])
    spec = thing.get("spec", {})
    if thing["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]["spec"] if thing["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob") else None


def faults(thing: Json, is_restricted: bool) -> list[str]:
    """Return why an object is refused; nothing when it is taken."""
    shown = {key: value for key, value in thing.items() if key != "status"}
    if thing["kind"] in ("CustomResourceDefinition", "StorageClass", "Namespace"):
        return []  # the tests' own
    wrong = list(schema_faults([shown], VERSION))
    spec = pod_spec(thing)
    return wrong + (list(restricted(spec)) if is_restricted and spec else [])


def restricted(spec: Json) -> Iterator[str]:
    """Faults by the restricted Pod Security Standard of Kubernetes; a real server refuses the pods, and warns of workloads."""
    inside = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"violates PodSecurity restricted: {field}"
    for volume in spec.get("volumes", ()):
        if odd := set(volume) - VOLUMES - {"name"}:
            yield f"violates PodSecurity restricted: volume {volume['name']} is a {', '.join(odd)}"
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        own = inside | container.get("securityContext", {})
        name = container["name"]
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"violates PodSecurity restricted: {name} may escalate"
        if own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0:
            yield f"violates PodSecurity restricted: {name} may run as root"
        if own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"violates PodSecurity restricted: {name} has no seccomp profile"
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield f"violates PodSecurity restricted: {name} keeps capabilities"
        if any(port.get("hostPort") for port in container.get("ports", ())):
            yield f"violates PodSecurity restricted: {name} takes a port of the node"


def fixed_fields(before: Json, after: Json) -> list[str]:
    """Return which fields were changed that cannot be."""
    old, new = before.get("spec", {}), after.get("spec", {})
    if after["kind"] == "StatefulSet":
        changed = [key for key in {*old, *new} - STATEFUL_MAY_CHANGE if old.get(key) != new.get(key)]
        return [f"spec.{key}: Forbidden: updates to statefulset spec are forbidden" for key in sorted(changed)]
    if after["kind"] == "Job" and old.get("template") != new.get("template"):
        return ["spec.template: Invalid value: field is immutable"]
    if after["kind"] in ("Deployment", "Job") and old.get("selector") != new.get("selector"):
        return ["spec.selector: Invalid value: field is immutable"]
    return []


def defaulted(thing: Json) -> Json:
    """Return an object as a server keeps it: quantities in one way of writing, some of the fields that nobody gave."""
    result: Json = _normal(copy.deepcopy(thing))
    spec = result.get("spec", {})
    if result["kind"] in ("Deployment", "StatefulSet"):
        spec.setdefault("replicas", 1)
        spec.setdefault("updateStrategy" if result["kind"] == "StatefulSet" else "strategy", {"type": "RollingUpdate"})
    if result["kind"] == "Service":
        spec.setdefault("clusterIP", "10.96.0.1")
        spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
    inner = pod_spec(result)
    for container in [*inner.get("initContainers", ()), *inner["containers"]] if inner else ():
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")
    return result


def _normal(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if not isinstance(value, dict):
        return value
    if name in ("requests", "limits", "hard", "default", "defaultRequest", "max"):
        return {key: canonical(inner) for key, inner in value.items()}
    return {key: canonical(inner) if key == "sizeLimit" else _normal(inner, key) for key, inner in value.items()}


def canonical(quantity: str | float) -> str:
    """Return a quantity as Kubernetes prints it: the largest unit of its family without a fraction, always text."""
    text = str(quantity)
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
    value = amount(text)
    family = (
        [one for one in UNITS if one.endswith("i")] if unit.endswith("i") else [one for one in UNITS if "i" not in one]
    )
    for one in sorted(family, key=lambda each: -UNITS[each]):
        if value and (value / UNITS[one]).is_integer():
            return f"{int(value / UNITS[one])}{one}"
    return f"{number}{unit}"
