"""A stack of this machine as the monitor sees one: its state folder, its stages' HTTP, and what `quantstream status` says."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.cluster.conftest import api, cluster, environment, kubectl  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from tests.monitor.looking import Monitor

HERE = Path(__file__).parent
MONITOR = HERE.parent.parent / "infra" / "monitor" / "quantstream-monitor"
STAGES = ("ingest", "aggregate", "detect", "sink", "score")
CLOCK = "quantstream_ingest_market_time_seconds"


class FakeStack:
    """Serves the recorded metrics of each stage under `/<stage>`'s own port; the exchange's clock moves with each question."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.servers, self.asked = folder, [], 0
        self.texts = {stage: (HERE / "recorded" / "metrics" / f"{stage}.txt").read_text() for stage in STAGES}
        self.processes: dict[str, dict[str, Any]] = {
            name: {"state": "running", "ready": True, "pid": 1, "restarts": 0} for name in ("broker", *STAGES)
        }
        (folder / "logs").mkdir(parents=True)
        ports = {stage: self._serve(stage) for stage in STAGES}
        described = {"broker": {"http_port": None}} | {stage: {"http_port": port} for stage, port in ports.items()}
        (folder / "stack.json").write_text(json.dumps({"urls": {}, "processes": described}))
        (folder / "logs" / "supervisord.log").write_text("")

    def metrics(self, stage: str) -> str:
        """Return what a stage answers now."""
        self.asked += stage == "ingest"
        lines = self.texts[stage].splitlines()
        return (
            "\n".join(
                f"{line.split()[0]} {1795394950 + self.asked}" if line.startswith(CLOCK) else line for line in lines
            )
            + "\n"
        )

    def _serve(self, stage: str) -> int:
        stack = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = stack.metrics(stage).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.servers.append(server)
        return int(server.server_address[1])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the monitor on this stack."""
        command = self.folder / "quantstream"
        status = {"processes": self.processes, "symbols": {}, "models": {}, "lag": 0, "urls": {}}
        command.write_text(f"#!/bin/sh\ncat <<'J'\n{json.dumps(status, indent=2)}\nJ\n")
        command.chmod(0o755)
        place = ["--local", "--state", str(self.folder), "--command", str(command), "--timeout", "60"]
        bash = shutil.which("bash") or "bash"
        return subprocess.run(
            [bash, str(MONITOR), *arguments, *place], capture_output=True, text=True, timeout=240, check=False
        )


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[FakeStack]:
    """A stack that is well."""
    fake = FakeStack(tmp_path / "state")
    yield fake
    for server in fake.servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def plain_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tools that every system has, and the fake kubectl: no jq, no curl."""
    from tests.monitor.looking import tools

    return tools(tmp_path_factory.mktemp("tools") / "plain")


@pytest.fixture
def monitor(plain_tools: Path, tmp_path: Path) -> Monitor:
    """The monitor over whatever is played."""
    from tests.monitor.looking import Monitor

    return Monitor(plain_tools, tmp_path / "scene")
