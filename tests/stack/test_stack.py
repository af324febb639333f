"""The whole path as its user meets it: one command up, models trained and live, a kill healed, a retrain swapped in, down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.embedded.airflow.api import AirflowApi
from infra.embedded.free_ports import free_ports
from ml.serving.registry import Registry
from quantstream.kafka import Reader
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Score, decode
from quantstream.messages.topics import SCORES
from quantstream.settings import Kafka

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
CHAMPIONS = {f"quantstream-{kind}" for kind in ("forecast", "signal", "risk", "anomaly")}
STAGES = ("ingest", "aggregate", "detect", "sink", "score")
KILLED = (*STAGES, "exchange", "dashboard", "broker")


class Cli:
    """`quantstream` as a person types it, on one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.greeting = ""  # what the start said

    def __call__(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
        command = [str(Path(sys.executable).with_name("quantstream")), *arguments, "--state", str(self.state)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, check=False)

    def status(self) -> dict[str, Any]:
        answer = self("status", "--json")
        assert answer.returncode in (0, 1), answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cli = Cli(tmp_path_factory.mktemp("stack") / "state")
    try:
        up = start(cli)
        assert up.returncode == 0, up.stdout + up.stderr
        assert "Traceback" not in up.stdout + up.stderr
        cli.greeting = up.stdout[-2000:]
        yield cli
    finally:
        down = cli("down")
    assert down.returncode == 0, down.stderr
    assert [process for process in psutil.process_iter() if mentions(process, cli.state)] == []


def start(cli: Cli, tries: int = 3) -> subprocess.CompletedProcess[str]:
    """Start the stack on free ports; on others where somebody took one of them between the choice and the start."""
    for _ in range(tries):
        pages = zip(("dashboard", "airflow", "mlflow"), free_ports(3), strict=True)
        named = [part for page, port in pages for part in (f"--{page}-port", str(port))]
        up = cli("up", "--detach", "--wait", "--symbols", "BTCUSDT,ETHUSDT", "--seed", "5", *named, timeout=600)
        if "is taken by" not in up.stderr:
            break
    return up


def mentions(process: psutil.Process, state: Path) -> bool:
    try:
        return str(state) in " ".join(process.cmdline()) or process.environ().get("QUANTSTREAM_STATE") == str(state)
    except psutil.Error:
        return False


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, "it did not come to that in time"
        time.sleep(0.5)
    return time.monotonic() - started


def scores_of(stack: Cli) -> list[Score]:
    """Every score in the topic, straight from the broker."""
    kafka = Kafka(bootstrap=json.loads((stack.state / "stack.json").read_text())["kafka"])
    reader = Reader(kafka)
    found: list[Score] = []
    try:
        for partition in range(SCORES.partitions):
            _, end = reader.ends(SCORES.name, partition)
            reader.assign({(SCORES.name, partition): 0})
            while reader.positions().get((SCORES.name, partition), 0) < end:
                found += [decode(message.value() or b"", Score) for message in reader.poll(0.5)]
    finally:
        reader.close()
    return found


def test_the_champions_are_trained_and_score_live_candles(stack: Cli) -> None:
    answers: list[dict[str, Any]] = []

    def is_told() -> bool:
        answers.append(stack.status())  # a busy MLflow may be too late for one answer, and status says so
        return set(answers[-1]["models"]) == CHAMPIONS or "MLflow" not in " ".join(answers[-1].get("notes", ()))

    wait_for(is_told, 60)
    status = answers[-1]
    assert set(status["models"]) == CHAMPIONS, stack.greeting
    assert {model["alias"] for model in status["models"].values()} == {"champion"}
    assert {name: process["state"] for name, process in status["processes"].items()} == dict.fromkeys(
        status["processes"], "running"
    )
    assert set(status["symbols"]) == {"BTCUSDT", "ETHUSDT"}
    assert all(symbol["candles"] > 10_000 for symbol in status["symbols"].values())
    wait_for(lambda: any(set(score.models) == CHAMPIONS for score in scores_of(stack)), 90)
    whole = next(score for score in scores_of(stack) if set(score.models) == CHAMPIONS)
    assert whole.signal is not None
    assert [forecast.horizon for forecast in whole.forecasts] == ["5m", "15m", "1h"]
    assert whole.risk is not None
    assert 0 <= whole.risk <= 100


def test_a_model_retrained_in_airflow_is_served_within_ten_seconds_of_its_promotion(stack: Cli) -> None:
    about = json.loads((stack.state / "stack.json").read_text())
    secret = json.loads(Path(about["airflow_password_file"]).read_text())
    airflow = AirflowApi(about["urls"]["airflow"], secret["admin"])
    registry = Registry(about["urls"]["mlflow"])
    before = registry.champions()
    pid = stack.status()["processes"]["score"]["pid"]
    run = airflow.trigger("models_train", {"models": ["signal", "risk", "anomaly"]})
    wait_for(lambda: registry.champions() != before or airflow.run("models_train", run).is_finished, 240)
    after = registry.champions()
    assert after != before, [airflow.log("models_train", run, task)[-1:] for task in airflow.tasks("models_train", run)]
    name = next(name for name in after if after[name] != before[name])
    log = stack.state / "logs" / "score.log"
    assert wait_for(lambda: f"{name} {after[name]} serves now" in log.read_text(), 20) < 10
    wait_for(lambda: any(score.models.get(name) == after[name] for score in scores_of(stack)), 60)
    wait_for(lambda: airflow.run("models_train", run).is_finished, 120)
    assert stack.status()["processes"]["score"]["pid"] == pid
    assert_each_candle_is_scored_once(stack)


def assert_each_candle_is_scored_once(stack: Cli) -> None:
    scores = scores_of(stack)
    counts = Counter((score.symbol, score.opened_at) for score in scores)
    assert set(counts.values()) == {1}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        times = sorted(at for name, at in counts if name == symbol)
        assert times == list(range(times[0], times[-1] + 1, 300_000_000))


def test_any_killed_process_is_healed_and_nothing_is_lost(stack: Cli) -> None:
    for name in KILLED:
        before = stack.status()["processes"][name]
        os.kill(before["pid"], signal.SIGKILL)
        wait_for(
            lambda name=name, pid=before["pid"]: healed(stack, name, pid),  # type: ignore[misc]
            90,
        )
    stack_now = stack.status()
    assert all(stack_now["processes"][name]["restarts"] >= 1 for name in KILLED)
    seen = len(scores_of(stack))
    wait_for(lambda: len(scores_of(stack)) >= seen + 4, 90)
    assert_each_candle_is_scored_once(stack)
    lake = Lake(str(stack.state / "lake"))
    live = lake.read("candles", columns=["symbol", "opened_at", "source", "revision"]).to_pandas()
    live = live[live["source"] == "trades"]
    assert not live.duplicated(["symbol", "opened_at", "revision"]).any()
    ids = lake.read("trades", ["BTCUSDT"], columns=["symbol", "traded_at", "id"])["id"].to_pylist()
    assert sorted(ids) == list(range(min(ids), max(ids) + 1))


def healed(stack: Cli, name: str, old_pid: int) -> bool:
    process = stack.status()["processes"][name]
    return bool(process["ready"]) and process["pid"] not in (None, old_pid)


def test_a_second_up_says_that_it_runs_already(stack: Cli) -> None:
    again = stack("up", "--detach")
    assert again.returncode == 0
    assert "already" in again.stdout.lower()


def test_the_page_shows_the_market_and_the_champions_verdict(stack: Cli, tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    from tests.browser.conftest import BROWSERS, QUIET

    url = stack.status()["urls"]["dashboard"]
    program = next(path for name in BROWSERS for path in [find(name)] if path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        expect(page.get_by_text("BTCUSDT").first).to_be_visible(timeout=60_000)
        expect(page.locator("canvas").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("risk", exact=False).first).to_be_visible(timeout=60_000)
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()


def find(name: str) -> str | None:
    import shutil

    return shutil.which(name)
