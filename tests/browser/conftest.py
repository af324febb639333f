"""The page in a real browser: a real broker and lake filled with a small market, stages that answer, streamlit, Chromium."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from infra.embedded.broker import free_port
from quantstream.lake.store import Lake
from quantstream.observability.health import Health, HealthServer
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
STAGES = ("ingest", "aggregate", "detect", "sink", "score")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 30_000


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Market: Any = _load("market").Market  # tests are imported by path, so a neighbour has no name


@dataclass
class Site:
    """A running dashboard, the market it shows, and what else a test may want to touch."""

    url: str
    market: Any
    state: Path
    health: dict[str, Health] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)


@contextmanager
def running_dashboard(state: Path, kafka: Kafka, **overrides: str) -> Iterator[str]:
    """Run streamlit as the stack does, on a free port, until the block ends; `overrides` are further settings."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("QUANTSTREAM_", "STREAMLIT_"))}
    environ |= {
        "QUANTSTREAM_STATE": str(state),
        "QUANTSTREAM_SYMBOLS": ",".join(SYMBOLS),
        "QUANTSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "QUANTSTREAM_MLFLOW": f"http://127.0.0.1:{free_port()}",  # nobody there: the page must live without it
        "QUANTSTREAM_LOG_FORMAT": "json",
    } | {f"QUANTSTREAM_{name}": value for name, value in overrides.items()}
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py"), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1"]
    with (state / "dashboard.log").open("ab") as log:
        process = subprocess.Popen(command, env=environ, cwd=state, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"streamlit did not come up at {url}; its exit code is {process.poll()}")


@contextmanager
def running_site(state: Path, kafka: Kafka) -> Iterator[Site]:
    """Fill topics and lake, answer for the stages, and run the page."""
    market = Market(kafka, Lake(str(state / "lake")), SYMBOLS)
    market.fill()
    for symbol in SYMBOLS[:2]:  # the last one's first score comes in a test
        market.score(symbol)
    market.anomaly("BTCUSDT", bars_ago=30)
    market.event("gap_repaired", "12 trades of BTCUSDT were missing and came over REST", "BTCUSDT")
    site = Site("", market, state)
    with ExitStack() as stack:
        ports = {}
        for name in STAGES:
            site.metrics[name], site.health[name] = Metrics(name), Health()
            site.health[name].ready()
            site.metrics[name].lag.set(12)
            ports[name] = stack.enter_context(
                HealthServer(site.health[name], site.metrics[name], host="127.0.0.1")
            ).port
        described = {
            "processes": {name: {"http_port": port} for name, port in ports.items()} | {"broker": {"http_port": None}}
        }
        (state / "stack.json").write_text(json.dumps(described))
        site.url = stack.enter_context(running_dashboard(state, kafka))
        yield site


@pytest.fixture(scope="module")
def site(broker: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page over the session's broker."""
    with running_site(tmp_path_factory.mktemp("page"), broker) as running:
        yield running


@pytest.fixture
def dashboard() -> Callable[..., AbstractContextManager[str]]:
    """What runs a page of the test's own."""
    return running_dashboard


@pytest.fixture
def site_over() -> Callable[[Path, Kafka], AbstractContextManager[Site]]:
    """What runs a whole site over a broker of the test's own."""
    return running_site


@pytest.fixture(scope="module")  # not longer: while it runs, so does its event loop, and asyncio tests cannot
def browser() -> Iterator[Browser]:
    """A headless Chromium with a fresh profile; one on PATH, else Playwright's own."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail("no Chromium found: install the chromium package, or run `playwright install chromium`")
        running = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield running
        running.close()


@dataclass
class Tab:
    """A browser tab and what its console complained of."""

    page: Page
    errors: list[str]

    def open(self, url: str) -> Page:
        """Go there and wait for the chart's first drawing."""
        self.page.goto(url)
        self.page.wait_for_function("() => window.quantstream?.view?.rows.size > 0", timeout=WAIT_MS)
        return self.page


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A fresh tab that collects console errors and uncaught exceptions."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Tab(page, errors)
    context.close()
