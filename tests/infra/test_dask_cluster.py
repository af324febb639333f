"""The Dask cluster of a cluster: there where somebody asks for it, as confined as all else, and without workers while idle."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.infra.manifest_checks import faults, schema_faults
from tests.infra.manifests import SYSTEMS, Object, containers, named, of_kind, pod, pod_labels, render, title
from tests.infra.rights.network import End, lets
from tests.infra.rights.test_limits import quota_and_need
from tests.infra.test_manifests import VERSIONS
from tests.infra.test_rendered import read, rendered_anew

WORKERS = 8
AIRFLOW = "quantstream-airflow"


def made(cluster: Object) -> list[Object]:
    """Return what the operator makes of a cluster with all its workers: as its controller (2026.3.0) puts them together."""
    name, space = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    found = list[Object]()
    for component, labels in (("scheduler", {}), ("worker", {"dask.org/workergroup-name": f"{name}-default"})):
        given = cluster["spec"][component]
        own = {"dask.org/cluster-name": name, "dask.org/component": component, "sidecar.istio.io/inject": "false"}
        labels = cluster["metadata"]["labels"] | given["metadata"]["labels"] | own | labels
        template = {"metadata": {"labels": labels}, "spec": given["spec"]}
        spec = {
            "replicas": WORKERS if component == "worker" else 1,
            "selector": {"matchLabels": labels},
            "template": template,
        }
        metadata = {"name": f"{name}-{component}", "namespace": space, "labels": labels}
        found.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    service = {"name": f"{name}-scheduler", "namespace": space, "labels": found[0]["metadata"]["labels"]}
    spec = cluster["spec"]["scheduler"]["service"]
    return [*found, {"apiVersion": "v1", "kind": "Service", "metadata": service, "spec": spec}]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Every object of a cluster's system that has a Dask cluster, with what the operator makes, and a task's pod."""
    folder = rendered_anew(tmp_path_factory.mktemp("dask"), f"DASK_WORKERS={WORKERS}")
    objects = [one for name in SYSTEMS["prod"] for file in sorted((folder / name).glob("*.yaml")) for one in read(file)]
    task = [one for one in render("prod") if one["kind"] == "Pod"]
    return [*objects, *task, *made(named(objects, "DaskCluster", "engine"))]


def test_without_being_asked_for_there_is_none() -> None:
    objects = render("prod")
    assert [title(one) for one in objects if one["kind"].startswith("Dask")] == []
    assert all("QUANTSTREAM_DASK" not in one.get("data", {}) for one in of_kind(objects, "ConfigMap"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_those_that_the_operator_makes_too(asked: list[Object], version: str) -> None:
    assert list(schema_faults(asked, version)) == []


def test_it_passes_the_checks_that_all_manifests_do(asked: list[Object]) -> None:
    assert faults(asked) == []


def test_a_worker_without_its_confinement_is_found(asked: list[Object]) -> None:
    bad = json.loads(json.dumps(asked))
    del pod(named(bad, "Deployment", "engine-worker"))["containers"][0]["securityContext"]["capabilities"]
    (fault,) = faults(bad)
    assert fault.startswith("Deployment engine-worker: worker is not confined")


def test_tasks_are_told_where_it_is_and_workers_have_what_tasks_have(asked: list[Object]) -> None:
    settings = named(asked, "ConfigMap", "tasks")["data"]
    assert settings["QUANTSTREAM_DASK"] == "tcp://engine-scheduler:8786"
    worker, task = (pod(one) for one in (named(asked, "Deployment", "engine-worker"), named(asked, "Pod", "task")))
    assert {one["image"] for one in containers(named(asked, "Deployment", "engine-scheduler"))} == {
        task["containers"][0]["image"]
    }
    assert worker["containers"][0]["image"] == task["containers"][0]["image"]
    assert worker["containers"][0]["envFrom"] == task["containers"][0]["envFrom"]
    assert [one for one in worker["volumes"] if one["name"] == "state"] == [
        one for one in task["volumes"] if one["name"] == "state"
    ]


def test_there_are_workers_only_while_there_is_work_and_the_quota_has_room_for_all(asked: list[Object]) -> None:
    assert named(asked, "DaskCluster", "engine")["spec"]["worker"]["replicas"] == 0
    scaler = named(asked, "DaskAutoscaler", "engine")["spec"]
    assert scaler == {"cluster": "engine", "minimum": 0, "maximum": WORKERS}
    hard, needed = quota_and_need(asked, AIRFLOW)
    assert {
        what: (needed[what], hard[what]) for what in hard if not needed[what] <= hard[what] <= 2 * needed[what]
    } == {}


def test_nobody_but_tasks_workers_and_the_operator_reaches_the_scheduler(asked: list[Object]) -> None:
    ends = {
        one["metadata"].get("name", ""): End(one["metadata"]["namespace"], pod_labels(one))
        for one in of_kind(asked, "Deployment", "StatefulSet", "Pod")
    }
    scheduler, worker = ends["engine-scheduler"], ends["engine-worker"]
    assert {name for name, end in ends.items() if lets(asked, end, scheduler, 8786)} == {"task", "engine-worker"}
    assert {name for name, end in ends.items() if lets(asked, end, worker, 8788)} == {
        "engine-scheduler",
        "engine-worker",
    }
    operator = End("dask-operator", {"app.kubernetes.io/name": "dask-kubernetes-operator"})
    assert [lets(asked, operator, scheduler, port) for port in (8786, 8787)] == [True, True]
    assert not lets(asked, operator, worker, 8788)
    outside = End("")
    assert [lets(asked, end, outside, 443) for end in (worker, scheduler)] == [True, False]
    assert [name for name, end in ends.items() if lets(asked, worker, end, 5432)] == []
    objects = End("quantstream", {"app.kubernetes.io/name": "objects"})
    assert [lets(asked, end, objects, 7070) for end in (worker, scheduler)] == [True, False]


@contextmanager
def _run(container: Object, ports: dict[str, str], **variables: str) -> Iterator[None]:
    """Run a container's command here, on other ports."""
    words = [ports.get(word, word).replace("$(DASK_WORKER_NAME)", "one") for word in container["args"]]
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    plain = {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}
    process = subprocess.Popen(command, env=os.environ | plain | variables, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _free_ports(count: int) -> list[int]:
    with closing(socket.socket()) as first, closing(socket.socket()) as second, closing(socket.socket()) as third:
        sockets = [first, second, third][:count]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.slow
def test_the_scheduler_tells_the_operator_how_many_workers_its_work_wants(asked: list[Object], tmp_path: Path) -> None:
    """By the manifest's own commands: none while idle, some as work waits, and the worker does it."""
    from quantstream import engine

    comm, page, own = _free_ports(3)
    (scheduler,), (worker,) = (
        containers(named(asked, "Deployment", f"engine-{one}")) for one in ("scheduler", "worker")
    )
    address = f"tcp://127.0.0.1:{comm}"

    def wanted() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/v1/adaptive_target", timeout=10) as answer:
            return json.load(answer)["workers"]

    with _run(scheduler, {"8786": str(comm), ":8787": f":{page}"}):
        _until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{page}/health", timeout=5).close() or True)
        assert wanted() == 0
        from distributed import Client

        with Client(address) as client:
            waiting = client.submit(sum, (1, 2))
            _until(lambda: wanted() == 1)
            del waiting
        local = {"8788": str(own), "/tmp/dask": str(tmp_path)}
        with _run(worker, local, DASK_SCHEDULER_ADDRESS=address):
            assert [result for _, result in engine.each(abs, [-3], address)] == [3]
    assert shutil.which("dask", path=str(Path(sys.executable).parent))


def _until(holds: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)
