"""What the tests' API server knows: kinds, where each is found, and the discovery documents that kubectl reads of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Kind:
    """One kind: `group_version` as manifests write it, and its name in paths."""

    group_version: str
    name: str
    plural: str
    is_namespaced: bool = True

    @property
    def group(self) -> str:
        """API group, empty for the core."""
        return self.group_version.rpartition("/")[0]

    @property
    def prefix(self) -> str:
        """Path of its group and version."""
        return f"/apis/{self.group_version}" if self.group else f"/api/{self.group_version}"

    @property
    def path(self) -> str:
        """Path of one of its objects, as OpenAPI writes it."""
        place = "/namespaces/{namespace}" if self.is_namespaced else ""
        return f"{self.prefix}{place}/{self.plural}/{{name}}"


def _kinds(group_version: str, *names: str, is_namespaced: bool = True) -> Iterable[Kind]:
    for name in names:
        low = name.lower()
        plural = f"{low[:-1]}ies" if low.endswith("y") else f"{low}es" if low.endswith("s") else f"{low}s"
        yield Kind(group_version, name, plural, is_namespaced)


BUILT_IN = (
    *_kinds("v1", "Namespace", "Node", is_namespaced=False),
    *_kinds("v1", "ServiceAccount", "Service", "ConfigMap", "Secret", "PersistentVolumeClaim", "Pod", "Event"),
    *_kinds("v1", "ResourceQuota", "LimitRange"),
    *_kinds("apps/v1", "Deployment", "StatefulSet"),
    *_kinds("batch/v1", "Job", "CronJob"),
    *_kinds("policy/v1", "PodDisruptionBudget"),
    *_kinds("networking.k8s.io/v1", "NetworkPolicy", "Ingress"),
    *_kinds("autoscaling/v2", "HorizontalPodAutoscaler"),
    *_kinds("rbac.authorization.k8s.io/v1", "Role", "RoleBinding"),
    *_kinds("rbac.authorization.k8s.io/v1", "ClusterRole", "ClusterRoleBinding", is_namespaced=False),
    *_kinds("storage.k8s.io/v1", "StorageClass", is_namespaced=False),
    *_kinds("scheduling.k8s.io/v1", "PriorityClass", is_namespaced=False),
    *_kinds("apiextensions.k8s.io/v1", "CustomResourceDefinition", is_namespaced=False),
)


def of_definition(crd: Json) -> list[Kind]:
    """Return the kinds that a CustomResourceDefinition brings."""
    spec = crd["spec"]
    names, is_namespaced = spec["names"], spec["scope"] == "Namespaced"
    return [
        Kind(f"{spec['group']}/{version['name']}", names["kind"], names["plural"], is_namespaced)
        for version in spec["versions"]
        if version["served"]
    ]


def discovery(path: str, kinds: Iterable[Kind], address: str) -> Json | None:
    """Return the discovery document at a path, or nothing where there is none."""
    kinds = list(kinds)
    if path == "/version":
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(kinds)}
    if path == "/openapi/v3":
        prefixes = {kind.prefix for kind in kinds}
        return {"paths": {one[1:]: {"serverRelativeURL": f"/openapi/v3{one}"} for one in sorted(prefixes)}}
    if path.startswith("/openapi/v3/"):
        return _openapi([kind for kind in kinds if f"/openapi/v3{kind.prefix}" == path])
    found = [kind for kind in kinds if kind.prefix == path]
    if not found:
        return None
    resources = [
        {"name": k.plural, "singularName": "", "namespaced": k.is_namespaced, "kind": k.name, "verbs": VERBS}
        for k in found
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].group_version,
        "resources": resources,
    }


def _groups(kinds: list[Kind]) -> list[Json]:
    versions: dict[str, set[str]] = {}
    for kind in kinds:
        if kind.group:
            versions.setdefault(kind.group, set()).add(kind.group_version)
    groups = []
    for name, found in sorted(versions.items()):
        entries = [{"groupVersion": one, "version": one.rpartition("/")[2]} for one in sorted(found)]
        groups.append({"name": name, "versions": entries, "preferredVersion": entries[0]})
    return groups


def _openapi(kinds: list[Kind]) -> Json:
    """Say no more than that PATCH takes `fieldValidation`: kubectl then leaves validation to the server."""
    paths = {}
    for kind in kinds:
        group, _, version = kind.group_version.rpartition("/")
        patch = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind.name},
        }
        paths[kind.path] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "tests", "version": "v1"}, "paths": paths}
