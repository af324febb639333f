"""How the processes fare: which are up and ready, and the stages' rates, asked at the addresses in `stack.json`.

One background thread asks them all, so that a stage that hangs never holds a page back.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashboard.addresses import READYZ, parse_stages, pod_addresses
from dashboard.background import Background
from quantstream.core.errors import Unavailable
from quantstream.observability.metrics_page import Values, parse_metrics, total

EVERY = 2.0  # seconds
TIMEOUT = 1.0  # seconds for an answer on loopback
WINDOW = 6  # samples a rate is taken over: 10 s
# Processes that are no stages of ours: which of the stack's addresses to ask, and where.
SERVERS = {
    "exchange": ("exchange_ping", ""),
    "mlflow": ("mlflow", "/health"),
    "airflow-api": ("airflow", "/api/v2/monitor/health"),
}
# What Airflow's API says of its other parts, and what those are called there.
AIRFLOW_PARTS = {
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}
METRICS = "/metrics"


@dataclass(frozen=True)
class Sample:
    """The series of a stage's `/metrics`, and when they were read (seconds of a monotonic clock)."""

    at: float
    values: Values


@dataclass(frozen=True)
class Stage:
    """One process as last seen. `reason` is its own word for why it is not ready."""

    name: str
    state: str  # ready | not ready | down | unasked (it has no port of ours)
    reason: str = ""
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """What it is, whichever replica: `score` of `score/2`."""
        return self.name.partition("/")[0]

    def value(self, metric: str, **labels: str) -> float | None:
        """Return a metric's newest value, summed over the labels not named; None when it has none."""
        return total(self.samples[-1].values, f"quantstream_{self.kind}_{metric}", **labels) if self.samples else None

    def rate(self, metric: str, **labels: str) -> float | None:
        """Return a counter's increase per second of wall time over the last samples; a restart counts from zero."""
        if len(self.samples) < 2:
            return None
        name = f"quantstream_{self.kind}_{metric}"
        first, last = self.samples[0], self.samples[-1]
        before, after = total(first.values, name, **labels) or 0.0, total(last.values, name, **labels)
        if after is None or last.at <= first.at:
            return None
        return (after - before if after >= before else after) / (last.at - first.at)

    def mean_delay(self) -> float | None:
        """Return the mean of the stage's delay over the last samples, seconds; None when nothing passed."""
        count, seconds = self.rate("delay_seconds_count"), self.rate("delay_seconds_sum")
        return seconds / count if count and seconds is not None else None


def read_addresses(stack_file: Path) -> dict[str, str | None]:
    """Return where each process of the stack says how it is, None where it has no such place.

    Raises: Unavailable, in one sentence, when no stack is described or it cannot be read.
    """
    try:
        stack = json.loads(stack_file.read_text())
        urls = {name: str(url) for name, url in stack.get("urls", {}).items()}
        ports = {name: fields["http_port"] for name, fields in stack["processes"].items()}
    except FileNotFoundError:
        raise Unavailable("no stack is described here, so stages cannot be asked how they are") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"{stack_file} does not describe a stack: {error!r}") from error
    addresses: dict[str, str | None] = {}
    for name, port in ports.items():
        server, path = SERVERS.get(name, ("", ""))
        if port is not None:
            addresses[name] = f"http://127.0.0.1:{port}{READYZ}"
        else:
            addresses[name] = urls[server] + path if server in urls else None
    return addresses


def fetch(url: str) -> tuple[int, str]:
    """Return the status and text that a process answers.

    Raises: Unavailable.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return int(answer.status), answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"nobody answers at {url}") from error


class Stages(Background):
    """Asks every process in the background and returns the last answers."""

    def __init__(
        self,
        stack_file: Path,
        fetch: Callable[[str], tuple[int, str]] = fetch,
        clock: Callable[[], float] = time.monotonic,
        stages: str = "",
    ) -> None:
        """`stages` says where they are (`NAME=http://HOST:PORT,…`) when it is not the embedded stack's file that does.

        Raises: Misconfigured when it cannot be read.
        """
        super().__init__("stages", EVERY)
        self.stack_file = stack_file
        self._fetch, self._clock = fetch, clock
        self._named = parse_stages(stages)
        self._stages: dict[str, Stage] = {}
        self._samples: dict[str, deque[Sample]] = {}

    def all(self) -> list[Stage]:
        """Return every process as last seen, in the stack's order."""
        return list(self._stages.values())

    def get(self, name: str) -> Stage:
        """Return one process, `unasked` when nothing is known of it."""
        return self._stages.get(name, Stage(name, "unasked"))

    def lag(self) -> float | None:
        """Return how many records all stages together are behind."""
        lags = [lag for stage in self.all() if (lag := stage.value("lag_records")) is not None]
        return sum(lags) if lags else None

    def trades_per_second(self) -> float | None:
        """Return the rate of new trades into the log, live and repaired."""
        rates = [self.get("ingest").rate("records_total", outcome=outcome) for outcome in ("forwarded", "repaired")]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    def turn(self) -> None:
        """Ask everybody once.

        Raises: Unavailable when no stack is described.
        """
        try:
            addresses = pod_addresses(self._named) if self._named else read_addresses(self.stack_file)
        except Unavailable:
            self._stages = {}
            raise
        found = {name: self._ask(name, url) for name, url in addresses.items()}
        self._stages = found | self._parts(addresses.get("airflow-api"), found)
        self.trouble = ""

    def _ask(self, name: str, url: str | None) -> Stage:
        if url is None:
            return Stage(name, "unasked")
        samples = self._samples.setdefault(name, deque(maxlen=WINDOW))
        try:
            status, text = self._fetch(url)
            if url.endswith(READYZ):
                samples.append(Sample(self._clock(), parse_metrics(self._fetch(url.removesuffix(READYZ) + METRICS)[1])))
        except (Unavailable, ValueError) as error:
            samples.clear()
            return Stage(name, "down", str(error))
        if status == 200:
            return Stage(name, "ready", "", tuple(samples))
        return Stage(name, "not ready", text.strip()[:200], tuple(samples))

    def _parts(self, url: str | None, found: Mapping[str, Stage]) -> dict[str, Stage]:
        """Return the states of Airflow's other processes by its API."""
        asked = [name for name in AIRFLOW_PARTS if name in found]
        if url is None or not asked or found["airflow-api"].state == "down":
            return {}
        try:
            reply = json.loads(self._fetch(url)[1])
            states = {name: str(reply[AIRFLOW_PARTS[name]]["status"]) for name in asked}
        except Unavailable as error:
            return {name: Stage(name, "unasked", f"Airflow does not say: {error}") for name in asked}
        except (ValueError, KeyError, TypeError):
            return {
                name: Stage(name, "unasked", "Airflow's health answer is not what its API promises") for name in asked
            }
        return {
            name: Stage(name, "ready" if state == "healthy" else "not ready", "" if state == "healthy" else state)
            for name, state in states.items()
        }
