"""Situations as clusters have them: how each differs from one in which all is well, and every trouble that must then be told.

Nothing else may be told, and nothing less: a situation that looks fine though it is not fails, and so does one in which something
long past is held to be wrong for ever. Each is played in the system in which it can happen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from tests.infra.manifests import Object
from tests.monitor.looking import Finding
from tests.monitor.played import DAY, HOUR, MINUTE, NOW, QUESTIONS, STAGES, Played, ago, condition

Play = Callable[[Played], None]


@dataclass(frozen=True)
class Situation:
    """One situation: the sentence that says it, the system, what happens, and what must be found."""

    name: str
    system: str
    play: Play
    troubles: frozenset[Finding]


SITUATIONS: list[Situation] = []


def situation(system: str, *troubles: str) -> Callable[[Play], Play]:
    """Register a situation; a trouble is written `severity check object reason`."""

    def register(play: Play) -> Play:
        found = frozenset(
            (*one.split(maxsplit=2)[:2], *one.split(maxsplit=2)[2].rsplit(maxsplit=1)) for one in troubles
        )
        SITUATIONS.append(Situation(play.__name__, system, play, found))  # type: ignore[arg-type]
        return play

    return register


def status(pod: Object) -> Object:
    """Return the state of a pod's first container."""
    found: Object = pod["status"]["containerStatuses"][0]
    return found


def set_condition(
    thing: Object, kind: str, value: str, since: float = HOUR, reason: str = "", message: str = ""
) -> None:
    """Change or add one condition."""
    conditions = thing["status"].setdefault("conditions", [])
    conditions[:] = [one for one in conditions if one["type"] != kind]
    conditions.append(condition(kind, value, since, reason, message))


def not_ready(pod: Object, since: float) -> None:
    """Let a pod run without being ready."""
    for kind in ("Ready", "ContainersReady"):
        set_condition(pod, kind, "False", since, "ContainersNotReady", "containers with unready status")
    status(pod)["ready"] = False


def waiting(pod: Object, reason: str, message: str, restarts: int = 0) -> None:
    """Let the first container wait for something."""
    not_ready(pod, 10 * MINUTE)
    status(pod).update(state={"waiting": {"reason": reason, "message": message}}, restartCount=restarts)


def ended(pod: Object, reason: str, code: int, since: float, restarts: int) -> None:
    """Let the first container have been restarted."""
    last = {"reason": reason, "exitCode": code, "finishedAt": ago(since)}
    status(pod).update(lastState={"terminated": last}, restartCount=restarts)


def pending(pod: Object, since: float, reason: str = "", message: str = "") -> None:
    """Let a pod wait for a node, or for its start."""
    scheduled = condition("PodScheduled", "False" if reason else "True", since, reason, message)
    pod["status"] = {"phase": "Pending", "conditions": [scheduled]}
    pod["metadata"]["creationTimestamp"] = ago(since)
    if reason:
        del pod["spec"]["nodeName"]


def failed(pod: Object, since: float, reason: str = "", message: str = "", code: int = 1) -> None:
    """Let a pod have ended for good."""
    over = {"reason": "Error", "exitCode": code, "finishedAt": ago(since)}
    name = pod["spec"]["containers"][0]["name"]
    statuses = [{"name": name, "ready": False, "restartCount": 0, "state": {"terminated": over}}]
    pod["status"] = {"phase": "Failed", "reason": reason, "message": message, "containerStatuses": statuses}
    pod["metadata"]["creationTimestamp"] = ago(since + HOUR)


def task(played: Played, since: float) -> None:
    """Add a task's pod of Airflow that failed."""
    pod = played.another("airflow-scheduler", "models-train-train-x1y2z3")
    labels = {"app.kubernetes.io/name": "airflow-task", "dag_id": "models_train", "task_id": "train", "tier": "airflow"}
    pod["metadata"]["labels"] = labels
    del pod["metadata"]["ownerReferences"]
    failed(pod, since)


def job(played: Played, name: str, since: float, owner: str = "") -> None:
    """Add a job that failed."""
    own = {"name": name, "namespace": "quantstream", "creationTimestamp": ago(since + HOUR)}
    if owner:
        own["namespace"] = played.of("CronJob", owner)["metadata"]["namespace"]
        own["ownerReferences"] = [{"kind": "CronJob", "name": owner}]  # type: ignore[assignment]
    over = condition("Failed", "True", since, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    played.objects.append({"kind": "Job", "metadata": own, "spec": {}, "status": {"failed": 2, "conditions": [over]}})


def airflow_apart(played: Played, space: str = "pipelines") -> None:
    """Put Airflow, with its claim, into a namespace of its own."""
    for thing in played.all_of("Deployment", "Pod", "CronJob"):
        if thing["metadata"].get("labels", {}).get("app.kubernetes.io/name", "").startswith("airflow"):
            thing["metadata"]["namespace"] = space
    played.of("PersistentVolumeClaim", "airflow-state")["metadata"]["namespace"] = space
    own = {"name": space, "labels": {"app.kubernetes.io/part-of": "quantstream"}}
    played.objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": own})


def replicas(thing: Object, available: int, updated: int | None = None) -> None:
    """Let so many of a workload's pods be there."""
    number = thing["spec"]["replicas"]
    names = ("readyReplicas", "availableReplicas")
    thing["status"] |= dict.fromkeys(names, available) | {"updatedReplicas": number if updated is None else updated}


@situation("local")
def all_is_well_on_one_machine(played: Played) -> None:
    """Nothing happens."""


@situation("prod")
def all_is_well_in_a_cluster(played: Played) -> None:
    """Nothing happens."""


@situation("local", "critical workload postgres Missing")
def postgres_was_never_applied(played: Played) -> None:
    played.remove_workload("postgres")
    played.remove(played.of("PersistentVolumeClaim", "data-postgres-0"))


def without_databases(played: Played) -> None:
    """Take away what CloudNativePG made."""
    for pod in [one for one in played.all_of("Pod") if "cnpg.io/cluster" in one["metadata"].get("labels", {})]:
        played.remove(pod, played.of("PersistentVolumeClaim", pod["metadata"]["name"]))


@situation("prod", "critical workload databases Missing")
def the_cluster_of_postgres_was_never_applied(played: Played) -> None:
    without_databases(played)
    played.remove(played.of("Cluster", "databases"))


@situation("prod", "critical workload databases Missing", "critical database cluster/databases NotSeen")
def cloudnativepg_has_made_nothing(played: Played) -> None:
    without_databases(played)
    played.of("Cluster", "databases").pop("status")


@situation("prod", "critical workload databases Missing", "critical database cluster/databases Unavailable")
def every_instance_of_postgres_is_gone(played: Played) -> None:
    without_databases(played)
    played.of("Cluster", "databases")["status"]["readyInstances"] = 0
    set_condition(
        played.of("Cluster", "databases"), "Ready", "False", HOUR, "ClusterIsNotReady", "Cluster Is Not Ready"
    )


@situation("prod", "warning database cluster/databases Degraded", "critical pod databases-2 NotReady")
def one_instance_of_postgres_does_not_follow(played: Played) -> None:
    played.of("Cluster", "databases")["status"]["readyInstances"] = 2
    set_condition(
        played.of("Cluster", "databases"), "Ready", "False", HOUR, "ClusterIsNotReady", "Cluster Is Not Ready"
    )
    not_ready(played.of("Pod", "databases-2"), HOUR)


@situation(
    "prod",
    "critical rollout deployment/postgres-logins Unavailable",
    "critical pod postgres-logins-ee9100b7f-9ca4a NotReady",
)
def postgres_does_not_answer_though_it_runs(played: Played) -> None:
    played.of("Deployment", "postgres-logins")["status"]["availableReplicas"] = 0
    not_ready(played.pod("postgres-logins"), HOUR)


@situation("prod", "critical database cluster/databases Asleep")
def postgres_is_put_to_sleep(played: Played) -> None:
    played.of("Cluster", "databases")["metadata"]["annotations"] = {"cnpg.io/hibernation": "on"}


@situation("prod", "warning database cluster/databases Paused")
def cloudnativepg_is_told_to_leave_postgres_alone(played: Played) -> None:
    played.of("Cluster", "databases")["metadata"]["annotations"] = {"cnpg.io/reconciliationLoop": "disabled"}


@situation("prod", "critical database cluster/databases NotArchived")
def the_log_of_postgres_reaches_no_store(played: Played) -> None:
    set_condition(
        played.of("Cluster", "databases"), "ContinuousArchiving", "False", HOUR, "ContinuousArchivingFailing", "403"
    )


@situation("prod", "warning database cluster/databases BackupFailed")
def last_night_s_base_backup_failed(played: Played) -> None:
    set_condition(played.of("Cluster", "databases"), "LastBackupSucceeded", "False", HOUR, "LastBackupFailed", "403")


@situation("prod", "critical database objectstore/databases Stale")
def no_base_backup_for_days(played: Played) -> None:
    window = played.of("ObjectStore", "databases")["status"]["serverRecoveryWindow"]["databases"]
    window["lastSuccessfulBackupTime"] = ago(3 * DAY)


@situation("prod", "critical database objectstore/databases Stale")
def never_a_base_backup(played: Played) -> None:
    store = played.of("ObjectStore", "databases")
    store.pop("status")
    store["metadata"]["creationTimestamp"] = ago(3 * DAY)


@situation("prod")
def a_managed_postgres(played: Played) -> None:
    """As `render` makes it where POSTGRES names another host."""
    without_databases(played)
    played.remove(played.of("Cluster", "databases"), played.of("ObjectStore", "databases"))
    del played.pod("postgres-logins")["metadata"]["labels"]["quantstream.io/needs-databases"]


@situation("prod", "unknown databases databases NotInstalled")
def the_plugin_for_backups_is_not_installed(played: Played) -> None:
    (question,) = [one for one in QUESTIONS if one.startswith("clusters.")]
    played.refuse(f"quantstream/{question}", 1, 'error: the server doesn\'t have a resource type "objectstores"')


@situation("local")
def a_backup_runs_just_now(played: Played) -> None:
    pod = played.another("sink", "backup-lake-29399990-x1y2z")
    pod["metadata"]["labels"] = {"app.kubernetes.io/name": "backup-lake", "quantstream.io/needs-backups": "true"}
    del pod["metadata"]["ownerReferences"]


@situation("prod", "critical workload mlflow Missing")
def mlflow_was_never_applied(played: Played) -> None:
    played.remove_workload("mlflow")


@situation("local", "critical workload kafka Missing")
def kafka_was_never_applied(played: Played) -> None:
    played.remove_workload("kafka")
    played.remove(played.of("PersistentVolumeClaim", "data-kafka-0"))


@situation(
    "prod",
    "critical workload kafka Missing",
    "critical kafka kafkanodepool/brokers Unavailable",
    "critical kafka kafkanodepool/controllers Unavailable",
)
def strimzi_has_made_no_broker(played: Played) -> None:
    for pod in played.pods("kafka"):
        played.remove(pod, played.of("PersistentVolumeClaim", f"data-0-{pod['metadata']['name']}"))


@situation(
    "prod",
    "critical workload airflow Missing",
    "critical workload airflow-scheduler Missing",
    "critical workload airflow-dag-processor Missing",
    "unknown volumes fill Unmeasured",
)
def airflow_was_never_applied(played: Played) -> None:
    for part in ("airflow", "airflow-scheduler", "airflow-dag-processor", "airflow-cleanup"):
        played.remove_workload(part)


@situation("local", "critical workload objects Missing", "critical workload dashboard Missing")
def the_object_store_and_the_page_were_never_applied(played: Played) -> None:
    played.remove_workload("objects")
    played.remove_workload("dashboard")
    played.remove(played.of("PersistentVolumeClaim", "data-objects-0"))


@situation("prod", "critical workload cache Missing")
def a_pod_says_by_a_label_that_it_needs_what_nobody_applied(played: Played) -> None:
    played.pod("dashboard")["metadata"]["labels"]["quantstream.io/needs-cache"] = "true"


@situation(
    "local",
    "warning rollout statefulset/postgres ScaledToZero",
    "critical workload postgres Missing",
    "unknown volumes fill Unmeasured",
)
def postgres_is_scaled_to_none(played: Played) -> None:
    played.of("StatefulSet", "postgres")["spec"]["replicas"] = 0
    played.remove(*played.pods("postgres"))


@situation("local")
def a_label_of_another_team_is_named_like_a_stage(played: Played) -> None:
    for part, label in (("postgres", "score"), ("dashboard", "ingest"), ("mlflow", "sink")):
        played.pod(part)["metadata"]["labels"]["team.example.com/squad"] = label


@situation("local", "critical workload detect Missing")
def the_second_system_s_stage_runs_and_the_live_one_was_never_applied(played: Played) -> None:
    found = [one for one in played.all_of("StatefulSet", "Pod") if one["metadata"]["name"].startswith("detect")]
    for one in found:
        one["metadata"]["labels"]["app.kubernetes.io/name"] = "restored-detect"


@situation("local", "critical workload score Missing")
def a_label_of_another_team_is_named_like_a_stage_that_is_gone(played: Played) -> None:
    played.pod("postgres")["metadata"]["labels"]["team.example.com/squad"] = "score"
    played.remove_workload("score")


@situation("local", "critical pod score-0 NotReady")
def a_pod_has_not_been_ready_for_long(played: Played) -> None:
    not_ready(played.pod("score"), 10 * MINUTE)


@situation("local", "warning pod score-0 NotReady")
def a_pod_is_not_ready_for_a_moment(played: Played) -> None:
    not_ready(played.pod("score"), 20)


@situation("local", "critical pod score-0 OOMKilled")
def a_container_went_over_its_memory_limit(played: Played) -> None:
    ended(played.pod("score"), "OOMKilled", 137, 5 * MINUTE, 2)


@situation("local")
def a_container_went_over_its_memory_limit_days_ago(played: Played) -> None:
    ended(played.pod("score"), "OOMKilled", 137, 2 * DAY, 2)


@situation("local")
def a_container_was_restarted_so_long_ago_that_the_kubelet_forgot_why(played: Played) -> None:
    status(played.pod("score"))["restartCount"] = 9


@situation("local", "critical pod detect-0 CrashLoopBackOff")
def a_container_crashes_again_and_again(played: Played) -> None:
    waiting(played.pod("detect"), "CrashLoopBackOff", "back-off 5m0s restarting failed container", 7)
    ended(played.pod("detect"), "Error", 1, 2 * MINUTE, 7)


@situation("local", "critical pod aggregate-0 CrashLoopBackOff")
def an_init_container_crashes(played: Played) -> None:
    pod = played.pod("aggregate")
    pending(pod, 10 * MINUTE)
    crashing = {"name": "wait", "restartCount": 6, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod["status"]["initContainerStatuses"] = [crashing]


@situation("prod", "critical pod sink-1 ImagePullBackOff")
def an_image_cannot_be_pulled(played: Played) -> None:
    waiting(played.of("Pod", "sink-1"), "ImagePullBackOff", "Back-off pulling image")


@situation("local", "critical pod detect-0 CreateContainerConfigError")
def a_secret_is_not_there(played: Played) -> None:
    waiting(played.pod("detect"), "CreateContainerConfigError", 'secret "objects" not found')


@situation(
    "local",
    "critical pod objects-0 Unschedulable",
    "critical volume data-objects-0 Pending",
)
def a_pod_waits_for_its_volume(played: Played) -> None:
    pending(played.pod("objects"), 30 * MINUTE, "Unschedulable", "pod has unbound immediate PersistentVolumeClaims")
    played.of("PersistentVolumeClaim", "data-objects-0")["status"] = {"phase": "Pending"}
    played.of("PersistentVolumeClaim", "data-objects-0")["metadata"]["creationTimestamp"] = ago(30 * MINUTE)


@situation("local", "critical volume data-postgres-0 Lost")
def a_claim_lost_its_volume(played: Played) -> None:
    played.of("PersistentVolumeClaim", "data-postgres-0")["status"] = {"phase": "Lost"}


@situation("local", "warning volume airflow-state Fill")
def a_volume_fills(played: Played) -> None:
    played.of("PersistentVolumeClaim", "airflow-state")["_filled"] = 85


@situation("prod", "critical volume data-0-quantstream-brokers-1 Fill")
def a_broker_s_volume_is_full(played: Played) -> None:
    played.of("PersistentVolumeClaim", "data-0-quantstream-brokers-1")["_filled"] = 96


@situation("prod", "warning pod sink-old Evicted")
def an_evicted_pod_has_a_successor(played: Played) -> None:
    failed(played.another("sink", "sink-old"), HOUR, "Evicted", "The node was low on resource: ephemeral-storage.")


@situation("prod")
def an_evicted_pod_of_days_ago_has_a_successor(played: Played) -> None:
    failed(played.another("sink", "sink-old"), 3 * DAY, "Evicted", "The node was low on resource: ephemeral-storage.")


@situation("local", "critical workload mlflow Missing", "critical rollout deployment/mlflow Unavailable")
def an_evicted_pod_of_days_ago_has_no_successor(played: Played) -> None:
    failed(played.pod("mlflow"), 3 * DAY, "Evicted", "The node was low on resource: memory.")
    replicas(played.of("Deployment", "mlflow"), 0)


@situation("local", "warning pod models-train-train-x1y2z3 Failed")
def a_task_of_airflow_failed_just_now(played: Played) -> None:
    task(played, 10 * MINUTE)


@situation("local")
def a_task_of_airflow_failed_days_ago(played: Played) -> None:
    task(played, 4 * DAY)


@situation("local", "critical pod dashboard-lone Failed")
def a_pod_without_an_owner_failed_just_now(played: Played) -> None:
    pod = played.another("dashboard", "dashboard-lone")
    failed(pod, 10 * MINUTE)


@situation("prod", "warning pod score-old Terminating")
def a_pod_never_ends(played: Played) -> None:
    played.another("score", "score-old")["metadata"]["deletionTimestamp"] = ago(10 * MINUTE)


@situation(
    "prod",
    "critical node node-b NotReady",
    "critical pod mlflow-4c110b783-cf8cd NodeLost",
)
def a_node_is_lost(played: Played) -> None:
    pod = played.of("Pod", "mlflow-4c110b783-cf8cd")
    pod["spec"]["nodeName"] = "node-b"
    pod["status"] |= {"phase": "Unknown", "reason": "NodeLost"}
    set_condition(played.of("Node", "node-b"), "Ready", "Unknown", HOUR, "NodeStatusUnknown", "Kubelet stopped posting")


@situation("local", "warning node node-z NotReady")
def a_node_of_others_is_not_ready(played: Played) -> None:
    node = copy.deepcopy(played.of("Node", "node-a"))
    node["metadata"]["name"] = "node-z"
    set_condition(node, "Ready", "False", HOUR, "KubeletNotReady", "container runtime is down")
    played.objects.append(node)


@situation("local", "warning node node-a DiskPressure")
def a_node_is_short_of_disk(played: Played) -> None:
    set_condition(played.of("Node", "node-a"), "DiskPressure", "True", HOUR, "KubeletHasDiskPressure", "")


@situation("prod", "warning rollout statefulset/sink RollingOut", "warning pod sink-2 Pending")
def a_rollout_is_in_the_middle(played: Played) -> None:
    played.of("StatefulSet", "sink")["status"] |= {"updateRevision": "two", "updatedReplicas": 1, "readyReplicas": 2}
    pending(played.of("Pod", "sink-2"), 20)


@situation("local", "critical rollout deployment/dashboard Stuck")
def a_rollout_is_stuck(played: Played) -> None:
    stuck = 'ReplicaSet "dashboard-76d9f8b5c4" has timed out progressing.'
    set_condition(played.of("Deployment", "dashboard"), "Progressing", "False", HOUR, "ProgressDeadlineExceeded", stuck)


@situation("local", "critical rollout statefulset/postgres Unavailable", "critical pod postgres-0 NotReady")
def postgres_does_not_get_ready(played: Played) -> None:
    played.of("StatefulSet", "postgres")["status"]["readyReplicas"] = 0
    not_ready(played.pod("postgres"), HOUR)


@situation("prod", "warning rollout deployment/mlflow Degraded", "critical pod mlflow-43a836472-7e62f NotReady")
def one_of_two_mlflow_is_gone(played: Played) -> None:
    replicas(played.of("Deployment", "mlflow"), 1)
    not_ready(played.of("Pod", "mlflow-43a836472-7e62f"), HOUR)


@situation("local", "warning rollout deployment/airflow NotSeen")
def a_change_nobody_has_taken_up(played: Played) -> None:
    played.of("Deployment", "airflow")["metadata"]["generation"] = 9


@situation("local", "warning rollout deployment/dashboard Paused")
def a_rollout_is_paused(played: Played) -> None:
    played.of("Deployment", "dashboard")["spec"]["paused"] = True


@situation("prod", "critical kafka kafka/quantstream FatalProblem")
def strimzi_cannot_make_what_was_asked_for(played: Played) -> None:
    set_condition(
        played.of("Kafka", "quantstream"),
        "Ready",
        "False",
        HOUR,
        "FatalProblem",
        "Unsupported Kafka.spec.kafka.version",
    )


@situation("prod", "critical kafka kafkauser/keda NotSeen")
def strimzi_s_user_operator_has_not_seen_a_user(played: Played) -> None:
    played.of("KafkaUser", "keda")["status"] = {}


@situation("prod", "warning kafka kafka/quantstream Paused")
def strimzi_is_told_to_leave_kafka_alone(played: Played) -> None:
    played.of("Kafka", "quantstream")["metadata"]["annotations"] = {"strimzi.io/pause-reconciliation": "true"}


@situation("prod", "warning kafka kafkanodepool/brokers Degraded")
def a_broker_has_no_pod(played: Played) -> None:
    played.remove(
        played.of("Pod", "quantstream-brokers-2"), played.of("PersistentVolumeClaim", "data-0-quantstream-brokers-2")
    )


@situation("prod", "critical scaler scaledobject/score ScaledObjectCheckFailed")
def keda_cannot_scale(played: Played) -> None:
    scaler = played.of("ScaledObject", "score")
    set_condition(
        scaler, "Ready", "False", HOUR, "ScaledObjectCheckFailed", "Failed to ensure HPA is correctly created"
    )


@situation("prod", "warning scaler scaledobject/detect Fallback")
def keda_cannot_ask_kafka(played: Played) -> None:
    set_condition(played.of("ScaledObject", "detect"), "Fallback", "True", HOUR, "FallbackExists", "")


@situation("prod", "warning autoscaler horizontalpodautoscaler/keda-hpa-score FailedGetExternalMetric")
def keda_itself_is_gone(played: Played) -> None:
    scaler = played.of("HorizontalPodAutoscaler", "keda-hpa-score")
    set_condition(scaler, "ScalingActive", "False", HOUR, "FailedGetExternalMetric", "no matching metrics found")


@situation("prod")
def score_has_as_many_pods_as_it_may(played: Played) -> None:
    scaler = played.of("HorizontalPodAutoscaler", "keda-hpa-score")
    set_condition(scaler, "ScalingLimited", "True", HOUR, "TooManyReplicas", "more than the maximum")


@situation("prod", "unknown kafka kafka NotInstalled")
def strimzi_s_kinds_are_there_in_part(played: Played) -> None:
    (question,) = [one for one in QUESTIONS if one.startswith("kafkas.")]
    played.refuse(f"quantstream/{question}", 1, 'error: the server doesn\'t have a resource type "kafkanodepools"')


@situation("prod")
def keda_sees_a_lag_of_one_for_ever(played: Played) -> None:
    """The marker of its last transaction is a lag of 1 that stays: the scaler is active, and all is well."""
    for name in ("score", "detect"):
        set_condition(played.of("ScaledObject", name), "Active", "True", DAY, "ScalerActive", "Scaling is performed")
    for stage in STAGES[1:]:
        played.metric(f"quantstream_{stage}_lag_records", 1.0)


@situation("local", "warning job replay-x1 Failed")
def a_replay_failed(played: Played) -> None:
    job(played, "replay-x1", HOUR)


@situation("local")
def a_replay_failed_days_ago(played: Played) -> None:
    job(played, "replay-x1", 3 * DAY)


@situation("local", "warning cronjob airflow-cleanup Failed")
def the_last_run_of_a_cron_job_failed(played: Played) -> None:
    job(played, "airflow-cleanup-1", HOUR, "airflow-cleanup")


@situation("local")
def a_cron_job_failed_and_has_succeeded_since(played: Played) -> None:
    job(played, "airflow-cleanup-1", 2 * DAY, "airflow-cleanup")


@situation("local", "critical cronjob airflow-cleanup Stale")
def a_nightly_cron_job_has_not_succeeded_for_days(played: Played) -> None:
    job(played, "airflow-cleanup-1", HOUR, "airflow-cleanup")
    played.of("CronJob", "airflow-cleanup")["status"]["lastSuccessfulTime"] = ago(3 * DAY)


@situation("prod", "critical cronjob backup-postgres Stale")
def postgres_has_not_been_backed_up_for_days(played: Played) -> None:
    played.of("CronJob", "backup-postgres")["status"]["lastSuccessfulTime"] = ago(3 * DAY)


@situation("prod", "warning cronjob backup-lake Failed")
def last_night_s_backup_of_the_lake_failed(played: Played) -> None:
    job(played, "backup-lake-1", HOUR, "backup-lake")


@situation("local", "critical cronjob airflow-cleanup Stale")
def a_cron_job_has_never_succeeded(played: Played) -> None:
    played.of("CronJob", "airflow-cleanup")["status"] = {}


@situation("local", "warning cronjob airflow-cleanup Suspended")
def a_cron_job_is_suspended(played: Played) -> None:
    played.of("CronJob", "airflow-cleanup")["spec"]["suspend"] = True


@situation("local", "critical candles missing NoCandles")
def a_symbol_has_trades_and_no_candle(played: Played) -> None:
    played.set_lines("ingest", 'quantstream_ingest_symbol_has_trades{symbol="SOLUSDT"} 1.0')


@situation("local", "warning candles untraded NoTrades")
def a_symbol_never_had_a_trade(played: Played) -> None:
    played.set_lines("ingest", 'quantstream_ingest_symbol_has_trades{symbol="XYZUSDT"} 0.0')


@situation("local", "critical candles ETHUSDT Age")
def a_symbol_s_candles_are_old(played: Played) -> None:
    played.metric('quantstream_aggregate_candle_closed_at_seconds{symbol="ETHUSDT"}', 1.79539e9)


@situation("local", "warning symbols ingest SetAside")
def a_delisted_symbol_s_last_candle_gets_older_for_ever(played: Played) -> None:
    played.metric("quantstream_ingest_symbols_set_aside", 1.0)
    played.metric('quantstream_ingest_symbol_has_trades{symbol="ETHUSDT"}', None)
    played.metric('quantstream_aggregate_candle_closed_at_seconds{symbol="ETHUSDT"}', 1.79e9)


@situation("local", "critical candles all NoneYet")
def aggregate_has_closed_nothing_in_hours(played: Played) -> None:
    played.metric("quantstream_aggregate_candle_closed_at_seconds", None)
    played.metric("quantstream_ingest_symbol_has_trades", None)


@situation("local", "critical lag sink Behind")
def a_stage_is_far_behind(played: Played) -> None:
    played.metric("quantstream_sink_lag_records", 2e5)


@situation("local", "critical balance sink Off")
def records_do_not_add_up(played: Played) -> None:
    played.metric("quantstream_sink_unbalanced_symbols", 2.0)


@situation("prod", "warning gaps ingest Open")
def both_ingests_see_one_gap(played: Played) -> None:
    played.metric("quantstream_ingest_open_gaps", 1.0)


@situation("local", "critical models score NoChampion", "warning models detect NoChampion")
def no_champion_is_in_service(played: Played) -> None:
    played.metric("quantstream_score_model_version", None)
    played.metric("quantstream_detect_model_version", None)


@situation("local", "critical streams ingest Mute", "critical streams ingest Unproven")
def streams_are_mute(played: Played) -> None:
    played.metric("quantstream_ingest_mute_streams", 2.0)
    played.metric("quantstream_ingest_unproven_symbols", 3.0)


@situation("prod", "critical gaps ingest Open")
def each_of_two_parts_of_the_symbols_has_gaps_and_they_add_up(played: Played) -> None:
    two_parts(played, 1, 2)
    played.metric("quantstream_ingest_open_gaps", 12)  # of each; from 20 on it is critical


@situation("prod", "critical shards ingest Missing")
def a_part_of_the_symbols_is_followed_by_nobody(played: Played) -> None:
    two_parts(played, 1, 1)


def two_parts(played: Played, *parts: int) -> None:
    """The two pods of ingest follow these of two parts of the symbols."""
    played.metric("quantstream_ingest_shards", 2)
    for pod, part in enumerate(parts):
        key = f"quantstream/metrics.ingest-{pod}"
        played.texts[key] = played.texts[key].replace('shard="1/1"', f'shard="{part}/2"')


@situation("local", "warning proof candles Age")
def the_candles_were_not_compared_with_the_exchange_for_two_days(played: Played) -> None:
    played.metric("quantstream_sink_proved_at_seconds", NOW - 2 * DAY)


@situation("local")
def the_candles_were_compared_with_the_exchange_tonight(played: Played) -> None:
    played.metric("quantstream_sink_proved_at_seconds", NOW - 5 * HOUR)


@situation("local", "unknown metrics sink-0 Unreadable")
def a_stage_does_not_give_its_numbers(played: Played) -> None:
    played.refuse(
        "quantstream/metrics.sink-0", 1, "Error from server (ServiceUnavailable): the server is currently unable"
    )


@situation("local", "unknown metrics sink-0 Unreadable")
def a_stage_s_numbers_are_another_s(played: Played) -> None:
    played.texts["quantstream/metrics.sink-0"] = "<html>welcome</html>\n"


@situation("prod", "unknown rollouts deployments and stateful sets Forbidden")
def workloads_may_not_be_read(played: Played) -> None:
    played.forbid("quantstream/deployments,statefulsets", "deployments.apps")


@situation(
    "prod",
    "unknown nodes nodes Forbidden",
    "unknown namespaces namespaces Forbidden",
    "unknown workload airflow Missing",
    "unknown workload airflow-scheduler Missing",
    "unknown workload airflow-dag-processor Missing",
)
def what_is_the_cluster_s_may_not_be_read(played: Played) -> None:
    airflow_apart(played)
    played.forbid("nodes", "nodes")
    played.forbid("namespaces", "namespaces")


@situation(
    "local",
    "critical namespaces all Nothing",
    "unknown workload airflow Missing",
    "unknown workload airflow-scheduler Missing",
    "unknown workload airflow-dag-processor Missing",
)
def no_namespace_says_that_it_is_ours(played: Played) -> None:
    airflow_apart(played)
    for space in played.all_of("Namespace"):
        space["_hidden"] = True
