"""What a cluster does not answer, answers in part or oddly is never taken for fine, and nothing but reading is asked."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from quantstream.messages.stages import STAGES
from tests.infra.cluster.api_store import Cluster
from tests.infra.cluster.conftest import Kubectl
from tests.monitor.looking import Monitor, tool, tools
from tests.monitor.played import KAFKA_KINDS, MINUTE, Played, apply, well
from tests.monitor.situations import airflow_apart, not_ready, task, waiting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a second each, more on a busy machine
HERE = ("--namespace", "quantstream")
ONLY_PODS = ("--skip", "rollouts,volumes,metrics,nodes,operators,jobs")
PODS = "quantstream/pods"
AIRFLOW = ("airflow", "airflow-scheduler", "airflow-dag-processor", "airflow-cleanup")


def test_an_api_server_that_does_not_answer_cannot_be_told_from_and_which_question(monitor: Monitor) -> None:
    played = well("prod")
    output = (
        "Unable to connect to the server: net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    )
    questions = [question for question, _ in played.answers() if question.startswith("quantstream/")]
    for question in ("namespaces", "nodes", *questions):
        played.refuse(question, 1, output)
    look = monitor.json(played, "health")
    assert look.code == 3
    told = {one[1] for one in look.troubles}
    assert told == {
        "namespaces",
        "pods",
        "metrics",
        "rollouts",
        "nodes",
        "kafka",
        "databases",
        "scalers",
        "autoscalers",
        "jobs",
        "volumes",
    }
    assert look.text("pods", "Timeout") == "no answer about pods within 10 s (--timeout)"


def test_a_kubectl_that_hangs_is_ended_and_that_cannot_be_told(monitor: Monitor) -> None:
    played = well("local")
    played.refuse(PODS, "hang", "")
    look = monitor.json(played, "health", "--timeout", "1", *HERE, *ONLY_PODS)
    assert look.troubles == {("unknown", "pods", "pods", "Timeout")}


def test_a_refused_connection_and_a_missing_right_are_said_with_what_to_do(monitor: Monitor) -> None:
    played = well("local")
    played.refuse(
        PODS, 1, "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"
    )
    assert "the cluster does not answer" in monitor.json(played, "health", *ONLY_PODS).text("pods", "Unreadable")
    played.forbid(PODS, "pods")
    assert "grant it, or leave it out with --skip" in monitor.json(played, "health", *ONLY_PODS).text(
        "pods", "Forbidden"
    )


def test_stats_that_may_not_be_read_are_told_of_once_not_once_a_node_and_may_be_left_out(monitor: Monitor) -> None:
    played = well("prod")
    for node in ("node-a", "node-b", "node-c"):
        what = 'cannot get resource "nodes/proxy" in API group "" at the cluster scope'
        output = f'nodes "{node}" is forbidden: User "jane" {what}'
        played.refuse(f"stats.{node}", 1, f"Error from server (Forbidden): {output}")
    look = monitor.json(played, "health")
    assert look.troubles == {("unknown", "volumes", "node/node-a", "Forbidden")}
    left = monitor.json(None, "health", "--skip", "volumes")
    assert (left.code, left.text("volumes", "LeftOut")) == (0, "left out by --skip")


def test_who_may_not_ask_nodes_is_told_by_prometheus_how_full_volumes_are(monitor: Monitor) -> None:
    played = well("prod")
    for node in ("node-a", "node-b", "node-c"):
        what = 'cannot get resource "nodes/proxy" in API group "" at the cluster scope'
        played.refuse(f"stats.{node}", 1, f'Error from server (Forbidden): nodes "{node}" is forbidden: {what}')
    claims = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in played.all_of("PersistentVolumeClaim")]
    numbers = {"used_bytes": 30, "capacity_bytes": 100, "inodes": 1000, "inodes_used": 5}
    full = claims[0]

    def answer(used: int) -> str:
        found = []
        for space, claim in claims:
            for name, number in numbers.items():
                labels = {
                    "__name__": f"kubelet_volume_stats_{name}",
                    "namespace": space,
                    "persistentvolumeclaim": claim,
                }
                value = used if (space, claim) == full and name == "used_bytes" else number
                found.append({"metric": labels, "value": [1795370400.5, str(value)]})
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}})

    played.texts["prometheus"] = answer(30)
    assert monitor.json(played, "health").troubles == set()
    played.texts["prometheus"] = answer(97)
    (trouble,) = monitor.json(played, "health").troubles
    assert trouble[:2] == ("critical", "volume")
    assert trouble[2].endswith(full[1])


@pytest.mark.parametrize(
    "answer",
    [
        "<html><body>502 Bad Gateway</body></html>",
        '{"kind": "Status", "status": "Failure", "code": 500}',
        '{"items": "none"}',
        "{}",
        "[]",
        '{"items": [}',
        '{"items": [] "kind": "List"}',
        '{"items": []} {"items": []}',
        "",
    ],
)
def test_an_answer_that_is_no_list_cannot_be_told_from(monitor: Monitor, answer: str) -> None:
    monitor.scene.mkdir(parents=True)
    well("local").write(monitor.scene)
    (monitor.scene / PODS).write_text(answer)
    look = monitor.json(None, "health", *HERE, *ONLY_PODS)
    assert look.code == 3
    assert {one[:2] for one in look.troubles} == {("unknown", "pods")}


def test_every_answer_that_stops_in_the_middle_cannot_be_told_from(monitor: Monitor) -> None:
    played = well("prod")
    for question, text in list(played.answers()):
        if not re.search("/top$|logs|metrics|events|stats", question):
            played.texts[question] = text[: len(text) // 2]
    look = monitor.json(played, "health")
    told = {(one[1], one[3]) for one in look.troubles}
    operators = ("kafka", "databases", "scalers", "autoscalers")
    checks = ("namespaces", "pods", "rollouts", "nodes", *operators, "jobs", "volumes")
    assert told == {(name, "Malformed") for name in checks} | {("metrics", "NobodyAsked")}


def test_what_is_critical_outweighs_what_cannot_be_told_and_that_a_warning(monitor: Monitor) -> None:
    played = well("local")
    played.forbid("quantstream/deployments,statefulsets", "deployments.apps")
    task(played, MINUTE)
    skip = ("--skip", "volumes,metrics,nodes,operators,jobs")
    assert monitor.json(played, "health", *skip).code == 3
    not_ready(played.pod("score"), 10 * MINUTE)
    assert monitor.json(played, "health", *skip).code == 2


def test_an_empty_namespace_is_critical_and_never_fine(monitor: Monitor) -> None:
    played = well("local")
    played.objects = played.all_of("Namespace", "Node")
    look = monitor.json(played, "health", *HERE)
    assert look.code == 2
    assert look.text("pods", "Nothing") == "there are no pods in namespace quantstream"
    missing = {one[2] for one in look.troubles if one[3] == "Missing"}
    assert missing == {*STAGES, "dashboard", "mlflow", "postgres", "objects", "kafka", *AIRFLOW[:3]}


def moved(played: Played, space: str) -> Played:
    """Put Airflow into a namespace of that name, and nothing of ours into any other."""
    airflow_apart(played, space)
    gone = [one for one in played.all_of("Namespace") if one["metadata"]["name"] not in ("quantstream", space)]
    played.remove(*gone)
    return played


def test_a_part_in_a_namespace_of_its_own_is_found_by_the_namespace_s_label(monitor: Monitor) -> None:
    played = moved(well("local"), "pipelines")
    look = monitor.json(played, "health")
    assert look.troubles == set()
    assert look.output["where"] == "namespace pipelines, quantstream"
    not_ready(played.pod("airflow-scheduler"), 10 * MINUTE)
    (trouble,) = monitor.json(played, "health").troubles
    assert trouble == (
        "critical",
        "pod",
        f"pipelines/{played.pod('airflow-scheduler')['metadata']['name']}",
        "NotReady",
    )
    named = monitor.json(None, "health", "--namespace", "quantstream")
    assert {one[2] for one in named.troubles} == {*AIRFLOW[:3]}
    both = monitor.json(None, "health", "--namespace", "quantstream,pipelines")
    assert both.troubles == {trouble}


def test_what_runs_in_a_namespace_that_could_not_be_read_is_not_said_to_be_missing(monitor: Monitor) -> None:
    played = moved(well("local"), "pipelines")
    played.forbid("pipelines/pods", "pods")
    look = monitor.json(played, "health", *ONLY_PODS)
    assert look.code == 3
    assert {one for one in look.troubles if one[3] == "Missing"} == {
        ("unknown", "workload", one, "Missing") for one in AIRFLOW[:3]
    }


def test_nothing_but_reading_is_ever_asked_of_the_cluster(monitor: Monitor) -> None:
    played = well("prod")
    waiting(played.pod("score"), "CrashLoopBackOff", "back-off", 7)
    monitor(played, "health")
    for verb in ("logs", "logs --previous", "events", "top", "report", "watch --count 1"):
        monitor(None, verb)
    assert len(monitor.calls) > 100
    assert {call.split()[0] for call in monitor.calls} == {"get", "logs", "top"}
    assert all("--request-timeout=10s" in call for call in monitor.calls)
    lists = [
        call for call in monitor.calls if call.startswith("get") and "--raw" not in call and " namespaces " not in call
    ]
    assert all("--chunk-size=500" in call for call in lists)


def test_selector_context_and_kubeconfig_reach_kubectl_and_a_selector_expects_nothing_else(monitor: Monitor) -> None:
    options = ("--selector", "tier=live", "--context", "prod", "--kubeconfig", "/k", "-n", "quantstream")
    played = well("local")
    played.remove_workload("mlflow")
    assert monitor.json(played, "health", *options).code == 0
    assert any("get --context prod --kubeconfig /k" in call for call in monitor.calls)
    assert any("pods --namespace quantstream --selector tier=live" in call for call in monitor.calls)


def test_jq_changes_nothing_but_the_time_it_takes(monitor: Monitor, tmp_path: Path) -> None:
    played = well("prod")
    not_ready(played.pod("score"), 10 * MINUTE)
    task(played, MINUTE)
    folder = tools(tmp_path / "with")
    (folder / "jq").symlink_to(shutil.which("jq") or tool("jaq"))
    plain, quick = monitor.json(played, "health"), Monitor(folder, tmp_path / "again").json(played, "health")
    assert quick.output == plain.output
    assert len(plain.troubles) == 2


@pytest.mark.parametrize("system", ["local", "prod"])
def test_the_played_answers_are_those_that_the_real_kubectl_gives(
    system: str, cluster: Cluster, kubectl: Kubectl
) -> None:
    played = well(system)
    cluster.kinds[:] = apply(system).kinds
    for thing in played.objects:
        (kind,) = [one for one in cluster.kinds if one.name == thing["kind"]]
        space = thing["metadata"].get("namespace", "")
        cluster.objects[kind.group, kind.plural, space, thing["metadata"]["name"]] = thing
    for question, text in played.answers():
        if re.search("/top$|logs|metrics|stats", question):
            continue
        space, _, what = question.rpartition("/")
        options = ["--namespace", space] if space else []
        options += ["--selector", "app.kubernetes.io/part-of=quantstream"] if what == "namespaces" else []
        real = kubectl("get", what, *options, "--chunk-size=500", "--output", "json", check=False)
        assert real.returncode == 0, (question, real.stderr)
        assert keyed(real.stdout) == keyed(text), question
    for question in played.unknown_kinds:
        real = kubectl("get", question, "--namespace", "quantstream", "--output", "json", check=False)
        assert "doesn't have a resource type" in real.stderr


def keyed(text: str) -> dict[str, object]:
    """Return the objects of a list by kind and name, and what kind of list it is."""
    output = json.loads(text)
    items = {f"{one['kind']} {one['metadata']['name']}": one for one in output.pop("items")}
    return {**items, "kind": output["kind"]}


def test_the_played_cluster_has_what_strimzi_makes() -> None:
    assert {one["kind"] for one in well("prod").objects} >= {*KAFKA_KINDS, "ScaledObject", "Node"}
