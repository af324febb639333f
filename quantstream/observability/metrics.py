"""A stage's numbers, for Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
DELAY_BUCKETS = (
    0.1,
    0.25,
    0.5,
    1,
    2,
    5,
    10,
    30,
    60,
    300,
)  # seconds; 1 and 2 are what is promised of scores and candles


class SymbolGauge(Collector):
    """A number for each symbol, printed when somebody asks: thousands of them change at once, at every close of a window."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.values: dict[str, float] = {}
        self.read: Callable[[], Mapping[str, float]] = lambda: self.values.copy()

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers as they are now; may be called from any thread."""
        family = GaugeMetricFamily(self.name, self.text, labels=["symbol"])
        for symbol, value in self.read().items():
            family.add_metric([symbol], value)
        yield family


class Delays(Collector):
    """A histogram of seconds that takes many alike at once: two thousand candles of one close are one addition."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.counts, self.sum = [0.0] * (len(DELAY_BUCKETS) + 1), 0.0
        self.lock = threading.Lock()

    def observe(self, seconds: float, count: int = 1) -> None:
        """Count so many that took so long."""
        with self.lock:
            self.counts[bisect_left(DELAY_BUCKETS, seconds)] += count
            self.sum += seconds * count

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers as they are now; may be called from any thread."""
        with self.lock:
            counts, total = list(accumulate(self.counts)), self.sum
        edges = [*(str(float(edge)) for edge in DELAY_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            self.name, self.text, buckets=list(zip(edges, counts, strict=True)), sum_value=total
        )


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
        self.gaps = self.counter(
            "gaps_total",
            "id gaps, by found, filled (repaired, narrowed) or not asked for any more (given_up)",
            "outcome",
        )
        self.open_gaps = self.gauge("open_gaps", "id gaps not yet filled")
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

    def delays(self, name: str, text: str) -> Delays:
        """Declare a histogram of seconds for what comes in batches."""
        delays = Delays(f"quantstream_{self.stage}_{name}", text)
        self.registry.register(delays)
        return delays

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        """Declare a histogram of seconds."""
        return Histogram(
            f"quantstream_{self.stage}_{name}", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS
        )
