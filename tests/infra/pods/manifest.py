"""A workload of the manifests as a pod that podman can play: the same containers, with what a cluster would have put in by then.

Volumes become folders with the owner, group and mode that a kubelet gives them; variables are looked up in the objects and in the
secrets of `secrets.sh`; Services become lines of /etc/hosts. Everything else is the manifest's own, word for word. Probes and
`preStop` are taken out: podman would need systemd for them, so the tests ask them as a kubelet does.
"""

from __future__ import annotations

import copy
import os
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.manifests import Object, containers, matches, named, of_kind, pod, pod_labels, secret_script, space

ASKED_BY_THE_TEST = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")
OF_A_CLUSTER = ("serviceAccountName", "automountServiceAccountToken", "priorityClassName", "topologySpreadConstraints")
FILES_MODE = 0o644  # of a ConfigMap's files, where nothing else is said
KEPT = {"io.podman.annotations.init.container.type": "always"}  # an init container's end can be looked at afterwards
AUTHORITY = "kubernetes.crt"  # file with the certificate of who signed the API server's
Aliases = Mapping[str, str]  # host name → address


@dataclass(frozen=True)
class Source:
    """What a pod's parts are looked up in, and what a cluster adds to it."""

    objects: Sequence[Object]
    folder: Path  # where volumes are made
    images: Mapping[str, str]  # stand-ins
    kubernetes: tuple[str, int]  # where the API answers

    def data(self, kind: str, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Return the files of a Secret or ConfigMap, or None where there is none."""
        there = secret_script("local") if kind == "Secret" else of_kind(self.objects, "ConfigMap")
        for one in there:
            if (space(one), one["metadata"]["name"]) == (namespace, name):
                decode = b64decode if kind == "Secret" else str.encode
                return {key: decode(value) for key, value in one["data"].items()}
        return None


def instance_name(workload: Object) -> str:
    """Return what the first pod of a workload is called."""
    own = workload["metadata"]
    name = str(own.get("name") or own["generateName"].rstrip("-"))
    return f"{name}-0" if workload["kind"] == "StatefulSet" else name


def manifest(workload: Object, name: str, source: Source, hosts: Aliases) -> Object:
    """Return the pod to play under the name that podman is to call it."""
    spec = copy.deepcopy(pod(workload))
    account = spec["serviceAccountName"] if spec.get("automountServiceAccountToken", True) else ""
    for key in OF_A_CLUSTER:
        spec.pop(key, None)
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for key in ASKED_BY_THE_TEST:
            container.pop(key, None)
        container["image"] = source.images.get(container["image"], container["image"])
        container["imagePullPolicy"] = "Never"
        variables = environment(workload, container, source)
        container.pop("envFrom", None)
        container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
    spec["volumes"] = [_volume(one, workload, source) for one in _claimed(workload, spec)]
    if account:
        _mount_token(spec, space(workload), account, source.folder)
    spec["hostAliases"] = [{"ip": address, "hostnames": [host]} for host, address in hosts.items()]
    spec["hostname"] = instance_name(workload)
    if spec.get("initContainers"):
        spec.setdefault("restartPolicy", "OnFailure")  # by "Always" podman would run an init container again and again
    metadata = {"name": name, "labels": dict(pod_labels(workload)), "annotations": KEPT}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def environment(workload: Object, container: Object, source: Source) -> dict[str, str]:
    """Return the variables of a container: those of its manifest, and Kubernetes' own address."""
    host, port = source.kubernetes
    given = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
    for one in container.get("envFrom", ()):
        given |= named(source.objects, "ConfigMap", one["configMapRef"]["name"])["data"]
    for one in container.get("env", ()):
        value = one["value"] if "value" in one else _referred(workload, one["valueFrom"], source)
        if value is not None:
            given[one["name"]] = value
    return given


def _referred(workload: Object, origin: Mapping[str, Any], source: Source) -> str | None:
    if field := origin.get("fieldRef", {}).get("fieldPath"):
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field)
        return pod_labels(workload)[label[1]] if label else instance_name(workload)
    reference = origin["secretKeyRef"]
    data = source.data("Secret", space(workload), reference["name"])
    if data is None:
        assert reference.get("optional"), f"{instance_name(workload)} reads {reference}, which nobody makes"
        return None
    return data[reference["key"]].decode()


def _claimed(workload: Object, spec: Object) -> list[Object]:
    claims = workload["spec"].get("volumeClaimTemplates", ()) if workload["kind"] == "StatefulSet" else ()
    own = [{"name": one["metadata"]["name"], "claim": one["metadata"]["name"]} for one in claims]
    return [*spec.get("volumes", ()), *own]


def _volume(volume: Object, workload: Object, source: Source) -> Object:
    group = pod(workload)["securityContext"]["fsGroup"]
    place = source.folder / "volumes" / f"{instance_name(workload)}-{volume['name']}"
    if claim := volume.get("claim") or volume.get("persistentVolumeClaim", {}).get("claimName"):
        place = source.folder / "claims" / (claim if "claim" not in volume else f"{claim}-{instance_name(workload)}")
    _folder(place, group, 0o2777 if "emptyDir" in volume else 0o2775)
    for kind in ("secret", "configMap"):
        if kind in volume:
            _write(place, volume[kind], kind, workload, source)
    return {"name": volume["name"], "hostPath": {"path": str(place), "type": "Directory"}}


def _write(place: Path, volume: Object, kind: str, workload: Object, source: Source) -> None:
    title, name = ("Secret", volume["secretName"]) if kind == "secret" else ("ConfigMap", volume["name"])
    data = source.data(title, space(workload), name)
    if data is None:
        assert volume.get("optional"), f"{instance_name(workload)} mounts {title} {name}, which nobody makes"
        return
    chosen = volume.get("items") or [{"key": key, "path": key} for key in data]
    for one in chosen:
        file = place / one["path"]
        file.write_bytes(data[one["key"]])
        file.chmod(volume.get("defaultMode", FILES_MODE))
        os.chown(file, 0, pod(workload)["securityContext"]["fsGroup"])


def _folder(place: Path, group: int, mode: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    os.chown(place, 0, group)
    place.chmod(mode)


def _mount_token(spec: Object, namespace: str, account: str, folder: Path) -> None:
    """Mount what a pod with a service account's token finds; the token says whose it is."""
    place = folder / "tokens" / f"{namespace}-{account}"
    place.mkdir(parents=True, exist_ok=True)
    files = {"token": f"{namespace}:{account}", "namespace": namespace, "ca.crt": (folder / AUTHORITY).read_text()}
    for name, text in files.items():
        (place / name).write_text(text)
    mount = {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
    spec["volumes"].append({"name": "token", "hostPath": {"path": str(place), "type": "Directory"}})


def aliases(objects: Sequence[Object], addresses: Mapping[tuple[str, str], str], namespace: str) -> dict[str, str]:
    """Return the names by which a pod of a namespace reaches each Service, as a cluster's name server answers them."""
    found = {}
    for service in of_kind(objects, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        for workload in of_kind(objects, "Deployment", "StatefulSet"):
            key = (space(workload), workload["metadata"]["name"])
            if space(workload) == space(service) and matches(selector, pod_labels(workload)) and key in addresses:
                name = f"{service['metadata']['name']}.{space(service)}"
                short = [service["metadata"]["name"]] if space(service) == namespace else []
                for host in (*short, name, f"{name}.svc", f"{name}.svc.cluster.local"):
                    found[host] = addresses[key]
    return found


def all_images(objects: Sequence[Object], kinds: Sequence[str]) -> set[str]:
    """Return every image that the workloads name."""
    return {container["image"] for one in of_kind(objects, *kinds) for container in containers(one)}
