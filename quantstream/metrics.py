"""A stage's numbers and its health over HTTP: `/metrics` (Prometheus), `/healthz` (is it getting on?), `/readyz`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
STOPPED = 3.0  # seconds by which the watchdog wakes too late: the process was stopped, not only busy
STALLED_AFTER = 30.0  # seconds without a turn of the loop: the process hangs; every call it makes gives up before that


class SymbolGauge(Collector):
    """A number for each symbol, printed when somebody asks: thousands of them change at once, at every close of a window."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.values: dict[str, float] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers as they are now; may be called from any thread."""
        family = GaugeMetricFamily(self.name, self.text, labels=["symbol"])
        for symbol, value in self.values.copy().items():
            family.add_metric([symbol], value)
        yield family


class Metrics:
    """The numbers that every stage keeps, under one registry; `stage` is a label of each."""

    def __init__(self, stage: str) -> None:
        self.registry = CollectorRegistry()
        self.stage = stage
        self.started_at = self.gauge("started_at_seconds", "when this process started; its changes are restarts")
        self.started_at.set_to_current_time()
        self.records = self.counter("records_total", "records handled, by what became of them", "outcome")
        self.dead = self.counter("dead_letters_total", "records nobody could parse")
        self.lag = self.gauge("lag_records", "records behind the end of the topic")
        self.delay = self.histogram("delay_seconds", "from received at ingest to handled here")
        self.gaps = self.counter("gaps_total", "id gaps, by found or repaired", "outcome")
        self.open_gaps = self.gauge("open_gaps", "id gaps not yet repaired")
        self.balance_records = self.gauge(
            "balance_records", "records of all symbols held here: read, and by what became of them", "outcome"
        )
        self.unbalanced_symbols = self.gauge("unbalanced_symbols", "symbols whose records do not add up: 0 is right")
        self.candle_closed_at = self.symbol_gauge(
            "candle_closed_at_seconds", "end of the symbol's last candle, seconds since the epoch"
        )  # its age: ingest's market_time_seconds less this

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Declare a counter `quantstream_<stage>_<name>`."""
        return Counter(f"quantstream_{self.stage}_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Declare a gauge."""
        return Gauge(f"quantstream_{self.stage}_{name}", text, labels, registry=self.registry)

    def symbol_gauge(self, name: str, text: str) -> SymbolGauge:
        """Declare a gauge of each symbol."""
        gauge = SymbolGauge(f"quantstream_{self.stage}_{name}", text)
        self.registry.register(gauge)
        return gauge

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        """Declare a histogram of seconds."""
        return Histogram(
            f"quantstream_{self.stage}_{name}", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS
        )


class Health:
    """Liveness is progress: the loop calls `beat()` each turn. Readiness is what the stage says of itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self.is_ready = False
        self.reason = "starting"

    def beat(self) -> None:
        """Note a turn of the main loop."""
        self._beat_at = self._clock()

    def stood_still(self, seconds: float) -> None:
        """Leave out of account a time in which the whole process was stopped: nothing could turn."""
        self._beat_at = min(self._beat_at + seconds, self._clock())

    def ready(self) -> None:
        """Say that the stage does its work."""
        self.is_ready, self.reason = True, "ready"

    def not_ready(self, reason: str) -> None:
        """Say why it does not."""
        self.is_ready, self.reason = False, reason

    @property
    def is_alive(self) -> bool:
        """Whether the loop turned lately."""
        return self._clock() - self._beat_at < STALLED_AFTER


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
