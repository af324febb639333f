"""What may be wrong with manifests although they are well-formed; each check returns one sentence per fault."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

from tests.infra.manifests import (
    TEMPLATED,
    Object,
    containers,
    matches,
    of_kind,
    pod,
    pod_labels,
    secret_script,
    space,
    title,
    walk,
)

SCHEMAS = Path(__file__).parent / "schemas"
UNITS = {"": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
# Kafka's own resources, made by its operator from a Kafka named quantstream.
STRIMZI_SECRETS = {"quantstream-cluster-ca-cert": {"ca.crt"}}
STRIMZI_SERVICES = {"quantstream-kafka-bootstrap": {9092, 9093}}
Faults = Iterator[str]
Place = tuple[str, str]  # namespace and name
# It reads megabytes of definitions anew for each object; once for each version will do.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def amount(text: str | float) -> float:
    """Return a Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


@cache
def _own_schema(kind: str, api: str) -> Any:
    path = SCHEMAS / f"{kind}.json"
    if not path.exists():
        return None
    schema = json.loads(path.read_text())
    assert api in schema["x-apiVersions"], f"{kind} is known as {schema['x-apiVersions']}, not as {api}"
    return jsonschema.Draft202012Validator(schema)


def schema_faults(objects: Sequence[Object], version: str) -> Faults:
    """Fields that a Kubernetes of this version does not know, or of another type; custom kinds by schemas of our own."""
    for one in objects:
        own = _own_schema(one["kind"], one["apiVersion"])
        if own is not None:
            for error in own.iter_errors(one):
                yield f"{title(one)}: {error.json_path}: {error.message}"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{title(one)}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{title(one)}: no schema for {one['apiVersion']} in Kubernetes {version}"


def selector_faults(objects: Sequence[Object]) -> Faults:
    """Selectors that take nothing, or not their own pods."""
    workloads = of_kind(objects, *TEMPLATED)
    for one in of_kind(objects, "Deployment", "StatefulSet"):
        if not matches(one["spec"]["selector"], pod_labels(one)):
            yield f"{title(one)}: its selector does not take its own pods"
        beside = [other for other in workloads if other is not one and space(other) == space(one)]
        others = [other for other in beside if matches(one["spec"]["selector"], pod_labels(other))]
        if others:
            yield f"{title(one)}: its selector takes the pods of {title(others[0])} too"
    for one in of_kind(objects, "Service"):
        near = [other for other in workloads if space(other) == space(one)]
        if not any(matches({"matchLabels": one["spec"]["selector"]}, pod_labels(other)) for other in near):
            yield f"{title(one)}: its selector takes no pod"
    for one in of_kind(objects, "PodDisruptionBudget"):
        if not any(matches(one["spec"]["selector"], pod_labels(other)) for other in workloads):
            yield f"{title(one)}: its selector takes no pod"
    for one in of_kind(objects, *TEMPLATED):
        for spread in pod(one).get("topologySpreadConstraints", ()):
            if not matches(spread["labelSelector"], pod_labels(one)):
                yield f"{title(one)}: is spread by labels that its pods do not have"


def port_faults(objects: Sequence[Object]) -> Faults:
    """Ports out of range, without a name on the other side, or served by nobody."""
    workloads = of_kind(objects, *TEMPLATED)
    for one in objects:
        for path, value in walk(one):
            if re.search(r"([pP]ort|containerPort)$", path) and isinstance(value, int) and not 1 <= value <= 65535:
                yield f"{title(one)}: {path} is {value}, no port"
    for one in workloads:
        for container in containers(one):
            names = {port["name"] for port in container.get("ports", ())}
            for path, value in walk(
                {key: container.get(key) for key in ("startupProbe", "readinessProbe", "livenessProbe")}
            ):
                if path.endswith(".port") and value not in names:
                    yield f"{title(one)}: {path} is {value}, which {container['name']} does not have"
    for one in of_kind(objects, "Service"):
        for port in one["spec"]["ports"]:
            for other in workloads:
                if matches({"matchLabels": one["spec"]["selector"]}, pod_labels(other)):
                    offered = {p["name"] for c in containers(other) for p in c.get("ports", ())}
                    if port["targetPort"] not in offered:
                        yield f"{title(one)}: sends to port {port['targetPort']}, which {title(other)} does not have"


def volume_faults(objects: Sequence[Object]) -> Faults:
    """Mounts of volumes that are not there, and volumes that nobody mounts."""
    for one in of_kind(objects, *TEMPLATED):
        there = {volume["name"] for volume in pod(one).get("volumes", ())}
        there |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for container in containers(one) for mount in container.get("volumeMounts", ())}
        for name in sorted(mounted - there):
            yield f"{title(one)}: mounts the volume {name}, which it does not have"
        for name in sorted(there - mounted):
            yield f"{title(one)}: nobody mounts its volume {name}"


def resource_faults(objects: Sequence[Object]) -> Faults:
    """Containers without requests or limits, or that ask for more than they may have."""
    for one in of_kind(objects, *TEMPLATED):
        for container in containers(one):
            resources = container.get("resources", {})
            for what in ("cpu", "memory"):
                request, limit = resources.get("requests", {}).get(what), resources.get("limits", {}).get(what)
                if request is None or limit is None:
                    yield f"{title(one)}: {container['name']} has no request or no limit of {what}"
                elif amount(request) > amount(limit):
                    yield f"{title(one)}: {container['name']} requests {request} of {what}, above its limit {limit}"


def bound_faults(objects: Sequence[Object]) -> Faults:
    """Scalers whose bounds cross, pass the partitions of their topic, or whose target is not there."""
    topics = {one["metadata"]["name"]: one["spec"]["partitions"] for one in of_kind(objects, "KafkaTopic")}
    there = {(one["kind"], one["metadata"]["name"]) for one in of_kind(objects, "Deployment", "StatefulSet")}
    for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        spec = one["spec"]
        least = spec.get("minReplicas", spec.get("minReplicaCount"))
        most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
        target = spec["scaleTargetRef"]
        if (target["kind"], target["name"]) not in there:
            yield f"{title(one)}: scales {target['kind']} {target['name']}, which is not there"
        if not 1 <= least <= most:
            yield f"{title(one)}: its bounds are {least} and {most}"
        for trigger in spec.get("triggers", ()):
            if trigger["type"] != "kafka":
                continue  # another address, which `address_faults` looks after
            partitions = topics.get(trigger["metadata"]["topic"])
            if partitions is None or most > partitions:
                yield f"{title(one)}: up to {most} pods on {partitions} partitions of {trigger['metadata']['topic']}"


def image_faults(objects: Sequence[Object]) -> Faults:
    """Images that may be another tomorrow."""
    for one in of_kind(objects, *TEMPLATED):
        for container in containers(one):
            if not re.search(r"(:v?[0-9]+\.[0-9]+[^/:@]*|@sha256:[0-9a-f]{64})$", container["image"]):
                yield f"{title(one)}: the image {container['image']} is not pinned"


def secret_keys(objects: Sequence[Object]) -> dict[Place, set[str]]:
    """Return the keys of every secret that somebody makes, by namespace and name."""
    system = "prod" if of_kind(objects, "Kafka") else "local"
    found = {(space(one), one["metadata"]["name"]): set(one["data"]) for one in secret_script(system)}
    return found | {("quantstream", name): keys for name, keys in STRIMZI_SECRETS.items()}


def reference_faults(objects: Sequence[Object]) -> Faults:
    """References to a ConfigMap, a Secret's key, a claim, an account, a class or a Service that its namespace lacks."""
    there = {(one["kind"], space(one), one["metadata"].get("name")) for one in objects}
    secrets = secret_keys(objects)
    for one in objects:
        for path, value in walk(one):
            if isinstance(value, dict) and value.get("optional"):
                continue
            for kind, name in _named_kinds(path, value):
                if (kind, "" if kind == "PriorityClass" else space(one), name) not in there:
                    yield f"{title(one)}: refers to the {kind} {name}, which is not there"
            for name, key in _secret_keys(path, value):
                if key not in secrets.get((space(one), name), ()):
                    yield f"{title(one)}: refers to {key} of the Secret {name}, which nobody makes"
        if one["kind"] == "StatefulSet" and ("Service", space(one), one["spec"]["serviceName"]) not in there:
            yield f"{title(one)}: its Service {one['spec']['serviceName']} is not there"


def _named_kinds(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if path.endswith((".configMapRef", ".configMapKeyRef", ".configMap")):
        yield "ConfigMap", value["name"]
    for field, kind in (("claimName", "PersistentVolumeClaim"), ("serviceAccountName", "ServiceAccount")):
        if path.endswith(f".{field}"):
            yield kind, value
    if path.endswith(".priorityClassName"):
        yield "PriorityClass", value


def _secret_keys(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if path.endswith(".secretKeyRef") or re.search(r"secretTargetRef\[\d+\]$", path):
        yield value["name"], value["key"]
    if path.endswith(".secret") and isinstance(value, dict):
        yield from ((value["secretName"], item["key"]) for item in value["items"])


def addresses(text: str, own: str) -> Iterator[tuple[str, str, int]]:
    """Go through the Services that a setting names: namespace, name, port. `own` is the namespace of who has the setting."""
    for name, other, port in re.findall(r"(?:^|//|[,@])([a-z][a-z0-9-]*)(?:\.([a-z][a-z0-9-]*))?:([0-9]+)", text):
        yield other or own, name, int(port)


def service_ports(objects: Sequence[Object]) -> dict[Place, set[int]]:
    """Return the ports of every Service, those that Strimzi makes among them."""
    found = {
        (space(one), one["metadata"]["name"]): {port["port"] for port in one["spec"]["ports"]}
        for one in of_kind(objects, "Service")
    }
    made = STRIMZI_SERVICES if of_kind(objects, "Kafka") else {}
    return found | {("quantstream", name): ports for name, ports in made.items()}


def address_faults(objects: Sequence[Object]) -> Faults:
    """Addresses in settings that no Service answers, or not at that port."""
    ports = service_ports(objects)
    for one in of_kind(objects, "ConfigMap"):
        for key, value in one.get("data", {}).items():
            if key != key.upper():
                continue  # a file
            for where, host, port in addresses(value, space(one)):
                if port not in ports.get((where, host), ()):
                    yield f"{title(one)}: {key} names {host}:{port} in {where}, where no Service listens"


def security_faults(objects: Sequence[Object]) -> Faults:
    """Pods that the restricted standard refuses, or that hold more than they need."""
    for one in of_kind(objects, *TEMPLATED):
        spec, inside = pod(one), pod(one)["securityContext"]
        if (
            not inside["runAsNonRoot"]
            or inside["seccompProfile"] != {"type": "RuntimeDefault"}
            or not inside["runAsUser"]
        ):
            yield f"{title(one)}: may run as root, or without a seccomp profile"
        bindings = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        bound = [subject for binding in bindings for subject in binding["subjects"]]
        may_ask = {(subject["namespace"], subject["name"]) for subject in bound}
        has_token = spec["automountServiceAccountToken"] and (space(one), spec["serviceAccountName"]) not in may_ask
        if has_token or spec["enableServiceLinks"]:
            yield f"{title(one)}: gets a token or variables that it does not need"
        for container in containers(one):
            wanted = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            if container["securityContext"] != wanted:
                yield f"{title(one)}: {container['name']} is not confined as {wanted}"
        for path, _ in walk(one):
            if path.endswith((".hostPath", ".hostNetwork", ".hostPID", ".privileged", ".stringData")):
                yield f"{title(one)}: {path}"


CHECKS: tuple[Callable[[Sequence[Object]], Faults], ...] = (
    selector_faults,
    port_faults,
    volume_faults,
    resource_faults,
    bound_faults,
    image_faults,
    reference_faults,
    address_faults,
    security_faults,
)


def faults(objects: Sequence[Object]) -> list[str]:
    """Return what all checks but that of the schemas find."""
    return [fault for check in CHECKS for fault in check(objects)]
