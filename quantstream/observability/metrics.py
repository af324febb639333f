"""A stage's numbers, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds


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

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        """Declare a histogram of seconds."""
        return Histogram(
            f"quantstream_{self.stage}_{name}", text, labels, registry=self.registry, buckets=LATENCY_BUCKETS
        )
