"""A stage's health over HTTP: `/healthz` (does its loop turn?), `/readyz`, and its numbers at `/metrics`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from quantstream.observability.metrics import Metrics

STOPPED = 3.0  # seconds by which the watchdog wakes too late: the process was stopped, not only busy
STALLED_AFTER = 30.0  # seconds without a turn of the loop: the process hangs; every call it makes gives up before that


class Health:
    """Liveness is progress: the loop calls `beat()` each turn. The stage itself declares its readiness."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self._patience = STALLED_AFTER
        self.is_ready = False
        self.reason = "starting"

    def beat(self) -> None:
        """Note a turn of the main loop."""
        self._beat_at = self._clock()

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Allow so many seconds for one call that cannot be divided: a successor would have to do it all again."""
        self.beat()
        self._patience, before = max(seconds, self._patience), self._patience
        try:
            yield
        finally:
            self.beat()
            self._patience = before

    def stood_still(self, seconds: float) -> None:
        """Subtract a time in which the whole process was stopped: the loop could not turn."""
        self._beat_at = min(self._beat_at + seconds, self._clock())

    def ready(self) -> None:
        """Declare the stage ready."""
        self.is_ready, self.reason = True, "ready"

    def not_ready(self, reason: str) -> None:
        """Declare the stage not ready, with the reason."""
        self.is_ready, self.reason = False, reason

    @property
    def is_alive(self) -> bool:
        """Whether the loop turned lately."""
        return self._clock() - self._beat_at < self._patience


def end_when_stalled(
    health: Health,
    end: Callable[[], None],
    every: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> threading.Thread:
    """Call `end` once the loop has not turned for too long: a successor does better than a process that hangs.

    Client libraries do hang at times (librdkafka inside a transaction whose broker was killed, timeout or not). A process that
    was stopped as a whole, this thread with it, does not hang: what it slept through does not count.
    """

    def watch() -> None:
        while health.is_alive:
            begun = clock()
            sleep(every)
            late = clock() - begun - every
            if late > STOPPED:
                health.stood_still(late)
        end()

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    return thread


class HealthServer:
    """Serves one stage's health and metrics from a thread of its own."""

    def __init__(self, health: Health, metrics: Metrics, port: int = 0, host: str = "127.0.0.1") -> None:
        """`port` 0 takes a free one; `host` is the interface to listen at, `0.0.0.0` for all.

        Raises: OSError when the port is taken, or the host is not this machine's.
        """

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
                elif self.path == "/healthz":
                    self._answer(200 if health.is_alive else 503, b"ok" if health.is_alive else b"stalled")
                elif self.path == "/readyz":
                    self._answer(200 if health.is_ready else 503, health.reason.encode())
                else:
                    self._answer(404, b"try /healthz, /readyz or /metrics")

            def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
                with suppress(ConnectionError):  # whoever asked has given up: this process was paused
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes every few seconds are not news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
