"""Five planted faults, and fields nobody knows: the checks that pass on the manifests see each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.infra.manifest_checks import (
    Faults,
    bound_faults,
    faults,
    port_faults,
    resource_faults,
    schema_faults,
    selector_faults,
    volume_faults,
)
from tests.infra.manifests import Object, named, pod, render


def broken_selector(objects: list[Object]) -> None:
    named(objects, "StatefulSet", "aggregate")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] = "agregate"


def broken_port(objects: list[Object]) -> None:
    named(objects, "Service", "ingest")["spec"]["ports"][0]["port"] = 80000


def broken_volume(objects: list[Object]) -> None:
    (container,) = pod(named(objects, "StatefulSet", "sink"))["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "tmp"]
    mount["name"] = "tmpp"


def broken_request(objects: list[Object]) -> None:
    pod(named(objects, "StatefulSet", "score"))["containers"][0]["resources"]["requests"]["memory"] = "3Gi"


def broken_bounds(objects: list[Object]) -> None:
    named(objects, "ScaledObject", "score")["spec"]["minReplicaCount"] = 13


@pytest.mark.parametrize(
    ("plant", "check", "found"),
    [
        (broken_selector, selector_faults, ["StatefulSet aggregate: its selector does not take its own pods"]),
        (broken_port, port_faults, ["Service ingest: .spec.ports[0].port is 80000, no port"]),
        (
            broken_volume,
            volume_faults,
            [
                "StatefulSet sink: mounts the volume tmpp, which it does not have",
                "StatefulSet sink: nobody mounts its volume tmp",
            ],
        ),
        (broken_request, resource_faults, ["StatefulSet score: stage requests 3Gi of memory, above its limit 2560Mi"]),
        (broken_bounds, bound_faults, ["ScaledObject score: its bounds are 13 and 12"]),
    ],
)
def test_a_planted_fault_is_caught(
    plant: Callable[[list[Object]], None], check: Callable[[list[Object]], Faults], found: list[str]
) -> None:
    objects = render("prod")
    assert list(check(objects)) == []
    plant(objects)
    assert list(check(objects)) == found
    assert set(found) <= set(faults(objects))


def test_an_unknown_field_is_caught_in_each_kind_of_schema() -> None:
    objects = render("prod")
    named(objects, "Kafka", "quantstream")["spec"]["kafka"]["replicas"] = 3  # as it was before node pools
    pod(named(objects, "StatefulSet", "sink"))["containers"][0]["livenesProbe"] = {}
    caught = list(schema_faults(objects, "1.34"))
    assert {fault.partition(":")[0] for fault in caught} == {"Kafka quantstream", "StatefulSet sink"}
