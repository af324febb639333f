"""The folders that people apply: what the sources say and nothing else, images from where they are, room on a small machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml

from infra.embedded.jars import KAFKA_VERSION
from infra.embedded.state import PROJECT
from tests.infra.manifest_checks import SCHEMAS, amount
from tests.infra.manifests import (
    K8S,
    SYSTEMS,
    TEMPLATED,
    Object,
    containers,
    copied_to,
    matches,
    named,
    of_kind,
    pod,
    pod_labels,
    render,
    space,
    tag,
    title,
    variables,
)
from tests.infra.rights.test_limits import quota_and_need

APPLIED = sorted({folder for folders in SYSTEMS.values() for folder in folders})
SYSTEM_CPU = (
    0.85  # of kube-system on Minikube: API server 250m, controllers 200m, scheduler, etcd, DNS, network 100m each
)
SYSTEM_MEMORY = 700 * 2**20


def versions() -> dict[str, str]:
    """Return what infra/k8s/versions.conf says."""
    lines = (K8S / "versions.conf").read_text().splitlines()
    return dict(line.split("#")[0].strip().split("=", 1) for line in lines if line and not line.startswith("#"))


def asked(objects: list[Object], what: str) -> float:
    """Return the sum of all requests of a resource, one task of Airflow's among them; init containers run before the others."""
    total = 0.0
    for one in of_kind(objects, *TEMPLATED):
        wanted = sum(amount(each["resources"]["requests"][what]) for each in pod(one)["containers"])
        total += wanted * one["spec"].get("replicas", 1)
    return total


def test_what_is_applied_is_what_the_sources_say(tmp_path: Path) -> None:
    subprocess.run([K8S / "render", str(tmp_path)], check=True, capture_output=True)
    rendered = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.yaml")}
    committed = {str(p.relative_to(K8S)): p.read_text() for folder in APPLIED for p in (K8S / folder).iterdir()}
    assert committed.keys() == rendered.keys()
    assert [name for name in committed if committed[name] != rendered[name]] == [], "run infra/k8s/render"


@pytest.mark.parametrize("folder", APPLIED)
def test_a_folder_that_is_applied_holds_nothing_but_objects(folder: str) -> None:
    for path in (K8S / folder).iterdir():
        assert path.suffix == ".yaml"
        for one in yaml.safe_load_all(path.read_text()):
            assert one["kind"] != "Kustomization"
            assert {"apiVersion", "metadata"} <= set(one)


def test_every_object_of_ours_names_its_namespace() -> None:
    for system in SYSTEMS:
        for one in render(system):
            if one["kind"] not in ("Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding"):
                assert space(one) in ("quantstream", "quantstream-airflow"), title(one)


@pytest.mark.parametrize(("system", "registry"), [("local", "LOCAL_REGISTRY"), ("prod", "REGISTRY")])
def test_our_images_come_from_where_they_are(system: str, registry: str) -> None:
    images = {container["image"] for one in of_kind(render(system), *TEMPLATED) for container in containers(one)}
    ours = {image for image in images if "quantstream" in image}
    own = versions()
    assert {image.rpartition("/")[0] for image in ours} == {own[registry]}
    assert {tag(image) for image in ours} == {own["TAG"]}
    assert {image.partition("/")[0] for image in images - ours} <= {"docker.io"}


def test_no_source_names_a_registry_for_our_images() -> None:
    for path in (K8S / "sources").rglob("*.yaml"):
        assert re.findall(r"image: (?!registry\.invalid/)\S*quantstream/\S+", path.read_text()) == [], path.name


def test_everything_fits_into_minikube_as_it_is_started() -> None:
    objects, own = render("local"), versions()
    assert asked(objects, "cpu") <= float(own["MINIKUBE_CPUS"]) - SYSTEM_CPU
    assert asked(objects, "memory") <= float(own["MINIKUBE_MEMORY"]) * 2**20 - SYSTEM_MEMORY


def test_the_scaler_alone_says_how_many_there_are() -> None:
    objects = render("prod")
    scaled = [one["spec"]["scaleTargetRef"] for one in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")]
    assert scaled
    for target in scaled:
        assert "replicas" not in named(objects, target["kind"], target["name"])["spec"]


def test_pinned_versions_agree() -> None:
    own = versions()
    kafka = named(render("prod"), "Kafka", "quantstream")["spec"]["kafka"]
    (broker,) = pod(named(render("local"), "StatefulSet", "kafka"))["containers"]
    assert (kafka["version"], kafka["metadataVersion"]) == (own["KAFKA"], own["KAFKA_METADATA"])
    assert broker["image"].partition("@")[0] == f"docker.io/apache/kafka:{own['KAFKA']}"
    assert f"Strimzi {own['STRIMZI']}" in (SCHEMAS / "Kafka.json").read_text()
    assert own["KAFKA"].split(".")[0] == KAFKA_VERSION.split(".")[0]  # what the tests run is of the same major version
    assert own["TAG"] in (PROJECT / "pyproject.toml").read_text()


def test_no_volume_asks_for_a_class_that_nobody_checked() -> None:
    output = (K8S / "up").read_text()
    for system in ("local", "prod"):
        for one in render(system):
            for name in re.findall(r"'(?:storageClassName|class)': '([^']+)'", str(one)):
                assert f"no StorageClass {name}" in output, title(one)


def test_names_are_asked_for_by_port_wherever_their_servers_are() -> None:
    for system, name in product(("local", "prod"), ("names", "airflow-names")):
        (rule,) = named(render(system), "NetworkPolicy", name)["spec"]["egress"]
        assert rule == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


@pytest.mark.parametrize(
    ("system", "name"),
    [("local", "airflow-scheduler"), ("prod", "airflow-scheduler"), ("prod", "kafka"), ("prod", "to-kubernetes")],
)
def test_who_asks_kubernetes_reaches_it_on_minikube_too(system: str, name: str) -> None:
    rules = named(render(system), "NetworkPolicy", name)["spec"]["egress"]
    ports = {port["port"] for rule in rules if "to" not in rule for port in rule["ports"]}
    assert {443, 6443, 8443} <= ports


def test_an_ingress_may_enter_the_page() -> None:
    (rule,) = named(render("prod"), "NetworkPolicy", "dashboard")["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8501}]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}} in rule["from"]


def test_the_page_is_served_where_the_mission_says() -> None:
    for system in ("local", "prod"):
        assert [port["port"] for port in named(render(system), "Service", "dashboard-service")["spec"]["ports"]] == [
            8501
        ]


def test_the_scripts_are_tidy() -> None:
    tool = Path(sys.executable).parent / "shellcheck"  # comes with the dev requirements
    scripts = [str(K8S / name) for name in ("up", "render", "rotate", "secrets.sh")]
    scripts += [str(path) for path in (K8S / "sources").rglob("*.sh")]
    done = subprocess.run(
        [tool, "--external-sources", *scripts], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.stdout == ""


def test_every_pinned_version_is_used() -> None:
    used = "".join((K8S / name).read_text() for name in ("up", "render", "secrets.sh"))
    named_in_manifests = {"KAFKA", "KAFKA_METADATA"}  # held to them by a test above
    assert {name for name in versions() if f"${name}" not in used and f"${{{name}}}" not in used} == named_in_manifests


def rendered_anew(folder: Path, setting: str) -> Path:
    """Render a copy with another setting of versions.conf; return where the manifests are then."""
    conf, name = copied_to(folder) / "versions.conf", setting.partition("=")[0]
    conf.write_text(re.sub(rf"^{name}=\S*", setting, conf.read_text(), flags=re.MULTILINE))
    subprocess.run([folder / "k8s" / "render"], check=True, capture_output=True)
    return folder / "k8s"


def read(file: Path) -> list[Object]:
    """Return the objects of a file."""
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


def rendered_with(folder: Path, setting: str, file: str) -> list[Object]:
    """Return what a file holds when it is rendered with another setting of versions.conf."""
    return read(rendered_anew(folder, setting) / "production" / file)


def test_one_number_shards_ingest_and_the_quota_has_room_for_four(tmp_path: Path) -> None:
    before = named(render("prod"), "StatefulSet", "ingest")
    after = named(rendered_with(tmp_path, "INGEST_SHARDS=4", "services/10-stages.yaml"), "StatefulSet", "ingest")
    assert (before["spec"]["replicas"], after["spec"]["replicas"]) == (2, 8)
    found = {name: variables(after)[name] for name in ("QUANTSTREAM_SHARD", "QUANTSTREAM_INGESTS_PER_ADDRESS")}
    assert found == {"QUANTSTREAM_SHARD": "instance/4", "QUANTSTREAM_INGESTS_PER_ADDRESS": "8"}
    objects = [one for one in render("prod-replay") if one != before]
    hard, needed = quota_and_need([*objects, after], "quantstream")
    assert {what: (needed[what], hard[what]) for what in hard if needed[what] > hard[what]} == {}


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests as they are rendered where a second system is named."""
    return rendered_anew(tmp_path_factory.mktemp("beside"), "TOPIC_PREFIX=restored.")


@pytest.fixture(scope="module")
def beside(second: Path) -> list[Object]:
    """The platform of both."""
    return read(second / "production" / "infrastructure" / "10-platform.yaml")


def test_a_second_system_gets_topics_and_rights_of_its_own_and_nothing_else_changes(beside: list[Object]) -> None:
    plain = [one for one in _applied_platform() if one["kind"] not in ("KafkaTopic", "KafkaUser")]
    assert [one for one in beside if one["kind"] not in ("KafkaTopic", "KafkaUser")] == plain
    for one in of_kind(_applied_platform(), "KafkaTopic"):
        assert named(beside, "KafkaTopic", one["metadata"]["name"]) == one
        twin = named(beside, "KafkaTopic", "restored." + one["metadata"]["name"])
        assert (twin["spec"], twin["metadata"]["labels"]) == (one["spec"], one["metadata"]["labels"])
    for one in of_kind(_applied_platform(), "KafkaUser"):
        expected = list[Object]()
        for acl in one["spec"]["authorization"]["acls"]:
            expected += [acl, {**acl, "resource": {**acl["resource"], "name": "restored." + acl["resource"]["name"]}}]
        assert named(beside, "KafkaUser", one["metadata"]["name"])["spec"]["authorization"]["acls"] == expected


@pytest.mark.parametrize(("system", "folder"), [("local", ""), ("prod", "production/")])
def test_the_pods_of_a_second_system_are_the_first_ones_under_other_names(
    second: Path, system: str, folder: str
) -> None:
    live = {title(one): one for one in read(K8S / folder / "services" / "10-stages.yaml")}
    found = read(second / folder / "beside" / "10-stages.yaml")
    settings = next(one for one in found if one["kind"] == "ConfigMap")
    for one in found:
        assert one["metadata"]["name"].startswith("restored-")
        text = json.dumps(one).replace("restored-", "").replace("restored.", "")
        first = live[title(json.loads(text))]
        if one is not settings:
            assert json.loads(text) == first
    workloads = {name for name, one in live.items() if one["kind"] in ("StatefulSet", "Deployment")}
    twins = {title(one).replace("restored-", "") for one in of_kind(found, "StatefulSet", "Deployment")}
    assert workloads - twins <= {"Deployment mlflow", "Deployment exchange"}
    data = settings["data"]
    assert data["QUANTSTREAM_KAFKA__TOPIC_PREFIX"] == "restored."
    assert data["QUANTSTREAM_LAKE"] == "s3://quantstream/lake/restored"  # where the store's users may write
    assert "http://restored-score:8000" in data["QUANTSTREAM_STAGES"]
    readers = [one for one in found if one["kind"] in ("StatefulSet", "Deployment")]
    assert {c["envFrom"][0]["configMapRef"]["name"] for one in readers for c in containers(one)} == {
        settings["metadata"]["name"]
    }
    hard, needed = quota_and_need([*render(f"{system}-replay"), *found], "quantstream")
    assert {what: (needed[what], hard[what]) for what in hard if needed[what] > hard[what]} == {}


@pytest.mark.parametrize("folder", ["", "production/"])
def test_no_service_budget_or_workload_of_one_system_takes_pods_of_the_other(second: Path, folder: str) -> None:
    systems = [read(second / folder / name / "10-stages.yaml") for name in ("services", "beside")]
    for own, other in (systems, systems[::-1]):
        pods = [pod_labels(one) for one in of_kind(other, "StatefulSet", "Deployment")]
        for one in of_kind(own, "Service", "PodDisruptionBudget", "StatefulSet", "Deployment"):
            selector = one["spec"]["selector"]
            selector = {"matchLabels": selector} if one["kind"] == "Service" else selector
            assert not any(matches(selector, labels) for labels in pods), title(one)


def test_scalers_of_a_second_system_ask_for_its_own_lag(second: Path) -> None:
    asked = {
        one["spec"]["scaleTargetRef"]["name"]: [trigger["metadata"] for trigger in one["spec"]["triggers"]]
        for one in of_kind(read(second / "production" / "beside" / "10-stages.yaml"), "ScaledObject")
    }
    (of_sink,) = asked.pop("restored-sink")
    assert of_sink["url"] == "http://restored-sink.quantstream.svc:8000/metrics"
    named_in = {name: [(each["topic"], each["consumerGroup"]) for each in all_] for name, all_ in asked.items()}
    assert named_in == {
        "restored-score": [("restored.market.candles.v1", "restored.quantstream-score")],
        "restored-detect": [("restored.market.trades.v1", "restored.quantstream-detect")],
    }


def test_what_a_second_system_measures_does_not_answer_for_the_live_one(second: Path) -> None:
    monitors = read(K8S / "production" / "monitoring" / "10-monitoring.yaml")
    scraped = named(monitors, "ServiceMonitor", "quantstream-stages")["spec"]
    (rename,) = scraped["endpoints"][0]["metricRelabelings"]
    renamed = dict[str, str]()
    kept = {"": "quantstream_ingest_open_gaps", "restored-": "quantstream_beside_ingest_open_gaps"}
    for prefix, folder in (("", "services"), ("restored-", "beside")):
        for one in of_kind(read(second / "production" / folder / "10-stages.yaml"), "Service"):
            job = one["metadata"].get("labels", {}).get(scraped["jobLabel"], "")
            if job.removeprefix(prefix) in ("ingest", "aggregate", "detect", "sink", "score"):
                found = re.fullmatch(rename["regex"], f"{job};{kept['']}")
                renamed[job] = found.expand(rename["replacement"].replace("$", "\\")) if found else kept[""]
    assert {
        prefix: [name for job, name in renamed.items() if job.startswith("restored-") == bool(prefix)]
        for prefix in kept
    } == {prefix: [name] * 5 for prefix, name in kept.items()}


@pytest.mark.parametrize(
    ("prefix", "told"),
    [("1-", "begins with no letter"), ("restored-from-the-backup-of-sunday-", "take 30 letters at most")],
)
def test_a_prefix_that_no_pod_can_be_named_after_is_refused(tmp_path: Path, prefix: str, told: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered_anew(tmp_path, f"TOPIC_PREFIX={prefix}")
    assert told in refused.value.stderr.decode()


def test_a_second_system_that_is_named_no_longer_is_rendered_no_longer(second: Path, tmp_path: Path) -> None:
    again = shutil.copytree(second.parent, tmp_path / "again") / "k8s"
    shutil.copy(K8S / "versions.conf", again)
    subprocess.run([again / "render"], check=True, capture_output=True)
    assert not (again / "beside").exists()
    assert not (again / "production" / "beside").exists()


def _applied_platform() -> list[Object]:
    text = (K8S / "production" / "infrastructure" / "10-platform.yaml").read_text()
    return [one for one in yaml.safe_load_all(text) if one]
