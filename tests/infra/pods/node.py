"""A machine's podman as the node of a cluster would be used: pods with addresses of their own, probes asked from outside."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.infra.manifests import TEMPLATED, Object, of_kind, pod, space
from tests.infra.pods.images import build_stand_ins
from tests.infra.pods.manifest import Source, aliases, all_images, instance_name, manifest
from tests.infra.pods.podman import podman

PATIENCE = 300.0  # seconds, on a machine that does other things too
KUBERNETES_PORT = 6443


@dataclass
class Played:
    """A workload's pod that podman runs."""

    workload: Object
    pod_name: str
    address: str

    @property
    def name(self) -> str:
        """What the cluster would call it."""
        return instance_name(self.workload)

    def container(self, name: str = "") -> str:
        """Return what podman calls one of its containers, the first one if not said."""
        return f"{self.pod_name}-{name or pod(self.workload)['containers'][0]['name']}"

    def probe(self, which: str, name: str = "") -> bool:
        """Ask a container's probe once, with its own path and patience; a container without it is well."""
        found = next(one for one in pod(self.workload)["containers"] if name in ("", one["name"]))
        asked = found.get(which)
        if asked is None:
            return True
        patience = asked.get("timeoutSeconds", 1)
        if "exec" in asked:
            return self._does(asked["exec"]["command"], found["name"], patience)
        want = asked.get("httpGet") or asked["tcpSocket"]
        ports = {one["name"]: one["containerPort"] for one in found.get("ports", ())}
        port = ports.get(want["port"], want["port"])
        return _answers(self.address, port, want.get("path", ""), patience)

    def _does(self, command: Sequence[str], name: str, patience: float) -> bool:
        timed = ["timeout", str(patience), *command]
        with suppress(AssertionError):
            podman("exec", self.container(name), *timed, timeout=patience + 60)
            return True
        return False

    def until(self, which: str, is_well: bool = True, seconds: float = PATIENCE) -> float:
        """Wait until every container's probe says so; return how long that took."""
        began = time.monotonic()
        for name in (one["name"] for one in pod(self.workload)["containers"]):
            while self.probe(which, name) is not is_well:
                waited = time.monotonic() - began
                told = f"{self.name}/{name}: {which} is not {is_well} after {seconds:g} s"
                assert waited < seconds, f"{told}\n{self.log(name)[-3000:]}"
                time.sleep(0.5)
        return time.monotonic() - began

    def until_done(self, seconds: float = PATIENCE) -> dict[str, int]:
        """Wait until all its containers have ended; return their exit codes."""
        ends = {}
        for name in (one["name"] for one in pod(self.workload)["containers"]):
            ends[name] = int(podman("wait", self.container(name), timeout=seconds))
        return ends

    def inspect(self, fields: str, name: str = "") -> str:
        """Return a field of a container's state."""
        return podman("inspect", "--format", f"{{{{.{fields}}}}}", self.container(name))

    def signal(self, number: signal.Signals, name: str = "") -> None:
        """Send a signal to the program itself, not to its init."""
        init = int(self.inspect("State.Pid", name))
        for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
            os.kill(int(child), number)

    def log(self, name: str = "") -> str:
        """Return what a container printed."""
        return podman("logs", self.container(name), check=False, has_errors=True)

    def remove(self, seconds: int = 5) -> None:
        """Take the pod away."""
        podman("pod", "rm", "--force", "--time", str(seconds), self.pod_name, check=False)


def _answers(address: str, port: int, path: str, patience: float) -> bool:
    try:
        if not path:
            socket.create_connection((address, port), timeout=patience).close()
            return True
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=patience) as answer:
            return 200 <= answer.status < 400
    except OSError:
        return False


@dataclass
class Node:
    """Where the pods of some objects run."""

    objects: Sequence[Object]
    folder: Path
    network: str
    subnet: str  # its first three numbers
    source: Source
    addresses: dict[tuple[str, str], str] = field(default_factory=dict)
    played: dict[str, Played] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def gateway(self) -> str:
        """Where pods reach this machine."""
        return f"{self.subnet}.1"

    def play(self, workload: Object, seconds: float = PATIENCE, as_name: str = "") -> Played:
        """Run a workload's pod, its init containers to their end first; with another name beside the first of it.

        Raises: AssertionError with the log of an init container that failed.
        """
        name = as_name or instance_name(workload)
        key = (space(workload), name if as_name else workload["metadata"].get("name", name))
        with self.lock:
            address = self.addresses.setdefault(key, f"{self.subnet}.{len(self.addresses) + 10}")
        pod_name = f"{self.network}-{name}"
        body = manifest(workload, pod_name, self.source, aliases(self.objects, self.addresses, space(workload)))
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(body, width=10_000))
        one = self.played[name] = Played(workload, pod_name, address)
        try:
            podman("play", "kube", "--network", self.network, "--ip", address, str(file), timeout=seconds)
        except AssertionError as error:
            inits = [init["name"] for init in pod(workload).get("initContainers", ())]
            told = "".join(f"\n{init}: {one.log(init)[-1500:]}" for init in inits)
            raise AssertionError(f"{name}: {error}{told}") from None
        return one

    def reserve(self, workloads: Sequence[Object]) -> None:
        """Give workloads their addresses before any runs, so that each finds the others."""
        for number, one in enumerate(workloads):
            self.addresses[space(one), one["metadata"]["name"]] = f"{self.subnet}.{number + 10}"

    def remove(self, name: str, seconds: int = 5) -> None:
        """Take a pod away."""
        self.played.pop(name).remove(seconds)


@contextmanager
def node(objects: Sequence[Object], folder: Path) -> Iterator[Node]:
    """A network of its own and nothing on it; what runs there at the end is taken away."""
    number = os.getpid() % 200 + 20
    network, subnet = f"qs{os.getpid()}", f"10.89.{number}"
    podman("network", "create", "--disable-dns", "--subnet", f"{subnet}.0/24", network)
    stand_ins = build_stand_ins(all_images(objects, TEMPLATED))
    for named_image, image in stand_ins.items():
        print(f"{image} stands in for {named_image}")
    source = Source(objects, folder, stand_ins, (f"{subnet}.1", KUBERNETES_PORT))
    made = Node(objects, folder, network, subnet, source)
    made.reserve(of_kind(objects, "Deployment", "StatefulSet"))
    try:
        yield made
    finally:
        for one in list(made.played.values()):
            one.remove()
        podman("network", "rm", "--force", network, check=False)
