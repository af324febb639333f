"""Plays pods of the local overlay on this machine with podman, and asks their probes as a node's kubelet would."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.embedded.free_ports import free_ports
from infra.embedded.state import PROJECT
from tests.infra.manifests import Object, named, of_kind, pod, render

CONF = PROJECT / "infra" / "docker" / "containers.conf"


def podman(*arguments: str, timeout: float = 120, check: bool = True) -> str:
    """Run podman as machines without systemd need it; return what it prints."""
    environment = os.environ | {"CONTAINERS_CONF": str(CONF)}
    done = subprocess.run(
        ["podman", *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or done.returncode == 0, f"podman {arguments[0]}: {done.stderr.strip()[-600:]}"
    return done.stdout.strip()


@dataclass
class Played:
    """One workload of the overlay as a pod on this machine's network."""

    name: str
    port: int
    workload: Object
    settings: Mapping[str, str]
    lake: Path

    @property
    def container(self) -> str:
        """What podman calls its container."""
        return f"{self.pod_name}-{pod(self.workload)['containers'][0]['name']}"

    @property
    def pod_name(self) -> str:
        """What podman calls it; apart from other runs on this machine."""
        return f"qs{os.getpid()}-{self.name}"

    @property
    def manifest(self) -> str:
        """The pod with addresses of this machine; probes, confinement, resources and grace are the overlay's own."""
        spec = copy.deepcopy(pod(self.workload))
        (container,) = spec["containers"]
        container.pop("envFrom", None)
        instance = {
            "QUANTSTREAM_HTTP_PORT": str(self.port),
            "QUANTSTREAM_HTTP_HOST": "0.0.0.0",
            "QUANTSTREAM_INSTANCE": self.name,
        }
        container["env"] = [{"name": key, "value": value} for key, value in {**self.settings, **instance}.items()]
        for key in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(key)  # asked from here: podman needs systemd for it, and a curl in the image
        container.pop("ports", None)
        container["args"] = [one.replace("9400", str(self.port)) for one in container.get("args", ())]
        container["volumeMounts"].append({"name": "lake", "mountPath": "/lake"})
        volumes = [{"name": one["name"], "emptyDir": {}} for one in spec["volumes"]]
        lake = {"name": "lake", "hostPath": {"path": str(self.lake), "type": "Directory"}}
        kept = {key: spec[key] for key in ("terminationGracePeriodSeconds", "securityContext", "enableServiceLinks")}
        body = {
            **kept,
            "hostNetwork": True,
            "restartPolicy": "Always",
            "containers": [container],
            "volumes": [*volumes, lake],
        }
        if self.name == "dashboard":
            container["args"] = dashboard_command(self.port)
        labels = self.workload["spec"]["template"]["metadata"]["labels"]
        metadata = {"name": self.pod_name, "labels": labels}
        return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})

    def play(self, folder: Path) -> None:
        """Start it."""
        file = folder / f"{self.name}.yaml"
        file.write_text(self.manifest)
        podman("play", "kube", "--network", "host", str(file), timeout=300)

    def probe(self, which: str) -> bool:
        """Ask one of the workload's probes once, with its own path and patience."""
        asked = pod(self.workload)["containers"][0][which]
        url = f"http://127.0.0.1:{self.port}{asked['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=asked["timeoutSeconds"]) as answer:
                return 200 <= answer.status < 400
        except OSError:
            return False

    def until(self, which: str, is_well: bool = True, seconds: float = 240) -> float:
        """Wait until a probe says so; return how long that took."""
        began = time.monotonic()
        while self.probe(which) is not is_well:
            waited = time.monotonic() - began
            assert waited < seconds, f"{self.name}: {which} is not {is_well} after {seconds:g} s\n{self.log()[-2000:]}"
            time.sleep(0.5)
        return time.monotonic() - began

    def inspect(self, field: str) -> str:
        """Return a field of the container's state."""
        return podman("inspect", "--format", f"{{{{.{field}}}}}", self.container)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program itself, not to its init."""
        init = int(self.inspect("State.Pid"))
        for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
            os.kill(int(child), number)

    def log(self) -> str:
        """Return what it printed."""
        environment = os.environ | {"CONTAINERS_CONF": str(CONF)}
        done = subprocess.run(
            ["podman", "logs", self.container], env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def remove(self) -> None:
        """Take the pod away."""
        podman("pod", "rm", "--force", "--time", "5", self.pod_name, check=False)


def dashboard_command(port: int) -> list[str]:
    """Return the image's own command on another port."""
    return [
        *("streamlit", "run", "dashboard/app.py", "--server.address=127.0.0.1", f"--server.port={port}"),
        *("--server.headless=true", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"),
    ]


def overlay(names: list[str], bootstrap: str, lake: Path) -> dict[str, Played]:
    """Return workloads of the local overlay as pods that reach each other, and a broker, on this machine."""
    objects = render("local")
    (source,) = pod(named(objects, "StatefulSet", "aggregate"))["containers"][0]["envFrom"]
    config = named(objects, "ConfigMap", source["configMapRef"]["name"])
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    here = {
        "QUANTSTREAM_KAFKA__BOOTSTRAP": bootstrap,
        "QUANTSTREAM_ENDPOINTS__WS": f"ws://127.0.0.1:{ports['exchange']}",
        "QUANTSTREAM_ENDPOINTS__REST": f"http://127.0.0.1:{ports['exchange']}",
        "QUANTSTREAM_LAKE": "/lake",
        "QUANTSTREAM_STAGES": ",".join(f"{name}=http://127.0.0.1:{ports[name]}" for name in names if name in STAGED),
    }
    settings = {key: value for key, value in (config["data"] | here).items() if key.startswith("QUANTSTREAM_")}
    workloads = {one["metadata"]["name"]: one for one in of_kind(objects, "Deployment", "StatefulSet")}
    return {name: Played(name, ports[name], workloads[name], settings, lake) for name in names}


STAGED = ("ingest", "aggregate", "sink")
