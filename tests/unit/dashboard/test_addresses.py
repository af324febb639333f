"""Where the health page finds the pods of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.addresses import parse_stages, pod_addresses
from dashboard.stage_status import Stages
from quantstream.core.errors import Misconfigured

METRICS = "# TYPE quantstream_score_lag_records gauge\nquantstream_score_lag_records {}\n"


def test_a_stage_is_asked_for_readiness_and_a_server_where_it_says() -> None:
    assert parse_stages("ingest=http://ingest:8000, mlflow=http://mlflow:5000/health") == {
        "ingest": "http://ingest:8000/readyz",
        "mlflow": "http://mlflow:5000/health",
    }


@pytest.mark.parametrize("text", ["ingest", "=http://a:1", "ingest=ftp://a:1", "ingest=http://"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(Misconfigured, match="is not NAME=http://HOST:PORT"):
        parse_stages(text)


def test_each_pod_behind_a_name_is_asked_on_its_own() -> None:
    found = pod_addresses({"score": "http://score:8000/readyz"}, lambda host, port: ["10.0.0.3", "10.0.0.4"])
    assert found == {"score": "http://10.0.0.3:8000/readyz", "score/2": "http://10.0.0.4:8000/readyz"}


def test_a_name_that_is_unknown_now_is_still_listed() -> None:
    assert pod_addresses({"score": "http://score:8000/readyz"}, lambda host, port: []) == {
        "score": "http://score:8000/readyz"
    }


def test_replicas_metrics_are_read_under_their_stages_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, str]:
        asked.append(url)
        return 200, METRICS.format(7) if url.endswith("/metrics") else "ready"

    stages = Stages(
        tmp_path / "stack.json", fetch, lambda: 1.0, "score=http://127.0.0.1:8000,score/2=http://127.0.0.1:8001"
    )
    stages.turn()
    assert [(one.name, one.state, one.value("lag_records")) for one in stages.all()] == [
        ("score", "ready", 7.0),
        ("score/2", "ready", 7.0),
    ]
    assert stages.lag() == 14.0
