"""Who may do what: roles and bindings, a namespace's and the cluster's, judged as RBAC does. What is not granted is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.infra.cluster.api_store import Cluster

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class Asked:
    """One request: what is to be done to which object."""

    verb: str
    group: str
    resource: str  # with its part, e.g. `pods/log`
    namespace: str
    name: str = ""


def is_allowed(cluster: Cluster, account: str, asked: Asked) -> bool:
    """Say whether a service account, written `namespace:name`, may do that."""
    return any(_grants(rule, asked) for role in _roles(cluster, account, asked.namespace) for rule in role["rules"])


def _roles(cluster: Cluster, account: str, namespace: str) -> Iterator[Json]:
    """Yield the roles that an account has in a namespace, and everywhere."""
    bindings = cluster.every(cluster.kind(RBAC, "clusterrolebindings"))
    if namespace:
        bindings += cluster.every(cluster.kind(RBAC, "rolebindings"), namespace)
    for binding in bindings:
        if _binds(binding, account):
            own = binding["roleRef"]
            is_clusters = own["kind"] == "ClusterRole"
            kind = cluster.kind(RBAC, "clusterroles" if is_clusters else "roles")
            yield cluster.get(kind, "" if is_clusters else namespace, own["name"])


def _binds(binding: Json, account: str) -> bool:
    return any(
        one["kind"] == "ServiceAccount" and f"{one['namespace']}:{one['name']}" == account
        for one in binding["subjects"]
    )


def _grants(rule: Json, asked: Asked) -> bool:
    return (
        asked.group in rule["apiGroups"]
        and asked.resource in rule["resources"]
        and asked.verb in rule["verbs"]
        and (not rule.get("resourceNames") or asked.name in rule["resourceNames"])
    )
