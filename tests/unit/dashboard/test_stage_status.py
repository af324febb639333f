"""What the page knows of the stages, from their own answers."""

from __future__ import annotations

import json

import pytest

from dashboard.stage_status import Sample, Stage, Stages, read_addresses
from quantstream.core.errors import Unavailable
from quantstream.observability.health import Health, HealthServer
from quantstream.observability.metrics import Metrics
from quantstream.observability.metrics_page import parse_metrics


def page(forwarded: float, duplicates: float = 0, delay: tuple[float, float] = (0, 0), lag: float = 0) -> str:
    return (
        "# TYPE quantstream_ingest_records counter\n"
        f'quantstream_ingest_records_total{{outcome="forwarded"}} {forwarded}\n'
        f'quantstream_ingest_records_total{{outcome="duplicate"}} {duplicates}\n'
        "# TYPE quantstream_ingest_delay_seconds histogram\n"
        f'quantstream_ingest_delay_seconds_bucket{{le="+Inf"}} {delay[0]}\n'
        f"quantstream_ingest_delay_seconds_count {delay[0]}\nquantstream_ingest_delay_seconds_sum {delay[1]}\n"
        f"# TYPE quantstream_ingest_lag_records gauge\nquantstream_ingest_lag_records {lag}\n"
    )


def stage(*pages: tuple[float, str]) -> Stage:
    return Stage("ingest", "ready", "", tuple(Sample(at, parse_metrics(text)) for at, text in pages))


def test_rates_are_increases_over_the_samples() -> None:
    found = stage((0.0, page(100, 5)), (4.0, page(300, 9)))
    assert found.rate("records_total", outcome="forwarded") == 50.0
    assert found.rate("records_total") == 51.0
    assert found.value("records_total", outcome="duplicate") == 9.0


def test_a_restarted_stage_counts_from_zero() -> None:
    assert stage((0.0, page(100)), (4.0, page(20))).rate("records_total", outcome="forwarded") == 5.0


def test_one_sample_or_none_has_no_rate() -> None:
    assert stage((0.0, page(100))).rate("records_total") is None
    assert (stage().rate("records_total"), stage().value("lag_records")) == (None, None)


def test_the_mean_delay_is_of_the_last_records_only() -> None:
    assert stage((0.0, page(0, delay=(10, 100.0))), (2.0, page(0, delay=(30, 101.0)))).mean_delay() == pytest.approx(
        0.05
    )
    assert stage((0.0, page(0)), (2.0, page(0))).mean_delay() is None


@pytest.fixture
def stack_file(tmp_path):
    path = tmp_path / "stack.json"
    ports = {"ingest": 1, "sink": 2, "score": 4, "broker": None, "mlflow": None, "exchange": None}
    urls = {"mlflow": "http://ml", "airflow": "http://air"}
    airflow = dict.fromkeys(("airflow-api", "airflow-scheduler", "airflow-triggerer"))
    processes = {name: {"http_port": port} for name, port in (ports | airflow).items()}
    path.write_text(json.dumps({"urls": urls, "processes": processes}))
    return path


def test_every_process_is_ready_not_ready_down_or_unasked(stack_file) -> None:
    answers = {
        "http://127.0.0.1:1/readyz": (200, "ready"),
        "http://127.0.0.1:1/metrics": (200, page(7, lag=3)),
        "http://127.0.0.1:4/readyz": (503, "waiting for a model"),
        "http://127.0.0.1:4/metrics": (200, ""),
        "http://ml/health": (200, "OK"),
        "http://air/api/v2/monitor/health": (
            200,
            '{"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}',
        ),
    }

    def fetch(url: str) -> tuple[int, str]:
        if url not in answers:
            raise Unavailable(f"nobody answers at {url}")
        return answers[url]

    stages = Stages(stack_file, fetch, clock=lambda: 1.0)
    stages.turn()
    assert [(s.name, s.state, s.reason) for s in stages.all()] == [
        ("ingest", "ready", ""),
        ("sink", "down", "nobody answers at http://127.0.0.1:2/readyz"),
        ("score", "not ready", "waiting for a model"),
        ("broker", "unasked", ""),
        ("mlflow", "ready", ""),
        ("exchange", "unasked", ""),
        ("airflow-api", "ready", ""),
        ("airflow-scheduler", "ready", ""),
        ("airflow-triggerer", "not ready", "unhealthy"),
    ]
    assert (stages.lag(), stages.trades_per_second(), stages.get("nobody").state) == (3.0, None, "unasked")


def test_trades_per_second_are_live_and_repaired_ones(tmp_path) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"processes": {"ingest": {"http_port": 1}}}))
    clock, texts = iter((0.0, 2.0)), iter(("", page(100), "", page(160)))
    stages = Stages(path, lambda _: (200, next(texts)), lambda: next(clock))
    stages.turn()
    stages.turn()
    assert stages.trades_per_second() == 30.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "no stack is described here"), ("{", "does not describe a stack"), ("[]", "does not describe")],
)
def test_without_a_readable_description_it_says_so(tmp_path, text: str | None, sentence: str) -> None:
    path = tmp_path / "stack.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Unavailable, match=sentence):
        read_addresses(path)


def test_a_real_stage_is_understood(tmp_path) -> None:
    metrics, health = Metrics("ingest"), Health()
    metrics.lag.set(12)
    metrics.records.labels("forwarded").inc(5)
    with HealthServer(health, metrics, host="127.0.0.1") as server:
        path = tmp_path / "stack.json"
        path.write_text(json.dumps({"processes": {"ingest": {"http_port": server.port}}}))
        stages = Stages(path)
        stages.turn()
        found = stages.get("ingest")
        assert (found.state, found.reason, stages.lag()) == ("not ready", "starting", 12.0)
        assert found.value("records_total", outcome="forwarded") == 5.0
        health.ready()
        stages.turn()
        assert stages.get("ingest").state == "ready"
    stages.turn()
    assert stages.get("ingest").state == "down"
