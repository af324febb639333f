"""Alert rules and Grafana's dashboards: they parse, name metrics that exist, fire when they should, and have a runbook."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from infra.docs_site import SECTIONS
from quantstream.messages.stages import STAGES
from quantstream.observability.metrics import DELAY_BUCKETS
from tests.infra.manifests import K8S, named, render

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "k8s" / "sources" / "monitoring"
RULE = yaml.safe_load((FOLDER / "rules.yaml").read_text())
GROUPS = RULE["spec"]["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in RULES if "record" in rule}
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
# What others export, and who: each was read in its exporter's documentation.
OTHERS = {
    "up",  # Prometheus itself
    "kube_pod_container_status_restarts_total",  # kube-state-metrics
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_status_ready",
    "kube_deployment_status_replicas_available",
    "kube_cronjob_created",
    "kube_horizontalpodautoscaler_status_condition",
    "kube_cronjob_status_last_successful_time",
    "kafka_topic_partition_under_replicated_partition",  # Strimzi's Kafka exporter
    "kafka_topic_partition_leader",
    "kafka_brokers",
    "strimzi_certificate_expiration_timestamp_ms",  # Strimzi's cluster operator
    "kafka_consumergroup_lag",
    "cnpg_collector_up",  # CloudNativePG's instances, and their sidecar for backups
    "cnpg_pg_stat_archiver_last_failed_time",
    "cnpg_pg_stat_archiver_last_archived_time",
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
    "kubelet_volume_stats_used_bytes",  # kubelet
    "kubelet_volume_stats_capacity_bytes",
    "container_memory_working_set_bytes",  # cAdvisor
    "container_cpu_usage_seconds_total",
}


@cache
def declared() -> frozenset[str]:
    """Names of metrics that the code declares, without the stage's prefix."""
    names = set()
    kernel = [*(ROOT / "quantstream").rglob("*.py"), *(ROOT / "ml" / "serving").glob("*.py")]
    for path in [*kernel, *(ROOT / "streaming").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("counter", "gauge", "symbol_gauge", "histogram", "delays") and isinstance(
                    first, ast.Constant
                ):
                    names.add(str(first.value))
    return frozenset(names)


def queries() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with where it stands."""
    for name, rule in {**ALERTS, **RECORDED}.items():
        yield name, rule["expr"]
    for file, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{file}: {panel['title']}", target["expr"]


QUERIES = list(queries())


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics that an expression selects, by its parse."""
    words = set(
        re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.sub(r'"[^"]*"', "", promql_parser.parse(expression).prettify()))
    )
    return {
        word
        for word in words
        if word.startswith(("quantstream", "kube", "kafka_", "container_", "strimzi_", "cnpg_", "barman_"))
        or word == "up"
    }


@pytest.mark.parametrize(("place", "expression"), QUERIES, ids=[place for place, _ in QUERIES])
def test_each_query_parses_and_names_metrics_that_exist(place: str, expression: str) -> None:
    names = metrics_of(expression)
    assert names, f"{place} selects nothing"
    known = declared()
    ours = re.compile(rf"quantstream_({'|'.join(STAGES)})_(\w+?)(_bucket|_count|_sum)?$")
    for name in names - OTHERS - RECORDED.keys() - {"container", "up"}:
        found = ours.match(name)
        assert found, f"{place}: {name} is nobody's metric"
        assert found[2] in known or (found[2] + (found[3] or "")) in known, f"{place}: the code has no {name}"


def test_a_metric_that_is_not_there_would_be_found() -> None:
    with pytest.raises(AssertionError, match="the code has no quantstream_sink_joy_total"):
        test_each_query_parses_and_names_metrics_that_exist("planted", "rate(quantstream_sink_joy_total[5m]) > 0")
    with pytest.raises(ValueError):  # noqa: PT011  (whatever the parser says)
        test_each_query_parses_and_names_metrics_that_exist("planted", "sum(rate(up[5m])")


def test_each_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() -> None:
    sections = re.findall(r"^### (\w+)$", (ROOT / "infra" / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook_url"] == f"https://runbook.invalid/#{name.lower()}"


def test_each_rendered_alert_links_to_its_section_of_the_runbook_as_the_site_names_it() -> None:
    conf = dict(re.findall(r"^(\w+)=(\S+)", (K8S / "versions.conf").read_text(), re.MULTILINE))
    page = conf["RUNBOOK"]
    assert (ROOT / page).is_file()  # a link to the site would be somebody's own
    assert "infra/RUNBOOK.md" in [one for pages in SECTIONS.values() for one in pages]
    headings = re.findall(r"^#+ (.+)$", (ROOT / "infra" / "RUNBOOK.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    rendered = list(yaml.safe_load_all((K8S / "production" / "monitoring" / "10-monitoring.yaml").read_text()))
    (rules,) = [one for one in rendered if one["kind"] == "PrometheusRule"]
    links = [
        rule["annotations"]["runbook_url"]
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert len(links) == len(ALERTS)
    assert {link.removeprefix(f"{page}#") for link in links} <= anchors


def test_dashboards_are_as_grafana_loads_them() -> None:
    assert len({one["uid"] for one in DASHBOARDS.values()}) == len(DASHBOARDS) == 4
    for file, one in DASHBOARDS.items():
        assert one["schemaVersion"] >= 36, file
        assert one["title"]
        assert one["time"]["from"]
        assert isinstance(one["templating"]["list"], list)
        ids = [panel["id"] for panel in one["panels"]]
        assert len(set(ids)) == len(ids) > 0
        places: set[tuple[int, int]] = set()
        for panel in one["panels"]:
            assert panel["type"] in ("timeseries", "stat")
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not cells & places, f"{file}: {panel['title']} lies over another panel"
            places |= cells
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters) > 0


def test_the_folder_renders_with_every_dashboard_as_a_config_map_that_grafana_picks_up() -> None:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not installed; install it to render the manifests"
    text = subprocess.run([kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=True).stdout
    objects = list(yaml.safe_load_all(text))
    maps = [one for one in objects if one["kind"] == "ConfigMap"]
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in maps)
    files = {file: json.loads(body) for one in maps for file, body in one["data"].items()}
    assert files == DASHBOARDS
    assert {one["kind"] for one in objects} == {"ConfigMap", "PrometheusRule", "PodMonitor", "ServiceMonitor"}


def promtool() -> str:
    cache = Path(os.environ.get("QUANTSTREAM_CACHE") or Path.home() / ".cache" / "quantstream") / "promtool"
    found = shutil.which("promtool") or shutil.which("promtool", path=str(cache))
    if not found:
        pytest.skip("PROMTOOL IS NOT THERE: rules are parsed but not evaluated; run infra/monitor/promtool.sh")
    return found


RISE, STILL = "0+15x400", "1000+0x400"  # by 15 a step; not at all. A step is 15 s
MARKET_TIME = 'quantstream_ingest_market_time_seconds{{pod="ingest-{}", shard="{}/2"}}'
CONNECTIONS = 'quantstream_ingest_connections{{pod="ingest-{}", shard="{}/2"}}'
PODS = [(0, 1), (1, 2), (2, 1), (3, 2)]  # of ingest, and the share of the symbols that each follows
CLOCK = {MARKET_TIME.format(*pod): "100000+15x400" for pod in PODS}
LATE, SCORED = "quantstream_aggregate_candle_lateness_seconds", "quantstream_score_candle_to_score_seconds"
CORRECTED = 'quantstream_sink_corrected_candles_total{source="klines"}'
AIRFLOW = ("airflow", "airflow-scheduler", "airflow-dag-processor")
BROKERS = tuple(f"quantstream-{pool}-{number}" for pool in ("brokers", "controllers") for number in range(3))
CERTIFICATE = 'strimzi_certificate_expiration_timestamp_ms{cluster="quantstream", type="cluster-ca"}'
BLIND = (
    'kube_horizontalpodautoscaler_status_condition{namespace="quantstream", horizontalpodautoscaler="keda-hpa-score", '
    'condition="ScalingActive", status="false"}'
)
LOGINS, INSTANCES = "postgres-logins-5b8d9c7f6-x2k8m", ("databases-1", "databases-2", "databases-3")
COLLECTED = 'cnpg_collector_up{namespace="quantstream", pod="databases-1"}'
ARCHIVED = 'cnpg_pg_stat_archiver_last_{}_time{{namespace="quantstream", pod="databases-1"}}'
KEPT = 'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{namespace="quantstream", pod="databases-1"}'
BACKUP = 'kube_cronjob_status_last_successful_time{namespace="quantstream", cronjob="postgres-backup"}'
BACKUP_MADE = 'kube_cronjob_created{namespace="quantstream", cronjob="postgres-backup"}'


def is_ready(pod: str) -> str:
    """The series that says whether a pod is ready."""
    return f'kube_pod_status_ready{{namespace="quantstream", pod="{pod}", condition="true"}}'


def available(deployment: str, namespace: str = "quantstream") -> str:
    """The series that says how many of a deployment are available."""
    return f'kube_deployment_status_replicas_available{{namespace="{namespace}", deployment="{deployment}"}}'


WELL: dict[str, str] = {
    **CLOCK,
    'quantstream_ingest_symbol_has_trades{symbol="BTCUSDT"}': "1x400",
    **{CONNECTIONS.format(*pod): "1x400" for pod in PODS},
    **{f'quantstream_ingest_shards{{pod="ingest-{pod}"}}': "2x400" for pod, _ in PODS},
    "quantstream_ingest_open_gaps": "0x400",
    "quantstream_ingest_mute_streams": "0x400",
    "quantstream_ingest_unproven_symbols": "0x400",
    "quantstream_ingest_symbols_set_aside": "0x400",
    "quantstream_ingest_used_weight": "900x400",
    "quantstream_ingest_feed_breaks_total": "0x400",
    'quantstream_ingest_feed_delay_seconds_bucket{le="0.1"}': RISE,
    'quantstream_ingest_feed_delay_seconds_bucket{le="+Inf"}': RISE,
    **{f"quantstream_{stage}_lag_records": "5x400" for stage in STAGES if stage != "ingest"},
    **{f"quantstream_{stage}_dead_letters_total": "3x400" for stage in STAGES if stage != "detect"},
    **{f"quantstream_{stage}_unbalanced_symbols": "0x400" for stage in STAGES},
    **{f'up{{job="{stage}", pod="{stage}-0"}}': "1x400" for stage in STAGES},
    'quantstream_aggregate_candle_closed_at_seconds{symbol="BTCUSDT"}': "99800+15x400",
    'quantstream_score_candle_closed_at_seconds{symbol="BTCUSDT"}': "99800+15x400",
    'quantstream_score_model_version{model="quantstream-signal"}': "4x400",
    'quantstream_score_model_swaps_total{outcome="swapped"}': "1x400",
    'quantstream_score_records_total{outcome="scored"}': RISE,
    'quantstream_score_records_total{outcome="abstained"}': "2x400",
    'quantstream_score_records_total{outcome="failed"}': "3x400",
    "quantstream_score_last_look": "0+15x400",
    "quantstream_detect_last_look": "0+15x400",
    "quantstream_score_lake_is_away": "0x400",
    'kubelet_volume_stats_used_bytes{namespace="quantstream", persistentvolumeclaim="lake"}': "30x400",
    'kubelet_volume_stats_capacity_bytes{namespace="quantstream", persistentvolumeclaim="lake"}': "100x400",
    'kafka_topic_partition_under_replicated_partition{namespace="quantstream", topic="t", partition="0"}': "0x400",
    'kafka_topic_partition_leader{namespace="quantstream", topic="t", partition="0"}': "1x400",
    'kube_pod_container_status_restarts_total{namespace="quantstream", pod="p", container="c"}': "7x400",
    **{f'{LATE}_bucket{{le="{edge}"}}': RISE for edge in ("2.0", "+Inf")},
    f"{LATE}_count": RISE,
    **{f'{SCORED}_bucket{{le="{edge}"}}': RISE for edge in ("1.0", "+Inf")},
    f"{SCORED}_count": RISE,
    CORRECTED: "4x400",
    **{available(name, "quantstream-airflow"): "1x400" for name in AIRFLOW},
    **{available(name): "2x400" for name in ("mlflow", "dashboard")},
    **{is_ready(pod): "1x400" for pod in (LOGINS, *INSTANCES, "objects-0", *BROKERS)},
    COLLECTED: "1x400",
    ARCHIVED.format("archived"): "100000+15x400",
    ARCHIVED.format("failed"): "-1x400",
    KEPT: "0x400",
    'kafka_brokers{namespace="quantstream"}': "3x400",
    BLIND: "0x400",
    CERTIFICATE: "8640000000x400",  # 100 days, ms
    BACKUP: "0x400",
    "quantstream_sink_proved_at_seconds": "3x400",
    "quantstream_sink_models_watched_at_seconds": "0+120x400",  # whenever it is asked for
    'quantstream_sink_model_live_loss{model="quantstream-risk"}': "1x400",
    'quantstream_sink_value_at_risk_broken{horizon="1h"}': "0x400",
    'quantstream_sink_model_loss_bound{model="quantstream-risk"}': "2x400",
    BACKUP_MADE: "0x400",
}


def slow(metric: str, more: str = "") -> dict[str, str | None]:
    """A histogram all of whose observations are above 10 s."""
    return {
        f'{metric}_bucket{{le="10"{more}}}': "0x400",
        f'{metric}_bucket{{le="30"{more}}}': RISE,
        f'{metric}_bucket{{le="+Inf"{more}}}': RISE,
    }


def late(metric: str, edge: str, share: float) -> dict[str, str | None]:
    """A histogram of which a share is above what is promised."""
    return {f'{metric}_bucket{{le="{edge}"}}': f"0+{15 * (1 - share)}x400", f"{metric}_count": RISE}


USED = 'kubelet_volume_stats_used_bytes{namespace="quantstream", persistentvolumeclaim="lake"}'
RESTARTS = 'kube_pod_container_status_restarts_total{namespace="quantstream", pod="p", container="c"}'
KILLED = 'kube_pod_container_status_last_terminated_reason{namespace="quantstream", pod="p", container="c", reason="OOMKilled"}'
# What differs from a system that is well, and the alerts that must then fire (others may).
SICK: dict[str, dict[str, str | None]] = {
    "FeedStalled": {MARKET_TIME.format(pod, 2): "100000+15x40 100600+0x360" for pod in (1, 3)},  # one part of two
    "FeedAbsent": dict.fromkeys(CLOCK),
    "ShardMissing": {MARKET_TIME.format(pod, 2): None for pod in (1, 3)},
    "FeedDisconnected": {CONNECTIONS.format(pod, 1): "0x400" for pod in (0, 2)},
    "FeedSlow": slow("quantstream_ingest_feed_delay_seconds")
    | {'quantstream_ingest_feed_delay_seconds_bucket{le="0.1"}': "0x400"},
    "FeedBreaks": {"quantstream_ingest_feed_breaks_total": "0+1x400"},
    "StreamMute": {"quantstream_ingest_mute_streams": "3x400"},
    "SilenceUnproven": {"quantstream_ingest_unproven_symbols": "5x400"},
    "SymbolSetAside": {"quantstream_ingest_symbols_set_aside": "1x400"},
    "GapsOpen": {"quantstream_ingest_open_gaps": "2x400"},
    "ExchangeWeight": {"quantstream_ingest_used_weight": "5000x400"},
    "ConsumerLag": {"quantstream_sink_lag_records": "20000x400"},
    "ConsumerLagGrows": {"quantstream_sink_lag_records": "0+6000x400"},
    "CandleAge": {'quantstream_aggregate_candle_closed_at_seconds{symbol="BTCUSDT"}': "99800x400"},
    "ScoreAge": {'quantstream_score_candle_closed_at_seconds{symbol="BTCUSDT"}': "99800x400"},
    "StageDelay": slow("quantstream_detect_delay_seconds"),
    "ScoreSlow": slow("quantstream_score_batch_seconds"),
    "BalanceOff": {"quantstream_detect_unbalanced_symbols": "0x200 1x200"},
    "DeadLetters": {"quantstream_sink_dead_letters_total": "0+1x400"},
    "LakeCommitSlow": slow("quantstream_sink_commit_seconds", ', table="trades"'),
    "ScorerWithoutChampion": {'quantstream_score_model_version{model="quantstream-signal"}': None},
    "ModelRefused": {'quantstream_score_model_swaps_total{outcome="refused"}': "0x250 1x150"},
    "ChampionsUnwatched": {"quantstream_detect_last_look": "0x400"},
    "ValueAtRiskBroken": {'quantstream_sink_value_at_risk_broken{horizon="1h"}': "1x400"},
    "ModelWorse": {'quantstream_sink_model_live_loss{model="quantstream-risk"}': "3x400"},
    "LakeAway": {"quantstream_score_lake_is_away": "1x400"},
    "RecordsGone": {'quantstream_sink_gone_records_total{job="sink"}': "0x250 7x150"},
    "PartitionsOrphaned": {'quantstream_sink_rebalances_total{job="sink", outcome="orphaned"}': "0x250 9x150"},
    "SymbolNotScored": {'quantstream_score_records_total{outcome="failed"}': "0x250 1x150"},
    "EverythingAbstains": {
        'quantstream_score_records_total{outcome="scored"}': "9x400",
        'quantstream_score_records_total{outcome="abstained"}': RISE,
    },
    "StageDown": {'up{job="sink", pod="sink-0"}': "0x400"},
    "StageMissing": {'up{job="sink", pod="sink-0"}': None},
    "Restarts": {RESTARTS: "7x250 8 9 10 11x147"},
    "OutOfMemory": {RESTARTS: "7x250 8x150", KILLED: "1x400"},
    "KafkaUnderReplicated": {
        'kafka_topic_partition_under_replicated_partition{namespace="quantstream", topic="t", partition="0"}': "1x400"
    },
    "KafkaWithoutLeader": {'kafka_topic_partition_leader{namespace="quantstream", topic="t", partition="0"}': "-1x400"},
    "SymbolWithoutCandles": {'quantstream_ingest_symbol_has_trades{symbol="SOLUSDT"}': "1x400"},
    "SymbolWithoutTrades": {'quantstream_ingest_symbol_has_trades{symbol="XYZUSDT"}': "0x400"},
    "CandlesLateFast": late(LATE, "2.0", 0.5),
    "CandlesLateSlow": late(LATE, "2.0", 0.005),
    "ScoresLateFast": late(SCORED, "1.0", 0.5),
    "ScoresLateSlow": late(SCORED, "1.0", 0.005),
    "CandlesCorrected": {CORRECTED: "4x250 7x150"},
    "AirflowDown": {available("airflow-scheduler", "quantstream-airflow"): None},
    "PostgresDown": {is_ready(LOGINS): "0x400"},
    "PostgresDegraded": {is_ready("databases-2"): "0x400"},
    "PostgresNotArchived": {ARCHIVED.format("archived"): "100000x400", ARCHIVED.format("failed"): "100000+15x400"},
    "PostgresBackupStale": {KEPT: "-100000x400"},
    "MlflowDown": {available("mlflow"): "0x400"},
    "ObjectStoreDown": {is_ready("objects-0"): None},
    "DashboardDown": {available("dashboard"): None},
    "BrokerDown": {is_ready("quantstream-brokers-1"): "0x400"},
    "ScalerBlind": {BLIND: "1x400"},
    "CertificateExpires": {CERTIFICATE: "864000000x400"},
    "BackupMissing": {BACKUP: None, BACKUP_MADE: None},
    "ExporterMissing": {CERTIFICATE: None},
    "VolumeFill": {USED: "85x400"},
    "VolumeFull": {USED: "95x400"},
}


def evaluated(name: str, changes: dict[str, str | None], expected: list[dict[str, Any]]) -> dict[str, Any]:
    series = {key: value for key, value in {**WELL, **changes}.items() if value is not None}
    query = f'count(ALERTS{{alertstate="firing"{", alertname=" + json.dumps(name) if name else ""}}})'
    return {
        "interval": "15s",
        "input_series": [{"series": key, "values": value} for key, value in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "70m", "exp_samples": expected}],
    }


def promtool_says(folder: Path, tests: list[dict[str, Any]], every: str = "2m") -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": GROUPS}))
    (folder / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": tests})
    )
    command = [promtool(), "test", "rules", "tests.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.slow
def test_nothing_fires_while_all_is_well_and_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    rare = {
        "ModelStale",
        "ModelsUnwatched",
        "BackupStale",
        "ProofStale",
        "ProofMissing",
    }  # look back for days: tried on their own below
    assert set(SICK) | rare == set(ALERTS)
    tests = [evaluated("", {}, [])]
    tests += [evaluated(name, changes, [{"labels": "{}", "value": 1}]) for name, changes in SICK.items()]
    run = promtool_says(tmp_path, tests)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("job", ["sink", "restored-sink"])
def test_a_stage_that_does_not_answer_is_told_of_a_second_system_too(tmp_path: Path, job: str) -> None:
    query = 'ALERTS{alertname="StageDown", alertstate="firing"}'
    told = {"labels": f'{query[:-1]}, job="{job}", pod="{job}-0", severity="critical"}}', "value": 1}
    series = {"series": f'up{{job="{job}", pod="{job}-0"}}', "values": "0x20"}
    check = {"expr": query, "eval_time": "10m", "exp_samples": [told]}
    run = promtool_says(tmp_path, [{"interval": "1m", "input_series": [series], "promql_expr_test": [check]}])
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_champion_of_a_week_is_stale(tmp_path: Path) -> None:
    weeks = {"series": 'quantstream_score_model_version{model="quantstream-signal"}', "values": "4x200"}
    query = 'ALERTS{alertname="ModelStale", alertstate="firing"}'
    stale = {"labels": f'{query[:-1]}, model="quantstream-signal", severity="warning"}}', "value": 1}
    test = {"interval": "1h", "input_series": [weeks]}
    checks = [
        {"expr": query, "eval_time": "6d", "exp_samples": []},
        {"expr": query, "eval_time": "171h", "exp_samples": [stale]},
    ]
    run = promtool_says(tmp_path, [test | {"promql_expr_test": checks}], every="1h")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("series", "fires_from"),
    [
        ({BACKUP_MADE: "0x60", BACKUP: "0x6 28800x54"}, 36),  # last at eight o'clock
        ({BACKUP_MADE: "0x60"}, 28),  # never
    ],
)
def test_a_backup_is_stale_two_hours_after_it_was_due(tmp_path: Path, series: dict[str, str], fires_from: int) -> None:
    query = 'count(ALERTS{alertname="BackupStale", alertstate="firing"})'
    checks = [
        {"expr": query, "eval_time": f"{fires_from - 3}h", "exp_samples": []},
        {"expr": query, "eval_time": f"{fires_from}h", "exp_samples": [{"labels": "{}", "value": 1}]},
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    run = promtool_says(tmp_path, [{"interval": "1h", "input_series": given, "promql_expr_test": checks}], every="1h")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("alert", "values", "fires_from"),
    [
        ("ProofStale", "3600x6 28800x60", 40),  # last at eight o'clock, so 30 hours are over at two of the next day
        ("ProofMissing", "0x60", 31),
    ],
)
def test_a_proof_is_stale_six_hours_after_it_was_due(tmp_path: Path, alert: str, values: str, fires_from: int) -> None:
    query = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    checks = [
        {"expr": query, "eval_time": f"{fires_from - 2}h", "exp_samples": []},
        {"expr": query, "eval_time": f"{fires_from}h", "exp_samples": [{"labels": "{}", "value": 1}]},
    ]
    given = [{"series": 'quantstream_sink_proved_at_seconds{pod="sink-0"}', "values": values}]
    run = promtool_says(tmp_path, [{"interval": "1h", "input_series": given, "promql_expr_test": checks}], every="1h")
    assert run.returncode == 0, run.stdout + run.stderr


def test_models_that_nobody_watches_are_told_of_after_some_hours(tmp_path: Path) -> None:
    query = 'count(ALERTS{alertname="ModelsUnwatched", alertstate="firing"})'
    checks = [
        {
            "expr": query,
            "eval_time": "12h",
            "exp_samples": [],
        },  # last watched at four o'clock: four hours, and four more
        {"expr": query, "eval_time": "14h", "exp_samples": [{"labels": "{}", "value": 1}]},
    ]
    given = [
        {"series": 'quantstream_sink_models_watched_at_seconds{pod="sink-0"}', "values": "0+3600x4 14400x20"},
        {"series": 'quantstream_score_model_version{model="quantstream-risk"}', "values": "1x30"},
    ]
    run = promtool_says(tmp_path, [{"interval": "1h", "input_series": given, "promql_expr_test": checks}], every="1h")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("share", "expected"), [(0.0009, 0), (0.005, 1), (0.02, 2)])
def test_a_budget_that_is_kept_is_quiet_and_one_that_burns_fast_tells_both_ways(
    tmp_path: Path, share: float, expected: int
) -> None:
    samples = [{"labels": "{}", "value": expected}] if expected else []
    test = evaluated("", late(LATE, "2.0", share), samples)
    assert promtool_says(tmp_path, [test]).returncode == 0


def test_a_minute_of_late_candles_after_a_good_day_wakes_nobody(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {f'{LATE}_bucket{{le="2.0"}}': "0+15x388 5820x8", f"{LATE}_count": "0+15x400"}
    run = promtool_says(tmp_path, [evaluated("CandlesLateFast", changes, [])])
    assert run.returncode == 0, run.stdout + run.stderr


def test_numbers_that_rules_name_are_those_that_are_rendered() -> None:
    objects = render("prod")
    nodes = sum(named(objects, "KafkaNodePool", name)["spec"]["replicas"] for name in ("brokers", "controllers"))
    assert f"< {nodes}\n" in ALERTS["BrokerDown"]["expr"]
    deployments = {one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"}
    assert {*AIRFLOW, "mlflow", "dashboard"} <= deployments
    stateful = {one["metadata"]["name"] for one in objects if one["kind"] == "StatefulSet"}
    assert "objects" in stateful
    assert "postgres-logins" in deployments
    instances = named(objects, "Cluster", "databases")["spec"]["instances"]
    assert f"< {instances}\n" in ALERTS["PostgresDegraded"]["expr"]
    assert re.fullmatch(r"0 \d+ \d+ \* \* \*", named(objects, "ScheduledBackup", "databases")["spec"]["schedule"])
    backups = [one for one in objects if one["kind"] == "CronJob" and "backup" in one["metadata"]["name"]]
    assert backups
    for one in backups:
        assert re.fullmatch(r"\d+ \d+ \* \* \*", one["spec"]["schedule"])  # each day: 26 hours are two too many
        assert one["metadata"]["namespace"].startswith("quantstream")


def test_what_is_promised_is_an_edge_that_the_stages_print() -> None:
    expressions = "".join(rule["expr"] for rule in RECORDED.values())
    edges = set(re.findall(r'le="([^"]+)"', expressions))
    assert edges == {"1.0", "2.0"}
    assert edges <= {str(float(edge)) for edge in DELAY_BUCKETS}


def test_nothing_waits_for_a_lag_of_none() -> None:
    """A partition read to its end keeps a lag of 1, the marker of its last transaction (KEDA's issue 5675)."""
    for place, expression in QUERIES:
        if "lag" in expression:
            assert not re.search(r"lag\w*[^<>=]*(==|<=|<|>|!=|>=)\s*[01]\b", expression), place
    for scaler in (one for one in render("prod") if one["kind"] == "ScaledObject"):
        assert scaler["spec"]["minReplicaCount"] >= 1  # so no scaler waits for 0 either
        for trigger in scaler["spec"]["triggers"]:
            most = scaler["spec"]["maxReplicaCount"]
            threshold = trigger["metadata"].get("lagThreshold") or trigger["metadata"]["targetValue"]
            assert int(threshold) > 2 * most  # markers alone, one a partition, ask for no pod
    limits = dict(
        re.findall(r"^(lag-\w+)\|(\d+)\|", (ROOT / "infra/monitor/parts/usage.bash").read_text(), re.MULTILINE)
    )
    assert all(int(value) > 100 for value in limits.values())


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    assert promtool_says(tmp_path, [evaluated("VolumeFull", {}, [{"labels": "{}", "value": 1}])]).returncode != 0
