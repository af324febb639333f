"""The stages as processes against the simulated exchange: WebSocket to Kafka to the lake, real input, killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pyarrow.parquet
import pytest

from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_port
from quantstream.binance.feed import MAX_WAITING
from quantstream.binance.rest import BlockingRest
from quantstream.kafka import ensure_topics
from quantstream.lake.schemas import CANDLE_FIELDS
from quantstream.lake.store import Lake
from quantstream.observability.metrics_page import parse_metrics, total
from quantstream.settings import Kafka
from streaming.ingest.trade_log import MAX_QUEUED
from streaming.offline.candles import write_candles
from streaming.reconcile.verify import Exchange, verify

pytestmark = pytest.mark.broker


class Processes:
    """Starts stages as their pods would, and ends them by pid."""

    def __init__(self, folder: Path, kafka: Kafka) -> None:
        self.folder, self.running = folder, {}  # type: ignore[var-annotated]
        self.env = {
            **os.environ,
            "QUANTSTREAM_STATE": str(folder),
            "QUANTSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "QUANTSTREAM_SINK_COMMIT_MS": "500",
            "QUANTSTREAM_LOG_FORMAT": "json",
        }

    def exchange(self, *arguments: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "streaming", "simulate", *arguments], stdout=subprocess.PIPE, text=True
        )
        self.running["exchange"] = process
        assert process.stdout
        addresses = json.loads(process.stdout.readline())
        self.env |= {
            "QUANTSTREAM_ENDPOINTS__WS": addresses["ws"],
            "QUANTSTREAM_ENDPOINTS__REST": addresses["rest"],
        }
        return str(addresses["rest"])

    def start(self, stage: str, replica: str = "", **env: str) -> None:
        log = (self.folder / f"{stage}{replica}.log").open("ab")
        own = {**self.env, **env}
        self.running[stage + replica] = subprocess.Popen(self.argv(stage), env=own, stdout=log, stderr=log)

    def argv(self, stage: str) -> list[str]:
        return [sys.executable, "-m", "streaming", stage]

    def kill(self, stage: str) -> None:
        self.running[stage].send_signal(signal.SIGKILL)
        self.running[stage].wait()

    def stop(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            process.wait(30)


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A broker of the test's own, as a process that it can stop."""
    port = free_port()
    with local_broker.running(tmp_path / "broker", port) as process:
        process.bootstrap = f"127.0.0.1:{port}"  # type: ignore[attr-defined]  # the processes are told where it is
        ensure_topics(Kafka(bootstrap=f"127.0.0.1:{port}"))
        yield process


@pytest.fixture
def processes(tmp_path: Path, broker_process: subprocess.Popen[bytes]) -> Iterator[Processes]:
    started = Processes(tmp_path, Kafka(bootstrap=broker_process.bootstrap))  # type: ignore[attr-defined]
    yield started
    started.stop()


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.25)


def test_a_recording_played_through_the_live_path_equals_the_offline_candles(
    processes: Processes, data: Path, tmp_path: Path
) -> None:
    files = [data / "ws_frames" / f"spot_{name}_20240808.gz" for name in ("btcusdt", "ethusdt")]
    recordings = [part for file in files for part in ("--recording", str(file))]
    processes.env["QUANTSTREAM_SYMBOLS"] = "BTCUSDT,ETHUSDT"
    rest = processes.exchange(*recordings, "--speed", "40")
    for stage in ("aggregate", "sink", "ingest"):
        processes.start(stage)
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows == 4 and lake.read("trades").num_rows == 15_863, 180)
    write_candles(files, tmp_path / "offline.parquet")
    offline = pyarrow.parquet.read_table(tmp_path / "offline.parquet").to_pylist()
    names = [name for name, _ in CANDLE_FIELDS]
    live = lake.candles().select(names).to_pylist()
    assert live == [row for row in offline if (row["symbol"], row["opened_at"]) in {key(row) for row in live}]
    assert len(live) == 4
    proof = verify(lake, Exchange(BlockingRest(f"{rest}/api/v3")), ["BTCUSDT", "ETHUSDT"])
    found = {name: proof.total(name) for name in ("equal", "incomplete", "different", "missing", "duplicate")}
    assert found == {"equal": 2, "incomplete": 2, "different": 0, "missing": 0, "duplicate": 0}  # it begins in a window
    assert proof.not_compared == []


def key(row: dict[str, object]) -> tuple[object, object]:
    return row["symbol"], row["opened_at"]


def test_killed_stages_lose_and_repeat_nothing(processes: Processes, tmp_path: Path) -> None:
    processes.env["QUANTSTREAM_SYMBOLS"] = "BTCUSDT,ETHUSDT"
    rest = processes.exchange("--symbols", "BTCUSDT,ETHUSDT", "--speed", "60", "--history-days", "2", "--seed", "7")
    stages = ("aggregate", "sink", "ingest")
    for stage in stages:
        processes.start(stage)
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 4)
    for stage in stages:
        processes.kill(stage)
        processes.start(stage)
        seen = lake.candles().num_rows
        wait_for(lambda seen=seen: lake.candles().num_rows >= seen + 4)  # type: ignore[misc]
    assert_equals_the_exchange(lake, rest)


def assert_equals_the_exchange(lake: Lake, rest: str, symbol: str = "BTCUSDT") -> None:
    """Every candle equals its kline, none is there twice, and no trade is missing or repeated."""
    rows = lake.candles().to_pylist()
    assert lake.read("candles").num_rows == len(rows)
    for row in rows:
        start = int(row["opened_at"].timestamp() * 1000)
        url = f"{rest}/api/v3/klines?symbol={row['symbol']}&interval=5m&startTime={start}&limit=1"
        with urlopen(url) as answer:
            (kline,) = json.loads(answer.read())
        mine = [row[name] for name in ("open", "high", "low", "close", "volume")]
        assert [str(value) for value in mine] == kline[1:6]
        assert (row["trade_count"], row["is_complete"], kline[0]) == (kline[8], True, start)
        assert float(row["quote_volume"]) == float(kline[7])
    ids = lake.read("trades", [symbol], columns=["symbol", "traded_at", "id"])["id"].to_pylist()
    assert sorted(ids) == list(range(min(ids), max(ids) + 1))


def test_two_replicas_of_ingest_share_the_work_and_one_goes_on_without_the_other(
    processes: Processes, tmp_path: Path
) -> None:
    processes.env["QUANTSTREAM_SYMBOLS"] = "BTCUSDT,ETHUSDT"
    rest = processes.exchange("--symbols", "BTCUSDT,ETHUSDT", "--speed", "60", "--history-days", "1", "--seed", "8")
    for stage in ("aggregate", "sink", "ingest"):
        processes.start(stage)
    processes.start("ingest", "2")
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 4)
    for replica in ("", "2"):
        processes.kill("ingest" + replica)
        seen = lake.candles().num_rows
        wait_for(lambda seen=seen: lake.candles().num_rows >= seen + 4)  # type: ignore[misc]
        processes.start("ingest", replica)
    assert_equals_the_exchange(lake, rest)


def test_streams_that_are_mute_for_25_minutes_leave_no_trace_in_the_lake(processes: Processes, tmp_path: Path) -> None:
    processes.env["QUANTSTREAM_SYMBOLS"] = "BTCUSDT,ETHUSDT"
    rest = processes.exchange("--symbols", "BTCUSDT,ETHUSDT", "--speed", "60", "--history-days", "1", "--seed", "11")
    for stage in ("aggregate", "sink"):
        processes.start(stage)
    processes.start("ingest", QUANTSTREAM_HTTP_PORT=str(port := free_port()))
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 4)
    order = json.dumps({"kind": "mute", "count": 1, "seconds": 1500}).encode()
    urlopen(Request(f"{rest}/control/faults", order, method="POST")).close()
    wait_for(lambda: sample(port, "quantstream_ingest_mute_streams") == 2)
    wait_for(lambda: sample(port, "quantstream_ingest_mute_streams") == 0)
    seen = lake.candles().num_rows
    wait_for(lambda: lake.candles().num_rows >= seen + 4)
    assert_equals_the_exchange(lake, rest)  # and no candle was ever published otherwise


def test_a_broker_that_stands_still_costs_no_trade_and_no_memory(
    processes: Processes, tmp_path: Path, broker_process: subprocess.Popen[bytes]
) -> None:
    processes.env |= {"QUANTSTREAM_SYMBOLS": "BTCUSDT,ETHUSDT", "QUANTSTREAM_HTTP_PORT": "0"}
    market = ("--symbols", "BTCUSDT,ETHUSDT", "--speed", "60", "--history-days", "1", "--seed", "9")
    rest = processes.exchange(*market, "--trades-per-second", "50")
    processes.start("ingest", QUANTSTREAM_HTTP_PORT=str(port := free_port()))
    wait_for(lambda: sample(port, "quantstream_ingest_records_total", outcome="forwarded") > 2_000)
    before = psutil.Process(processes.running["ingest"].pid).memory_info().rss
    os.kill(broker_process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: sample(port, "quantstream_ingest_queued_records") >= MAX_QUEUED)
        for _ in range(10):
            time.sleep(0.2)
            assert sample(port, "quantstream_ingest_queued_records") < MAX_QUEUED + 2 * MAX_WAITING
        grown = psutil.Process(processes.running["ingest"].pid).memory_info().rss - before
        assert grown < 200e6
    finally:
        os.kill(broker_process.pid, signal.SIGCONT)
    wait_for(lambda: sample(port, "quantstream_ingest_queued_records") < 1_000)
    processes.start("aggregate")
    processes.start("sink")
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 4, 120)
    assert_equals_the_exchange(lake, rest)


def sample(port: int, name: str, **labels: str) -> float:
    """Return a metric of a stage, 0 while it does not answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return total(parse_metrics(answer.read().decode()), name, **labels) or 0.0
    except OSError:
        return 0.0
