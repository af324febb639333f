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
from urllib.request import urlopen

import pyarrow.parquet
import pytest

from quantstream.lake import Lake
from quantstream.settings import Kafka
from quantstream.tables import CANDLE_FIELDS
from streaming.offline import write_candles

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

    def start(self, stage: str) -> None:
        log = (self.folder / f"{stage}.log").open("ab")
        command = [sys.executable, "-m", "streaming", stage]
        self.running[stage] = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

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
def processes(tmp_path: Path, fresh_broker: Kafka) -> Iterator[Processes]:
    started = Processes(tmp_path, fresh_broker)
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
    processes.exchange(*recordings, "--speed", "40")
    for stage in ("aggregate", "sink", "ingest"):
        processes.start(stage)
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows == 4 and lake.read("trades").num_rows == 15_863)
    write_candles(files, tmp_path / "offline.parquet")
    offline = pyarrow.parquet.read_table(tmp_path / "offline.parquet").to_pylist()
    names = [name for name, _ in CANDLE_FIELDS]
    live = lake.candles().select(names).to_pylist()
    assert live == [row for row in offline if (row["symbol"], row["opened_at"]) in {key(row) for row in live}]
    assert len(live) == 4


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
    ids = lake.read("trades", ["BTCUSDT"], columns=["symbol", "traded_at", "id"])["id"].to_pylist()
    assert sorted(ids) == list(range(min(ids), max(ids) + 1))
