"""What a namespace may have together, and who gives way: quotas hold all that is ever asked for, and not twice that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from quantstream.messages.stages import STAGES
from tests.infra.manifest_checks import amount
from tests.infra.manifests import (
    TEMPLATED,
    Object,
    containers,
    is_for_a_restore,
    named,
    of_kind,
    pod,
    pod_labels,
    render,
    space,
    title,
)

Asked = dict[str, float]
WHAT = ("requests.cpu", "requests.memory", "limits.memory")
STATE, STAGE, PAGE, TASK = (f"quantstream-{name}" for name in ("state", "stages", "pages", "tasks"))
BACKUPS = ("backup-lake", "backup-models", "backup-postgres")
CLASSES = {
    STATE: {"kafka", "postgres", "objects"},
    STAGE: {*STAGES, "exchange"},
    PAGE: {"dashboard", "mlflow", "postgres-logins", "airflow", "airflow-scheduler", "airflow-dag-processor"},
    TASK: {"airflow-task", "airflow-cleanup", "kafka-ca", "replay", "restore", "restore-postgres", *BACKUPS},
}


def of(resources: Mapping[str, Mapping[str, str]]) -> Asked:
    """Return what one container asks for."""
    return {what: amount(resources[what.split(".")[0]][what.split(".")[1]]) for what in WHAT}


def counted(objects: list[Object], one: Object) -> int:
    """Return how many pods of a workload there may be at once, a rollout's and a scaler's most among them."""
    if one["kind"] == "Pod":  # the template of tasks
        (config,) = [
            each for each in of_kind(objects, "ConfigMap") if "AIRFLOW__CORE__PARALLELISM" in each.get("data", {})
        ]
        return int(config["data"]["AIRFLOW__CORE__PARALLELISM"])
    most = one["spec"].get("replicas", 1)
    for scaler in of_kind(objects, "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == one["metadata"].get("name"):
            most = scaler["spec"]["maxReplicaCount"]
    return most + int(one["kind"] == "Deployment")


def strimzis(objects: list[Object], least: Asked) -> Iterator[tuple[int, Asked]]:
    """Go through the pods that Strimzi makes: brokers, the two operators of topics and users, the exporter."""
    for one in of_kind(objects, "KafkaNodePool"):
        yield one["spec"]["replicas"], of(one["spec"]["resources"])
    if of_kind(objects, "Kafka"):
        yield 1, {what: 2 * value for what, value in least.items()}
        yield 1, least


def instances(objects: list[Object]) -> Iterator[tuple[int, Asked]]:
    """Go through the pods that CloudNativePG makes, each with its sidecar for backups."""
    (sidecar,) = [
        of(one["spec"]["instanceSidecarConfiguration"]["resources"]) for one in of_kind(objects, "ObjectStore")
    ]
    for one in of_kind(objects, "Cluster"):
        if not is_for_a_restore(one):
            yield one["spec"]["instances"], {what: of(one["spec"]["resources"])[what] + sidecar[what] for what in WHAT}


def quota_and_need(objects: list[Object], namespace: str) -> tuple[Asked, Asked]:
    """Return what a namespace may have together, and all that is ever there at once."""
    name = namespace.removeprefix("quantstream-")
    (limits,) = named(objects, "LimitRange", name)["spec"]["limits"]
    least = of({"requests": limits["defaultRequest"], "limits": limits["default"]})
    pods = list(strimzis(objects, least)) if namespace == "quantstream" else []
    if of_kind(objects, "ObjectStore") and namespace == "quantstream":
        pods += instances(objects)
    for one in of_kind(objects, *TEMPLATED):
        if space(one) == namespace:
            each = [of(container["resources"]) for container in pod(one)["containers"]]
            pods.append((counted(objects, one), {what: sum(asked[what] for asked in each) for what in WHAT}))
    needed = {what: sum(count * asked[what] for count, asked in pods) for what in WHAT}
    needed["pods"] = sum(count for count, _ in pods)
    hard = {what: amount(value) for what, value in named(objects, "ResourceQuota", name)["spec"]["hard"].items()}
    return hard, needed


@pytest.mark.parametrize("namespace", ["quantstream", "quantstream-airflow"])
@pytest.mark.parametrize("system", ["local-replay", "prod-replay"])
def test_a_quota_holds_all_that_is_ever_there_and_no_more_than_twice_that(system: str, namespace: str) -> None:
    hard, needed = quota_and_need(render(system), namespace)
    assert hard.keys() == needed.keys()
    assert {
        what: (needed[what], hard[what]) for what in hard if not needed[what] <= hard[what] <= 2 * needed[what]
    } == {}


def test_no_task_may_ask_for_more_than_the_largest_limit_there_is() -> None:
    for system in ("local", "prod"):
        objects = render(system)
        (limits,) = named(objects, "LimitRange", "airflow")["spec"]["limits"]
        asked = [
            each["resources"]["limits"]
            for one in of_kind(objects, *TEMPLATED)
            for each in containers(one)
            if space(one) == "quantstream-airflow"
        ]
        for what, most in limits["max"].items():
            assert amount(most) == max(amount(one[what]) for one in asked)


@pytest.mark.parametrize("system", ["local-replay", "prod-replay"])
def test_every_pod_has_the_class_of_what_it_is(system: str) -> None:
    objects = render(system)
    for one in of_kind(objects, *TEMPLATED):
        name = pod_labels(one)["app.kubernetes.io/name"]
        assert name in CLASSES[pod(one)["priorityClassName"]], title(one)
    for one in of_kind(objects, "KafkaNodePool"):
        assert one["spec"]["template"]["pod"]["priorityClassName"] == STATE
    for one in of_kind(objects, "Cluster"):
        assert one["spec"]["priorityClassName"] == STATE


def test_tasks_give_way_and_take_no_room_from_others() -> None:
    found = {one["metadata"]["name"]: one for one in of_kind(render("prod"), "PriorityClass")}
    assert set(found) == set(CLASSES)
    assert found[STATE]["value"] > found[STAGE]["value"] > found[PAGE]["value"] > 0 > found[TASK]["value"]
    assert found[TASK]["preemptionPolicy"] == "Never"
    assert not any(one.get("globalDefault") for one in found.values())
