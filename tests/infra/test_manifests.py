"""The manifests: valid on three Kubernetes, whole in themselves, and true to the code; five planted faults are caught."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from quantstream.messages.stages import STAGES
from quantstream.messages.topics import TOPICS
from quantstream.observability.health import STALLED_AFTER
from quantstream.observability.metrics import Metrics
from quantstream.settings import Settings
from streaming.__main__ import main
from tests.infra.manifest_checks import (
    amount,
    bound_faults,
    faults,
    schema_faults,
)
from tests.infra.manifests import (
    SYSTEMS,
    TEMPLATED,
    Object,
    is_for_a_restore,
    matches,
    named,
    of_kind,
    path_of,
    pod,
    pod_labels,
    render,
    secret_script,
    space,
    tag,
    title,
    variables,
)

VERSIONS = ("1.31", "1.34", "1.37")
WHOLE = ("local", "prod")
FENCED = {"aggregate", "detect", "sink", "score"}  # two of one identity must never run at once


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> list[Object]:
    """Every object of one system."""
    return render(request.param)


@pytest.fixture(params=WHOLE)
def whole(request: pytest.FixtureRequest) -> list[Object]:
    """Every object of a system that runs for good; for reading only."""
    return render(request.param)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(system: list[Object], version: str) -> None:
    assert list(schema_faults(system, version)) == []


def test_every_reference_selector_port_and_bound_holds(system: list[Object]) -> None:
    assert faults(system) == []


def test_no_object_is_applied_twice(whole: list[Object]) -> None:
    names = [title(one) for one in whole]
    assert len(names) == len(set(names))


def test_no_secret_is_in_a_manifest(system: list[Object]) -> None:
    assert of_kind(system, "Secret") == []


def stage(objects: list[Object], name: str) -> Object:
    found = [one for one in objects if one["metadata"].get("labels", {}).get("quantstream.io/stage") == name]
    assert len(found) == 1, (
        f"{len(found)} workloads of the stage {name}, not one: infra/k8s/sources/services/base/{name}.yaml"
    )
    return found[0]


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_runs_its_own_command_on_the_image_that_holds_what_it_needs(whole: list[Object], name: str) -> None:
    (container,) = pod(stage(whole, name))["containers"]
    image = container["image"].rpartition("/")[2].partition(":")[0]
    assert container["args"] == ["python", "-m", "streaming", name]
    assert image == ("scoring" if STAGES[name].needs_models else "streaming")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_asked_where_it_answers(whole: list[Object], name: str) -> None:
    (container,) = pod(stage(whole, name))["containers"]
    (port,) = container["ports"]
    assert variables(stage(whole, name))["QUANTSTREAM_HTTP_PORT"] == str(port["containerPort"])
    assert (
        variables(stage(whole, name))["QUANTSTREAM_HTTP_HOST"] == "0.0.0.0"
    )  # loopback elsewhere: probes come from outside
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["startupProbe"]["httpGet"]["path"] in ("/healthz", "/readyz")
    patience = [container["startupProbe"][key] for key in ("periodSeconds", "failureThreshold")]
    assert patience[0] * patience[1] >= 300
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] <= STALLED_AFTER


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_metrics_a_budget_and_an_account_of_its_own(whole: list[Object], name: str) -> None:
    workload = stage(whole, name)
    service = named(whole, "Service", name)
    assert service["metadata"]["labels"]["quantstream.io/metrics"] == "true"
    assert service["spec"]["selector"] == {"app.kubernetes.io/name": name}
    assert pod(workload)["serviceAccountName"] == name
    assert named(whole, "ServiceAccount", name)["automountServiceAccountToken"] is False
    assert len(pod(workload)["topologySpreadConstraints"]) == 2


@pytest.mark.parametrize("name", STAGES)
def test_two_of_one_identity_never_run_at_once(whole: list[Object], name: str) -> None:
    workload = stage(whole, name)
    assert variables(workload)["QUANTSTREAM_INSTANCE"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert workload["kind"] == "StatefulSet"  # ingest too: its number says which part of the symbols it follows


def test_what_may_run_twice_is_rolled_out_without_a_gap(whole: list[Object]) -> None:
    for one in of_kind(whole, "Deployment"):
        if one["metadata"]["name"] != "exchange":
            assert one["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_pods_last_seconds_fit_into_its_grace(whole: list[Object]) -> None:
    for one in of_kind(whole, "Deployment", "StatefulSet"):
        for container in pod(one)["containers"]:
            waits = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert pod(one)["terminationGracePeriodSeconds"] - waits >= 15


def test_settings_are_known_to_the_code(system: list[Object]) -> None:
    given = {key for one in of_kind(system, "ConfigMap") for key in one.get("data", {})}
    for one in of_kind(system, *TEMPLATED):
        given |= set(variables(one))
    for name in sorted(key for key in given if key.startswith("QUANTSTREAM_")):
        kind: object = Settings
        for part in name.removeprefix("QUANTSTREAM_").lower().split("__"):
            fields = getattr(kind, "model_fields", {})
            assert part in fields, f"{name} is not a setting"
            kind = fields[part].annotation


def test_a_signal_acts_by_the_costs_that_it_is_judged_by(whole: list[Object]) -> None:
    told = [one.get("data", {}) for one in of_kind(whole, "ConfigMap")]
    costs = [{name: of[name] for name in of if "COSTS__" in name} for of in told if "QUANTSTREAM_MLFLOW" in of]
    assert len(costs) == 2  # the stages' and the pipelines' tasks'
    assert costs[0] == costs[1] != {}


def test_a_change_of_settings_is_a_rollout(whole: list[Object]) -> None:
    names = [one["metadata"]["name"] for one in of_kind(whole, "ConfigMap")]
    (name,) = [one for one in names if one.startswith("quantstream-") and one != "quantstream-jobs"]
    for each in STAGES:
        (source,) = pod(stage(whole, each))["containers"][0]["envFrom"]
        assert source == {"configMapRef": {"name": name}}


def test_nothing_may_talk_but_what_is_said(whole: list[Object]) -> None:
    assert named(whole, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


@pytest.mark.parametrize(
    ("name", "may_reach"),
    [
        ("ingest", {"names", "to-kafka", "to-exchange"}),
        ("aggregate", {"names", "to-kafka"}),
        ("sink", {"names", "to-kafka", "to-objects"}),
        ("detect", {"names", "to-kafka", "to-mlflow"}),
        ("score", {"names", "to-kafka", "to-objects", "to-mlflow"}),
    ],
)
def test_a_stage_may_reach_what_it_needs_and_nothing_else(whole: list[Object], name: str, may_reach: set[str]) -> None:
    labels = pod_labels(stage(whole, name))
    found = {
        one["metadata"]["name"]
        for one in of_kind(whole, "NetworkPolicy")
        if one["spec"].get("egress") and space(one) == "quantstream" and matches(one["spec"]["podSelector"], labels)
    }
    assert found == may_reach


def test_topics_are_those_of_the_code() -> None:
    objects = render("prod")
    for topic in TOPICS:
        spec = named(objects, "KafkaTopic", topic.name)["spec"]
        config = {key: str(value) for key, value in spec["config"].items()}
        config.pop("min.insync.replicas", None)
        partitions = 12 if topic.key == "symbol" else topic.partitions
        assert (spec["partitions"], spec["replicas"], config) == (partitions, 3, topic.config)


@pytest.mark.parametrize("name", STAGES)
def test_a_stages_login_may_do_what_the_pipeline_says(name: str) -> None:
    acls = named(render("prod"), "KafkaUser", name)["spec"]["authorization"]["acls"]

    def topics(operation: str) -> set[str]:
        return {
            one["resource"]["name"]
            for one in acls
            if one["resource"]["type"] == "topic" and operation in one["operations"]
        }

    looks_back = {"ingest": {"market.trades.v1"}, "aggregate": {"market.candles.open.v1"}}.get(name, set())
    assert topics("Write") == {topic.name for topic in STAGES[name].writes}
    assert topics("Read") == {topic.name for topic in (*STAGES[name].reads, *STAGES[name].watches)} | looks_back
    groups = {one["resource"]["name"] for one in acls if one["resource"]["type"] == "group"}
    assert STAGES[name].group in groups or not STAGES[name].reads
    assert "quantstream-reader" in groups or not (looks_back or STAGES[name].watches)  # of readers without a group


def test_production_survives_the_loss_of_a_node() -> None:
    objects = render("prod")
    config = named(objects, "Kafka", "quantstream")["spec"]["kafka"]["config"]
    assert (config["default.replication.factor"], config["min.insync.replicas"]) == (3, 2)
    assert {one["spec"]["replicas"] for one in of_kind(objects, "KafkaNodePool")} == {3}
    assert named(objects, "KafkaNodePool", "controllers")["spec"]["roles"] == ["controller"]
    assert {one["spec"]["config"]["min.insync.replicas"] for one in of_kind(objects, "KafkaTopic")} == {2}
    for name in ("ingest", "aggregate", "sink", "dashboard", "mlflow"):
        (workload,) = [one for one in of_kind(objects, "Deployment", "StatefulSet") if one["metadata"]["name"] == name]
        scalers = [one for one in of_kind(objects, "ScaledObject") if one["spec"]["scaleTargetRef"]["name"] == name]
        assert (scalers[0]["spec"]["minReplicaCount"] if scalers else workload["spec"]["replicas"]) >= 2
        assert "podAntiAffinity" in pod(workload)["affinity"]
        assert named(objects, "PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("overlay", ["local", "prod"])
def test_positions_of_a_config_map_reach_the_page_and_none_is_no_obstacle(overlay: str) -> None:
    (workload,) = [o for o in of_kind(render(overlay), "Deployment") if o["metadata"]["name"] == "dashboard"]
    file = PurePosixPath(variables(workload)["QUANTSTREAM_POSITIONS"])
    (volume,) = [one for one in pod(workload)["volumes"] if one["name"] == "positions"]
    assert volume["configMap"] == {"name": "positions", "optional": True}
    mounts = {one["name"]: one for one in pod(workload)["containers"][0]["volumeMounts"]}
    assert (mounts["positions"]["mountPath"], mounts["positions"]["readOnly"]) == (str(file.parent), True)


@pytest.mark.parametrize("name", [*STAGES, "dashboard"])
def test_kafka_is_reached_over_tls_with_a_login_in_production(name: str) -> None:
    objects = render("prod")
    workloads = [o for o in of_kind(objects, "Deployment", "StatefulSet") if o["metadata"]["name"] == name]
    assert len(workloads) == 1, f"{len(workloads)} workloads {name}, not one: infra/k8s/sources/services/base"
    (workload,) = workloads
    given = variables(workload)
    assert given["QUANTSTREAM_KAFKA__SECURITY"] == "SASL_SSL"
    for setting, key in (("USER", "username"), ("PASSWORD", "password")):
        assert given[f"QUANTSTREAM_KAFKA__{setting}"] == {"secretKeyRef": {"name": f"kafka-{name}", "key": key}}


def test_the_fallback_scales_the_same_stages_within_the_same_bounds() -> None:
    fallback = list(yaml.safe_load_all((path_of("sources/components/hpa") / "scalers.yaml").read_text()))
    objects = [*(one for one in render("prod") if one["kind"] != "ScaledObject"), *fallback]
    assert list(bound_faults(objects)) == []
    for version in VERSIONS:
        assert list(schema_faults(fallback, version)) == []
    scaled = {one["metadata"]["name"] for one in of_kind(render("prod"), "ScaledObject")}
    assert {one["metadata"]["name"] for one in fallback} == scaled == {"score", "detect", "sink"}


def test_the_sink_is_scaled_on_a_number_that_each_of_its_pods_tells() -> None:
    objects = render("prod")
    (trigger,) = named(objects, "ScaledObject", "sink")["spec"]["triggers"]
    asked, address = trigger["metadata"], urlsplit(trigger["metadata"]["url"])
    told = list(text_string_to_metric_families(generate_latest(Metrics("sink").registry).decode()))
    assert [sample.labels for one in told for sample in one.samples if sample.name == asked["valueLocation"]] == [{}]
    service = named(objects, "Service", str(address.hostname).partition(".")[0])
    assert (address.path, asked["format"]) == ("/metrics", "prometheus")
    (container,) = pod(named(objects, "StatefulSet", "sink"))["containers"]
    assert address.port in [port["containerPort"] for port in container["ports"]]  # of the pods, not of the Service
    policy = named(objects, "NetworkPolicy", "scaler-to-sink")["spec"]
    assert matches(policy["podSelector"], pod_labels(named(objects, "StatefulSet", "sink")))
    assert policy["podSelector"]["matchLabels"] == service["spec"]["selector"]


def test_replay_is_a_command_that_the_program_has(capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = [one for one in of_kind(render("prod-replay"), "Job") if one["metadata"]["generateName"] == "replay-"]
    (container,) = pod(job)["containers"]
    program, arguments = container["args"][:3], container["args"][3:]
    assert program == ["python", "-m", "streaming"]
    with pytest.raises(SystemExit) as ended:
        main([arguments[0], "--help"])
    help_text = capsys.readouterr().out
    assert (ended.value.code, [one for one in arguments if one.startswith("--") and one not in help_text]) == (0, [])


def test_amounts_are_read_as_kubernetes_means_them() -> None:
    assert [amount(text) for text in ("250m", "2", 1, "64Mi", "1.5Gi")] == [0.25, 2, 1, 2**26, 1.5 * 2**30]


@pytest.fixture
def databases() -> Object:
    """Postgres as a cluster has it."""
    return named(render("prod"), "Cluster", "databases")


def test_postgres_in_a_cluster_answers_as_that_of_one_machine_and_takes_its_dumps(databases: Object) -> None:
    local = render("local")
    (service,) = databases["spec"]["managed"]["services"]["additional"]
    assert named(local, "Service", service["serviceTemplate"]["metadata"]["name"])
    major = tag(pod(named(local, "StatefulSet", "postgres"))["containers"][0]["image"]).partition(".")[0]
    assert tag(databases["spec"]["imageName"]).partition(".")[0] == major
    assert [one for one in render("prod") if title(one) == "StatefulSet postgres"] == []
    script = [one for one in of_kind(render("prod"), "ConfigMap") if "logins.sh" in one.get("data", {})]
    assert script == [one for one in of_kind(local, "ConfigMap") if "logins.sh" in one.get("data", {})]


def test_postgres_in_a_cluster_survives_the_loss_of_a_node(databases: Object) -> None:
    spec = databases["spec"]
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert spec["affinity"]["topologyKey"] == "kubernetes.io/hostname"


def test_the_server_is_kept_by_its_operator_and_put_back_from_there(databases: Object) -> None:
    objects = render("prod-replay")
    (plugin,) = databases["spec"]["plugins"]
    nightly = named(objects, "ScheduledBackup", "databases")["spec"]
    assert (nightly["cluster"]["name"], nightly["pluginConfiguration"]["name"]) == ("databases", plugin["name"])
    store = named(objects, "ObjectStore", plugin["parameters"]["barmanObjectName"])["spec"]
    assert store["configuration"]["destinationPath"] == "s3://backups/databases"
    (again,) = [one for one in objects if is_for_a_restore(one)]
    (before,) = again["spec"].pop("externalClusters")
    assert again["spec"].pop("bootstrap") == {"recovery": {"source": before["name"]}}
    assert before["plugin"]["parameters"]["barmanObjectName"] == plugin["parameters"]["barmanObjectName"]
    assert again == databases  # so that applying the cluster's own afterwards changes nothing


@pytest.mark.parametrize("system", WHOLE)
def test_databases_and_logins_are_made_by_the_same_script_everywhere(system: str) -> None:
    name = "postgres" if system == "local" else "postgres-logins"
    (workload,) = [
        one for one in of_kind(render(system), "StatefulSet", "Deployment") if one["metadata"]["name"] == name
    ]
    (container,) = [one for one in pod(workload)["containers"] if one["name"] == "logins"]
    assert container["command"] == ["sh", "/logins/logins.sh", "/passwords"]
    (volume,) = [one for one in pod(workload)["volumes"] if one["name"] == "passwords"]
    secret = next(one for one in secret_script(system) if one["metadata"]["name"] == volume["secret"]["secretName"])
    assert {item["key"] for item in volume["secret"]["items"]} == set(secret["data"])
