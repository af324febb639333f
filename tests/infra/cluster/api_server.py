"""A small Kubernetes API over HTTP, as much of it as `kubectl apply`, `wait` and `rollout status` ask for.

It keeps objects and refuses what a real one refuses; nothing runs. So a test says "applied to an API", never "ran on a cluster".
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.infra.cluster import api_merge
from tests.infra.cluster.api_kinds import Json, Kind, discovery
from tests.infra.cluster.api_rights import Asked, is_allowed
from tests.infra.cluster.api_store import Cluster, Refused
from tests.infra.manifests import matches

PATCHES = {
    "application/strategic-merge-patch+json": api_merge.strategic,
    "application/merge-patch+json": api_merge.json_merge,
}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the client to acknowledge the head before it
    cluster: Cluster
    account = ""  # namespace:name of who asks, at addresses below /as/…; without it one who may do everything

    def parse_request(self) -> bool:
        """Take who asks out of the address: kubectl sends no token where there is no TLS."""
        is_whole = super().parse_request()
        if is_whole and (found := re.fullmatch(r"/as/([^/]+)(/.*)", self.path)):
            self.account, self.path = found.groups()
        return is_whole

    def do_GET(self) -> None:
        """Discovery, one object, a list, or a watch that tells what is there and ends."""
        if self.path.startswith(
            "/openapi/v2"
        ):  # asked for kinds that are not there; an empty protobuf message knows none
            self._send(200, b"", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
        else:
            self._answer(self._get)

    def do_POST(self) -> None:
        """A new object."""
        self._answer(self._post, 201)

    def do_PATCH(self) -> None:
        """A merge of either kind, or server-side apply."""
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        """An object goes."""
        self._answer(self._delete)

    def _delete(self) -> Json:
        self._check("delete")
        return self.cluster.delete(*self._place())

    def _get(self) -> Json | list[Json]:
        path = urlsplit(self.path).path.rstrip("/")
        document = discovery(path, self.cluster.kinds, self.headers["Host"])
        if document is not None:
            return document
        kind, namespace, name = self._place()
        self._check("get" if name else "watch" if "watch" in self._query else "list")
        if name:
            return self.cluster.get(kind, namespace, name)
        found = [one for one in self.cluster.every(kind, namespace) if self._is_meant(one)]
        if "watch" in self._query:
            return [{"type": "ADDED", "object": one} for one in found]
        version = str(len(self.cluster.changes))
        return {
            "kind": f"{kind.name}List",
            "apiVersion": kind.group_version,
            "metadata": {"resourceVersion": version},
            "items": found,
        }

    def _post(self) -> Json:
        self._check("create")
        kind, namespace, _ = self._place()
        return self.cluster.create(kind, namespace, json.loads(self._body), self._manager)

    def _patch(self) -> Json:
        self._check("patch")
        kind, namespace, name = self._place()
        how = self.headers["Content-Type"]
        if how == "application/apply-patch+yaml":
            force = self._query.get("force") == "true"
            return self.cluster.apply(kind, namespace, name, yaml.safe_load(self._body), self._manager, force)
        patch = json.loads(self._body)
        return self.cluster.change(kind, namespace, name, lambda live: PATCHES[how](live, patch), self._manager)

    def _check(self, verb: str) -> None:
        """Refuse what the account has no right to."""
        if not self.account:
            return
        kind, namespace, name = self._place()
        part = urlsplit(self.path).path.rstrip("/").partition(f"/{kind.plural}/{name}/")[2]
        resource = f"{kind.plural}/{part}" if part else kind.plural
        if not is_allowed(self.cluster, self.account, Asked(verb, kind.group, resource, namespace, name)):
            who = f'User "system:serviceaccount:{self.account}" cannot {verb} resource "{resource}"'
            raise Refused(403, "Forbidden", f'{resource} is forbidden: {who} in API group "{kind.group}"')

    def _is_meant(self, thing: Json) -> bool:
        fields = dict(one.split("=", 1) for one in self._query.get("fieldSelector", "").split(",") if one)
        labels = dict(one.split("=", 1) for one in self._query.get("labelSelector", "").split(",") if one)
        name = fields.get("metadata.name", thing["metadata"]["name"])
        return name == thing["metadata"]["name"] and matches(
            {"matchLabels": labels}, thing["metadata"].get("labels", {})
        )

    def _place(self) -> tuple[Kind, str, str]:
        parts = urlsplit(self.path).path.strip("/").split("/")
        root, parts = parts[0], parts[1:]
        size = 1 if root == "api" else 2
        group_version, parts = "/".join(parts[:size]), parts[size:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        if not parts:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return self.cluster.kind(group_version, parts[0]), namespace, parts[1] if len(parts) > 1 else ""

    @property
    def _query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def _manager(self) -> str:
        return self._query.get("fieldManager", "somebody")

    @property
    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, work: Any, code: int = 200) -> None:
        try:
            body = work()
        except Refused as error:
            code = error.code
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": error.reason}
            body |= {"message": str(error), "code": code}
        documents = body if isinstance(body, list) else [body]
        text = "".join(json.dumps(one) + "\n" for one in documents).encode()
        self._send(code, text, "application/json")

    def _send(self, code: int, text: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """Serve an empty cluster; yield it and the kubeconfig that reaches it."""
    cluster = Cluster()
    cluster.create(
        cluster.kind("v1", "namespaces"), "", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default"}}
    )
    cluster.changes.clear()
    handler = type("Bound", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = folder / "kubeconfig"
    name = {"name": "minikube"}
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "minikube",
                "clusters": [name | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "contexts": [name | {"context": {"cluster": "minikube", "user": "minikube"}}],
                "users": [name | {"user": {}}],
            }
        )
    )
    try:
        yield cluster, config
    finally:
        server.shutdown()
        server.server_close()
