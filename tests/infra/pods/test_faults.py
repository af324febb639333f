"""What goes wrong with pods, really: a process that is killed, one that hangs, an image that is no good, a stop."""

from __future__ import annotations

import copy
import signal
import time

import pytest

from tests.infra.manifests import Object, pod
from tests.infra.pods.conftest import System
from tests.infra.pods.flow import records
from tests.infra.pods.node import Played
from tests.infra.pods.podman import podman

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(2400)]
STAGES = ("ingest", "aggregate", "detect", "sink", "score")


@pytest.mark.parametrize("name", STAGES)
def test_a_killed_stage_is_back_and_goes_on(system: System, name: str) -> None:
    one = system.pod(name)
    restarts = int(one.inspect("RestartCount"))
    one.signal(signal.SIGKILL)
    one.until("livenessProbe", is_well=False, seconds=30)
    print(f"{name}: ready {one.until('readinessProbe'):.1f} s after it was killed")
    assert int(one.inspect("RestartCount")) > restarts


def test_candles_go_on_after_the_kills(system: System) -> None:
    before = records(system, "market.candles.v1")
    records(system, "market.candles.v1", more_than=before)


def test_a_stage_that_hangs_fails_its_liveness_and_the_one_that_is_started_goes_on(system: System) -> None:
    one = system.pod("sink")
    one.signal(signal.SIGSTOP)
    tries = pod(one.workload)["containers"][0]["livenessProbe"]["failureThreshold"]
    assert [one.probe("livenessProbe") for _ in range(tries)] == [False] * tries
    one.signal(signal.SIGKILL)  # what a kubelet does then
    print(f"sink: ready {one.until('readinessProbe'):.1f} s after it was taken away")


def with_image(workload: Object, image: str, command: list[str] | None = None) -> Object:
    """Return a workload's next version with another image."""
    changed = copy.deepcopy(workload)
    container = pod(changed)["containers"][0]
    container["image"] = image
    if command:
        container["args"] = command
    return changed


def test_an_image_that_nobody_has_is_refused_and_the_old_one_is_put_back(system: System) -> None:
    workload = system.workload("aggregate")
    system.pod("aggregate").remove(30)
    with pytest.raises(AssertionError, match=r"no such image|not known|unable to find"):
        system.node.play(with_image(workload, "localhost/quantstream/streaming:no-such"))
    system.pod("aggregate").remove()
    before = records(system, "market.candles.v1")
    system.begin("aggregate")
    records(system, "market.candles.v1", more_than=before)


def test_a_new_image_that_never_gets_ready_leaves_the_old_page_in_service(system: System) -> None:
    """As a Deployment rolls out: the new pod beside the old one, which goes only when the new one is ready."""
    old = system.pod("dashboard")
    bad = with_image(
        old.workload,
        old.workload["spec"]["template"]["spec"]["containers"][0]["image"],
        ["python", "-c", "raise SystemExit(3)"],
    )
    new = system.node.play(bad, as_name="dashboard-next")
    with pytest.raises(AssertionError, match="readinessProbe is not True"):
        new.until("readinessProbe", seconds=20)
    assert old.probe("readinessProbe")
    system.node.remove("dashboard-next")
    assert old.probe("readinessProbe")


@pytest.mark.parametrize("name", [*STAGES, "dashboard"])
def test_a_pod_stops_on_sigterm_within_its_grace_and_starts_again(system: System, name: str) -> None:
    one: Played = system.pod(name)
    grace = pod(one.workload)["terminationGracePeriodSeconds"]
    began = time.monotonic()
    podman("stop", "--time", str(grace), one.container(), timeout=grace + 60)
    took = time.monotonic() - began
    print(f"{name}: stopped in {took:.1f} s of {grace}")
    assert one.inspect("State.ExitCode") in ("0", "143")  # by itself, or by the signal; 137 would be killed
    assert name == "dashboard" or '"stopped"' in one.log()
    podman("start", one.container())
    one.until("readinessProbe")
