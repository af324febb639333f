"""The whole local overlay, run by podman once for all tests here; `make pods` builds the images and runs them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from infra.embedded.airflow.api import AirflowApi
from tests.infra.manifests import Object, named, render
from tests.infra.pods.images import OURS, exists
from tests.infra.pods.kubernetes import Kubelet, kubernetes
from tests.infra.pods.manifest import Source
from tests.infra.pods.node import Node, Played, node

FIRST = ("kafka", "objects", "postgres")
BESIDE_EACH_OTHER = (  # each in turn; a kubelet would start init containers that fail again, podman does not
    ("mlflow", "detect", "score"),
    ("exchange", "ingest", "aggregate", "sink", "dashboard"),
    ("airflow", "airflow-scheduler", "airflow-dag-processor"),
)
WORKLOADS = tuple(name for names in (FIRST, *BESIDE_EACH_OTHER) for name in names)
TOOLS = ("podman", "runc", "catatonit", "iptables")
START_SECONDS = 900.0


def whats_missing() -> str:
    """Say why pods cannot be run here, or nothing."""
    if not os.environ.get("QUANTSTREAM_PODS"):
        return "PODS NOT RUN: `make pods` builds the images and runs the local overlay's pods from them"
    tools = [
        tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/usr/libexec/podman") is None
    ]
    if tools:
        return f"PODS NOT RUN: {', '.join(tools)} not found on this machine; infra/docker/tools.sh installs them"
    absent = [image for image in OURS if not exists(image)]
    return f"PODS NOT RUN: no image {', '.join(absent)}; `make images` builds them" if absent else ""


@dataclass
class System:
    """The overlay's pods and how their start went."""

    node: Node
    faults: dict[str, str] = field(default_factory=dict)
    kubelet: Kubelet = field(init=False)  # runs what Airflow makes

    def pod(self, name: str) -> Played:
        """Return the pod of a workload, which must have started well."""
        assert name not in self.faults, self.faults[name]
        workload = self.workload(name)
        return self.node.played[f"{name}-0" if workload["kind"] == "StatefulSet" else name]

    def workload(self, name: str) -> Object:
        """Return a workload by its name, or by what its name is made of."""
        for one in self.node.objects:
            own = one["metadata"]
            if one["kind"] in ("Deployment", "StatefulSet", "CronJob", "Job") and name in (
                own.get("name"),
                own.get("generateName"),
            ):
                return one
        raise LookupError(name)

    @property
    def workload_of_tasks(self) -> Object:
        """Return the pod that Airflow's template describes."""
        return named(self.node.objects, "Pod", "task")

    def start(self, names: Sequence[str]) -> None:
        """Start workloads in turn and wait for each; what goes wrong is kept for the test that asks for it."""
        for name in names:
            try:
                self.begin(name)
            except AssertionError as error:
                self.faults[name] = str(error)
                print(f"{name}: {error}")

    def begin(self, name: str) -> Played:
        """Start a workload and wait until it is ready."""
        began = time.monotonic()
        one = self.node.play(self.workload(name), seconds=START_SECONDS)
        played = time.monotonic() - began
        started = one.until("startupProbe", seconds=START_SECONDS) + one.until("readinessProbe", seconds=START_SECONDS)
        print(f"{name}: played in {played:.1f} s, ready {started:.1f} s later", flush=True)
        return one

    @property
    def airflow(self) -> AirflowApi:
        """Airflow's API, as its administrator."""
        source: Source = self.node.source
        data = source.data("Secret", "quantstream-airflow", "airflow-admin")
        assert data is not None
        return AirflowApi(f"http://{self.pod('airflow').address}:8080", data["password"].decode(), timeout=120)


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything that the two commands apply, as pods beside each other."""
    if why := whats_missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("pods")
    with node(render("local-replay"), folder) as made:
        found = System(made)
        found.start(FIRST)  # the network's own address is there with the first pod
        with kubernetes(made, "quantstream-airflow") as kubelet:
            found.kubelet = kubelet
            with ThreadPoolExecutor(len(BESIDE_EACH_OTHER)) as pool:
                list(pool.map(found.start, BESIDE_EACH_OTHER))
            yield found
