"""Who may do what: Roles and RoleBindings of the tests' cluster, judged as RBAC does. What is not granted is refused."""

from __future__ import annotations

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
    bindings = cluster.every(cluster.kind(RBAC, "clusterrolebindings"))
    if asked.namespace:
        bindings = bindings + cluster.every(cluster.kind(RBAC, "rolebindings"), asked.namespace)
    roles = [_role(cluster, one) for one in bindings if _binds(one, account)]
    return any(_grants(rule, asked) for role in roles for rule in role["rules"])


def _role(cluster: Cluster, binding: Json) -> Json:
    name, namespace = binding["roleRef"]["name"], binding["metadata"].get("namespace", "")
    if binding["roleRef"]["kind"] == "ClusterRole":
        return cluster.get(cluster.kind(RBAC, "clusterroles"), "", name)
    return cluster.get(cluster.kind(RBAC, "roles"), namespace, name)


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
