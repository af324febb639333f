"""A stage's `/metrics` as its readers take it: the page, the commands, the tests that watch a run."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Values = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def parse_metrics(text: str) -> Values:
    """Return the series of a Prometheus text page, histogram buckets left out.

    Raises: ValueError.
    """
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def total(values: Values, name: str, **labels: str) -> float | None:
    """Return the sum of all series of a metric that carry the labels, or None without any."""
    wanted = set(labels.items())
    found = [value for (series, has), value in values.items() if series == name and wanted <= has]
    return sum(found) if found else None
