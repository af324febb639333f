"""What a kubelet sees of a real stage: alive while it turns, dead to its probe when stopped, alive again when it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from infra.embedded.free_ports import free_port

ROOT = Path(__file__).resolve().parents[4]
PATIENCE = 90.0  # seconds, for a start on a busy machine
open_url = build_opener(ProxyHandler({})).open


def probe(port: int, path: str, timeout: float) -> int | None:
    """Ask as a kubelet does: the status, None for no answer in time."""
    try:
        with open_url(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None


def until(port: int, path: str, status: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := probe(port, path, 5)) != status:
        assert time.monotonic() < deadline, f"{path} still answers {seen}, not {status}"
        time.sleep(0.05)


@pytest.fixture
def stage() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A sink that waits for a broker that is not there: its loop turns."""
    port = free_port(set())
    own = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
    settings = {"QUANTSTREAM_HTTP_PORT": str(port), "QUANTSTREAM_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
    command = [sys.executable, "-m", "streaming", "sink"]
    process = subprocess.Popen(command, cwd=ROOT, env=own | settings, stdout=subprocess.DEVNULL)
    yield process, port
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def test_a_stage_that_is_stopped_fails_its_probe_and_one_that_goes_on_passes_it(
    stage: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = stage
    until(port, "/healthz", 200)
    assert probe(port, "/readyz", 30) == 503  # it waits for its broker, and says so: no traffic, no restart
    process.send_signal(signal.SIGSTOP)
    assert [probe(port, "/healthz", 0.3) for _ in range(3)] == [None, None, None]  # the kubelet ends it after three
    assert process.poll() is None
    process.send_signal(signal.SIGCONT)
    until(port, "/healthz", 200)
