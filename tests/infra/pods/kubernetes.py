"""A Kubernetes API that pods on the node's network reach, and a kubelet: pods made over it are run by podman.

It is the small API of the tests' cluster behind TLS, with service accounts' tokens, their rights and a watch that goes on. So
Airflow's own KubernetesExecutor makes its tasks' pods here as it does in a cluster, and what it made is what runs.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.infra.cluster.api_server import Handler
from tests.infra.cluster.api_store import Cluster, Refused
from tests.infra.manifests import Object, of_kind, space
from tests.infra.pods.manifest import AUTHORITY
from tests.infra.pods.node import KUBERNETES_PORT, Node

Json = dict[str, Any]
RIGHTS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount")
TICK = 0.2  # seconds between two looks at what changed


class PodsHandler(Handler):
    """One request of a pod: who asks is said by the token, and a watch tells what changes until its time is over."""

    def parse_request(self) -> bool:
        """Take who asks from the token, as Kubernetes does."""
        is_whole = super().parse_request()
        if is_whole:
            self.account = self.headers.get("Authorization", "").partition(" ")[2]
        return is_whole

    def do_GET(self) -> None:
        """Everything as the small API has it, but a watch that goes on."""
        if self._query.get("watch", "").lower() != "true":
            super().do_GET()
            return
        try:
            kind, namespace, _ = self._place()
            self._check("watch")
        except Refused:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")  # or a client waits for the end before it reads
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        deadline = time.monotonic() + float(self._query.get("timeoutSeconds", "3600"))
        seen: dict[str, Json] = {}
        try:
            while time.monotonic() < deadline:
                there = {
                    one["metadata"]["name"]: one for one in self.cluster.every(kind, namespace) if self._is_meant(one)
                }
                for event in _changes(seen, there):
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                seen = there
                time.sleep(TICK)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            return  # who watched has gone

    def do_DELETE(self) -> None:
        """An object goes; options that came along are read, or they would be taken for the next request."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        super().do_DELETE()

    def _is_meant(self, thing: Json) -> bool:
        labels = thing["metadata"].get("labels", {})
        for part in filter(None, self._query.get("labelSelector", "").split(",")):
            key, _, value = part.partition("=")
            is_not = key.endswith("!")
            if (labels.get(key.rstrip("!")) == value) is is_not:
                return False
        return True


def _changes(before: dict[str, Json], after: dict[str, Json]) -> Iterator[Json]:
    for name, one in after.items():
        if name not in before:
            yield {"type": "ADDED", "object": one}
        elif before[name]["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]:
            yield {"type": "MODIFIED", "object": one}
    for name in before.keys() - after.keys():
        yield {"type": "DELETED", "object": before[name]}


class Kubelet(threading.Thread):
    """Runs the pods that were made over the API, says how they are, and takes away those that were deleted."""

    def __init__(self, cluster: Cluster, node: Node, namespace: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.node, self.namespace = cluster, node, namespace
        self.kind = cluster.kind("v1", "pods")
        self.is_over = threading.Event()
        self.made: dict[str, Object] = {}  # every pod that there was, as it was made
        self.logs: dict[str, str] = {}

    def run(self) -> None:
        """Look again and again."""
        running: dict[str, threading.Thread] = {}
        while not self.is_over.is_set():
            there = {one["metadata"]["name"]: one for one in self.cluster.every(self.kind, self.namespace)}
            for name, pod in there.items():
                if name not in running:
                    self.made[name] = pod
                    running[name] = threading.Thread(target=self._live, args=(name, pod), daemon=True)
                    running[name].start()
            for name in running.keys() - there.keys():
                if name in self.node.played:
                    self.node.remove(name, seconds=60)
            time.sleep(TICK)

    def _live(self, name: str, pod: Object) -> None:
        self._say(name, "Pending", {})
        try:
            one = self.node.play(pod, as_name=name)
            self._say(name, "Running", {"running": {"startedAt": _now()}})
            (code,) = one.until_done(seconds=3600).values()
            self.logs[name] = one.log()
        except AssertionError as error:  # podman refused it, or it was deleted while it ran
            self.logs[name] = str(error)
            code = 128
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": _now()}
        self._say(name, "Failed" if code else "Succeeded", {"terminated": ended})

    def _say(self, name: str, phase: str, state: Json) -> None:
        status: Json = {"phase": phase}
        if state:
            status["containerStatuses"] = [
                {
                    "name": "base",
                    "state": state,
                    "ready": phase == "Running",
                    "restartCount": 0,
                    "image": "",
                    "imageID": "",
                }
            ]
        self.cluster.report(self.kind, self.namespace, name, status)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def kubernetes(node: Node, namespace: str) -> Iterator[Kubelet]:
    """Serve the API on the node's network with the objects' rights in it; run what is made in a namespace."""
    cluster = Cluster()
    for kind in ("Namespace", *RIGHTS):
        for one in of_kind(node.objects, kind):
            _make(cluster, one)
    certificate, key = _certificate(node.gateway)
    shown, kept = node.folder / AUTHORITY, node.folder / "kubernetes.key"
    shown.write_bytes(certificate)
    kept.write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, kept)
    server = ThreadingHTTPServer((node.gateway, KUBERNETES_PORT), type("Bound", (PodsHandler,), {"cluster": cluster}))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubelet = Kubelet(cluster, node, namespace)
    kubelet.start()
    try:
        yield kubelet
    finally:
        kubelet.is_over.set()
        kubelet.join(120)
        server.shutdown()
        server.server_close()


def _make(cluster: Cluster, thing: Object) -> None:
    (kind,) = [one for one in cluster.kinds if one.name == thing["kind"]]
    cluster.create(kind, space(thing), thing)


def _certificate(address: str) -> tuple[bytes, bytes]:
    """Return a certificate for an address that is its own authority, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(pem), private
