"""The local overlay's pods, really run from the built images: they pass their probes, heal after a kill, and stop in time.

`make pods` builds the images and runs this; a plain test run says that it did not.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest
from deltalake import DeltaTable

from infra.embedded import broker as local_broker
from quantstream.kafka import OFFSET_BEGINNING, Reader
from quantstream.messages.topics import CANDLES
from quantstream.settings import Kafka
from tests.infra.manifests import pod
from tests.infra.podman import Played, overlay, podman

NAMES = ["exchange", "ingest", "aggregate", "sink", "dashboard"]
IMAGES = ("localhost/quantstream/streaming:0.1.0", "localhost/quantstream/dashboard:0.1.0")
pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(1200)]


def whats_missing() -> str:
    """Say why pods cannot be run here, or nothing."""
    if not os.environ.get("QUANTSTREAM_PODS"):
        return "PODS NOT RUN: `make pods` builds the images and runs the local overlay's pods from them"
    tools = [tool for tool in ("podman", "runc") if shutil.which(tool) is None]
    if tools:
        return f"PODS NOT RUN: {', '.join(tools)} not found on this machine"
    absent = [image for image in IMAGES if not exists(image)]
    return f"PODS NOT RUN: no image {', '.join(absent)}; `make images` builds them" if absent else ""


def exists(image: str) -> bool:
    """Say whether an image is here."""
    return bool(podman("images", "--quiet", image, check=False))


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """The pods, all of them up, beside a broker on this machine."""
    if why := whats_missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("pods")
    lake = folder / "lake"
    lake.mkdir()
    os.chown(lake, 10001, 10001)  # who the images run as
    for parent in [folder, *folder.parents][:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    port = local_broker.free_port()
    with local_broker.running(folder, port):
        played = overlay(NAMES, f"127.0.0.1:{port}", lake)
        try:
            for one in played.values():
                one.play(folder)
                print(f"{one.name}: started after {one.until('startupProbe'):.1f} s")
            yield played
        finally:
            for one in played.values():
                one.remove()


def candles(one: Played, at_least: int, seconds: float = 240) -> int:
    """Wait until the topic holds so many candles; return how many there are."""
    reader = Reader(Kafka(bootstrap=one.settings["QUANTSTREAM_KAFKA__BOOTSTRAP"]))
    reader.assign({(CANDLES.name, partition): OFFSET_BEGINNING for partition in range(CANDLES.partitions)})
    count, deadline = 0, time.monotonic() + seconds
    try:
        while count < at_least:
            count += len(reader.poll(0.5))
            assert time.monotonic() < deadline, f"{count} candles, not {at_least}, after {seconds:g} s"
    finally:
        reader.close()
    return count


def test_pods_pass_their_probes_and_candles_flow(pods: dict[str, Played]) -> None:
    for one in pods.values():
        one.until("readinessProbe")
        assert one.probe("livenessProbe")
    assert candles(pods["aggregate"], 4) >= 4
    deadline = time.monotonic() + 120
    while not DeltaTable.is_deltatable(str(pods["sink"].lake / "candles")):
        assert time.monotonic() < deadline, "the sink has written no candle"
        time.sleep(1)


@pytest.mark.parametrize("name", NAMES)
def test_pods_are_confined_as_the_manifests_say(pods: dict[str, Played], name: str) -> None:
    one = pods[name]
    assert one.inspect("Config.User") == "10001:10001"
    assert one.inspect("HostConfig.ReadonlyRootfs") == "true"
    assert one.inspect("EffectiveCaps") == "[]"
    assert "no-new-privileges" in one.inspect("HostConfig.SecurityOpt")
    assert podman("exec", one.container, "sh", "-c", "touch /app/x 2>&1 || true").endswith("Read-only file system")
    assert podman("exec", one.container, "cat", "/proc/1/comm") == "dumb-init"


def test_a_killed_stage_is_back_and_goes_on(pods: dict[str, Played]) -> None:
    one = pods["aggregate"]
    before = candles(one, 1)
    one.signal(signal.SIGKILL)
    one.until("livenessProbe", is_well=False, seconds=30)
    back = one.until("readinessProbe")
    print(f"aggregate: ready {back:.1f} s after it was killed")
    assert one.inspect("RestartCount") != "0"
    assert candles(one, before + 4) > before


def test_a_stage_that_hangs_fails_its_liveness_and_a_new_one_goes_on(pods: dict[str, Played]) -> None:
    one = pods["sink"]
    one.signal(signal.SIGSTOP)
    tries = pod(one.workload)["containers"][0]["livenessProbe"]["failureThreshold"]
    assert [one.probe("livenessProbe") for _ in range(tries)] == [False] * tries
    one.signal(signal.SIGKILL)  # what the node does next
    print(f"sink: ready {one.until('readinessProbe'):.1f} s after it was taken away")


@pytest.mark.parametrize("name", ["ingest", "aggregate", "sink", "dashboard"])
def test_a_stage_stops_on_sigterm_within_its_grace(pods: dict[str, Played], name: str) -> None:
    one = pods[name]
    grace = pod(one.workload)["terminationGracePeriodSeconds"]
    began = time.monotonic()
    podman("stop", "--time", str(grace), one.container)
    took = time.monotonic() - began
    print(f"{name}: stopped in {took:.1f} s of {grace}")
    assert took < grace
    assert one.inspect("State.ExitCode") in ("0", "143")  # by itself, or by the signal; 137 would be killed
    assert name == "dashboard" or '"message": "stopped"' in one.log() or '"stopped"' in one.log()
