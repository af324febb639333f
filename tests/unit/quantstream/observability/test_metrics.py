"""Health is progress: a loop that stops turning is not alive, and ends."""

from __future__ import annotations

import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from quantstream.observability.health import STALLED_AFTER, Health, HealthServer, end_when_stalled
from quantstream.observability.metrics import Metrics


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_liveness_is_the_turning_of_the_loop() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    with HealthServer(health, Metrics("sink"), host="127.0.0.1") as server:
        assert ask(server.port, "/healthz") == (200, "ok")
        now[0] = STALLED_AFTER
        assert ask(server.port, "/healthz") == (503, "stalled")
        health.beat()
        assert ask(server.port, "/healthz") == (200, "ok")


def test_readiness_is_what_the_stage_says_with_its_reason() -> None:
    health = Health()
    with HealthServer(health, Metrics("sink"), host="127.0.0.1") as server:
        assert ask(server.port, "/readyz") == (503, "starting")
        health.ready()
        assert ask(server.port, "/readyz") == (200, "ready")
        health.not_ready("no Kafka broker answers")
        assert ask(server.port, "/readyz") == (503, "no Kafka broker answers")
        assert ask(server.port, "/nothing")[0] == 404


def test_metrics_are_prometheus_text_under_the_stages_name() -> None:
    metrics = Metrics("sink")
    metrics.records.labels("trades").inc(3)
    with HealthServer(Health(), metrics, host="127.0.0.1") as server:
        status, text = ask(server.port, "/metrics")
    assert status == 200
    assert 'quantstream_sink_records_total{outcome="trades"} 3.0' in text


def test_a_symbols_gauge_is_printed_as_any_other() -> None:
    metrics = Metrics("score")
    with HealthServer(Health(), metrics, host="127.0.0.1") as server:
        assert "candle_closed_at_seconds{" not in ask(server.port, "/metrics")[1]
        metrics.candle_closed_at.values |= {"BTCUSDT": 1_754_006_700.0, 'odd"\n': 1.0}
        lines = ask(server.port, "/metrics")[1].splitlines()
    assert "# TYPE quantstream_score_candle_closed_at_seconds gauge" in lines
    assert 'quantstream_score_candle_closed_at_seconds{symbol="BTCUSDT"} 1.7540067e+09' in lines
    assert 'quantstream_score_candle_closed_at_seconds{symbol="odd\\"\\n"} 1.0' in lines


def test_a_loop_that_hangs_is_ended() -> None:
    now, ended = [0.0], threading.Event()
    thread = end_when_stalled(Health(lambda: now[0]), ended.set, every=0.001)
    assert not ended.is_set()
    now[0] = STALLED_AFTER
    thread.join(5)
    assert ended.is_set()


def test_two_stages_in_one_process_do_not_share_numbers() -> None:
    first, second = Metrics("a"), Metrics("a")
    first.dead.inc()
    assert second.registry.get_sample_value("quantstream_a_dead_letters_total") == pytest.approx(0)


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    server = HealthServer(Health(), Metrics("sink"))
    with server:
        assert server._server.server_address[0] == "127.0.0.1"


def test_a_process_that_was_stopped_as_a_whole_does_not_hang_and_one_that_hangs_is_ended_all_the_same() -> None:
    now, ended, slept = [0.0], threading.Event(), list[float]()
    health = Health(lambda: now[0])

    def sleep(seconds: float) -> None:
        slept.append(40.0 if len(slept) in (3, 5) else seconds)  # the third and the fifth time it is stopped
        now[0] += slept[-1]

    end_when_stalled(health, ended.set, clock=lambda: now[0], sleep=sleep).join(30)
    assert ended.is_set()
    assert slept.count(40.0) == 2
    assert sum(slept) == STALLED_AFTER + 2 * 39  # it turned in none of them


def test_a_delay_is_counted_for_as_many_as_shared_it() -> None:
    metrics = Metrics("aggregate")
    delays = metrics.delays("candle_lateness_seconds", "from a candle's close to its commit")
    delays.observe(0.3, 1_999)
    delays.observe(2.0, 3)
    delays.observe(90.0)
    with HealthServer(Health(), metrics, host="127.0.0.1") as server:
        lines = ask(server.port, "/metrics")[1].splitlines()
    found = dict(
        line.rsplit(" ", 1) for line in lines if line.startswith("quantstream_aggregate_candle_lateness_seconds")
    )
    name = "quantstream_aggregate_candle_lateness_seconds"
    assert [found[f'{name}_bucket{{le="{edge}"}}'] for edge in ("0.25", "0.5", "1.0", "2.0", "60.0", "+Inf")] == [
        *("0.0", "1999.0", "1999.0", "2002.0", "2002.0", "2003.0")
    ]
    assert (found[f"{name}_count"], float(found[f"{name}_sum"])) == ("2003.0", 0.3 * 1_999 + 2.0 * 3 + 90.0)
    assert f"# TYPE {name} histogram" in lines
