"""The objects of the tests' cluster, and the controllers that such a cluster has: what is asked for is there at once."""

from __future__ import annotations

import copy
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.infra.cluster import api_admission, api_merge
from tests.infra.cluster.api_kinds import BUILT_IN, Kind, of_definition

Json = dict[str, Any]
Key = tuple[str, str, str, str]  # group, plural, namespace, name
ENFORCE = "pod-security.kubernetes.io/enforce"
CLIENT = "kubectl-client-side-apply"
OPERATORS_SECRETS: dict[
    str, Callable[[str], tuple[str, str]]
] = {  # what Strimzi makes of each: the secret's name, its key
    "Kafka": lambda name: (f"{name}-cluster-ca-cert", "ca.crt"),
    "KafkaUser": lambda name: (name, "password"),
}


class Refused(Exception):
    """What a client is told with a status other than 2xx."""

    def __init__(self, code: int, reason: str, text: str) -> None:
        """`reason` is the API's own word, e.g. NotFound."""
        super().__init__(text)
        self.code, self.reason = code, reason


@dataclass
class Cluster:
    """Everything that was made, and who owns which field of it. `changes` names every write that changed something."""

    objects: dict[Key, Json] = field(default_factory=dict)
    owners: dict[Key, dict[str, set[api_merge.Path]]] = field(default_factory=dict)
    kinds: list[Kind] = field(default_factory=lambda: list(BUILT_IN))
    changes: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 0

    def kind(self, group_version: str, plural: str) -> Kind:
        """Return the kind at a path."""
        found = [one for one in self.kinds if (one.group_version, one.plural) == (group_version, plural)]
        if not found:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return found[0]

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return one object."""
        try:
            return self.objects[self._key(kind, namespace, name)]
        except KeyError:
            raise Refused(404, "NotFound", f'{kind.plural} "{name}" not found') from None

    def every(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return all objects of a kind, of one namespace or of all."""
        return [
            one
            for key, one in self.objects.items()
            if key[:2] == (kind.group, kind.plural) and namespace in ("", key[2])
        ]

    def create(self, kind: Kind, namespace: str, sent: Json, manager: str = CLIENT) -> Json:
        """Keep a new object."""
        with self.lock:
            name = sent["metadata"].get("name") or f"{sent['metadata']['generateName']}{self._version:05d}"
            key = self._key(kind, namespace, name)
            if key in self.objects:
                raise Refused(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
            if kind.is_namespaced and ("", "namespaces", "", namespace) not in self.objects:
                raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
            sent = copy.deepcopy(sent)
            sent["metadata"]["name"] = name
            if kind.is_namespaced:
                sent["metadata"]["namespace"] = namespace
            kept = self._keep(kind, key, sent, None)
            self.owners[key] = {manager: {path for path, _ in api_merge.leaves(sent)}}
            if kind.name in OPERATORS_SECRETS:
                self._make_secret(namespace, *OPERATORS_SECRETS[kind.name](name))
            return kept

    def _make_secret(self, namespace: str, name: str, key: str) -> None:
        data = {key: b64encode(f"of {name}".encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        self.create(self.kind("v1", "secrets"), namespace, secret, "strimzi")

    def change(self, kind: Kind, namespace: str, name: str, how: Callable[[Json], Json], manager: str = CLIENT) -> Json:
        """Put what `how` makes of an object in its place; who changes a field owns it."""
        with self.lock:
            before = self.get(kind, namespace, name)
            key = self._key(kind, namespace, name)
            after = self._keep(kind, key, how(copy.deepcopy(before)), before)
            old, new = dict(api_merge.leaves(before)), dict(api_merge.leaves(after))
            taken = {path for path, value in new.items() if old.get(path) != value}
            self.owners[key].setdefault(manager, set()).update(taken)
            return after

    def apply(self, kind: Kind, namespace: str, name: str, sent: Json, manager: str, force: bool) -> Json:
        """Server-side apply: what this manager said before and does not say now goes, what others own is not overwritten."""
        with self.lock:
            key = self._key(kind, namespace, name)
            if key not in self.objects:
                return self.create(kind, namespace, sent, manager)
            live, owners = self.objects[key], self.owners[key]
            output = {path: value for path, value in api_merge.leaves(sent) if path[0] in ("metadata", "spec", "data")}
            for other, paths in owners.items():
                odd = [path for path in output if path in paths and api_merge.found(live, path) != output[path]]
                if other != manager and odd and not force:
                    told = ", ".join(".".join(path) for path in odd)
                    raise Refused(409, "Conflict", f'conflict with "{other}": {told}')
            kept_by_others = set().union(*(paths for other, paths in owners.items() if other != manager))
            gone = owners.get(manager, set()) - set(output) - kept_by_others
            gone = {path for path in gone if path[0] in ("metadata", "spec", "data")}
            after = self._keep(kind, key, api_merge.strategic(api_merge.without(live, gone), sent), live)
            owners[manager] = set(output)
            return after

    def delete(self, kind: Kind, namespace: str, name: str) -> Json:
        """Take an object away."""
        with self.lock:
            self.get(kind, namespace, name)
            self.changes.append(f"delete {kind.name} {name}")
            return self.objects.pop(self._key(kind, namespace, name))

    def report(self, kind: Kind, namespace: str, name: str, status: Json) -> None:
        """Do what a node does: say how an object is."""
        with self.lock:
            key = self._key(kind, namespace, name)
            if key in self.objects:  # a pod may have gone meanwhile
                self._version += 1
                live = self.objects[key]
                metadata = live["metadata"] | {"resourceVersion": str(self._version)}
                self.objects[key] = live | {"metadata": metadata, "status": status}

    def scale(self, kind: str, name: str, replicas: int, namespace: str = "quantstream") -> None:
        """Do what an autoscaler does."""
        (found,) = [one for one in self.kinds if one.name == kind]
        self.change(
            found,
            namespace,
            name,
            lambda one: api_merge.json_merge(one, {"spec": {"replicas": replicas}}),
            "autoscaler",
        )

    def _keep(self, kind: Kind, key: Key, sent: Json, before: Json | None) -> Json:
        kept = api_admission.defaulted(sent)
        space = self.objects.get(("", "namespaces", "", key[2]), {"metadata": {}})
        is_restricted = space["metadata"].get("labels", {}).get(ENFORCE) == "restricted"
        if wrong := api_admission.faults(_plain(kept), is_restricted):
            raise Refused(400, "BadRequest", "; ".join(wrong))
        if before and (wrong := api_admission.fixed_fields(before, kept)):
            raise Refused(422, "Invalid", "; ".join(wrong))
        if before and _plain(before) == _plain(kept):
            return before
        self._version += 1
        self.changes.append(f"{'change' if before else 'create'} {kind.name} {key[3]}")
        own = kept["metadata"]
        generation = own.get("generation", 0) + 1
        own |= {"uid": own.get("uid", f"uid-{self._version}"), "resourceVersion": str(self._version)}
        own |= {"generation": generation, "creationTimestamp": own.get("creationTimestamp", "2026-01-01T00:00:00Z")}
        if status := self._status(kind, kept):
            kept["status"] = status
        self.objects[key] = kept
        if kind.name == "CustomResourceDefinition":
            self.kinds += [one for one in of_definition(kept) if one not in self.kinds]
        return kept

    def _status(self, kind: Kind, thing: Json) -> Json:
        """What the cluster's controllers and operators would report once all went well."""
        seen = {"observedGeneration": thing["metadata"]["generation"]}
        ready = [{"type": "Ready", "status": "True"}, {"type": "Available", "status": "True"}]
        if kind.name in ("Deployment", "StatefulSet"):
            count = thing["spec"]["replicas"]
            numbers = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
            revision = {"currentRevision": "one", "updateRevision": "one"} if kind.name == "StatefulSet" else {}
            return seen | numbers | revision | {"conditions": ready}
        return seen | {"conditions": ready} if kind not in BUILT_IN else {}

    def _key(self, kind: Kind, namespace: str, name: str) -> Key:
        return kind.group, kind.plural, namespace if kind.is_namespaced else "", name


SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


def _plain(thing: Json) -> Json:
    """What somebody asked for, without what the server says of it."""
    own = {key: value for key, value in thing["metadata"].items() if key not in SERVERS_OWN}
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": own}
