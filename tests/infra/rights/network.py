"""Whether network policies let one pod talk to another, as the network of a cluster judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.infra.manifests import Object, matches, of_kind, space

NAMESPACE = "kubernetes.io/metadata.name"  # the label that Kubernetes gives each namespace


@dataclass(frozen=True)
class End:
    """One end of a connection; without a namespace it is outside of the cluster, or Kubernetes itself."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    is_kubernetes: bool = False


def lets(objects: Sequence[Object], source: End, target: End, port: int) -> bool:
    """Say whether a connection is let through: out of the one, and into the other."""
    out = _allows(objects, source, target, port, "egress")
    return out and (not target.namespace or _allows(objects, target, source, port, "ingress"))


def _allows(objects: Sequence[Object], pod: End, peer: End, port: int, way: str) -> bool:
    policies = [one for one in of_kind(objects, "NetworkPolicy") if _concerns(one, pod, way)]
    rules = [rule for one in policies for rule in one["spec"].get(way, ())]
    where = "to" if way == "egress" else "from"
    owner = pod.namespace
    allowed = any(
        _has_port(rule, port) and (where not in rule or any(_is(one, peer, owner) for one in rule[where]))
        for rule in rules
    )
    return allowed or not policies


def _concerns(policy: Object, pod: End, way: str) -> bool:
    spec = policy["spec"]
    is_way = way.capitalize() in spec["policyTypes"]
    return is_way and space(policy) == pod.namespace and matches(spec["podSelector"], pod.labels)


def _has_port(rule: Mapping[str, Any], port: int) -> bool:
    return "ports" not in rule or any(one["port"] == port and one.get("protocol") == "TCP" for one in rule["ports"])


def _is(peer: Mapping[str, Any], end: End, owner: str) -> bool:
    if "ipBlock" in peer:
        return not end.namespace and not end.is_kubernetes
    if not end.namespace:
        return False
    is_near = end.namespace == owner
    if "namespaceSelector" in peer:
        is_near = matches(peer["namespaceSelector"], {NAMESPACE: end.namespace})
    return is_near and matches(peer.get("podSelector"), end.labels)
