"""Great Expectations' only door: a suite's JSON run over the frames of one symbol, and the library's own page of the result.

All of a symbol's days are checked in one run; the rows that fail name the days they are of. A run costs a tenth of a second and
more for what it asks than for how many rows it asks: one a day would cost hundreds of times as much.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.validation.custom import CUSTOM, Custom
from quantstream.core.errors import Misconfigured

SUITES = Path(__file__).resolve().parents[2] / "expectations"
SHOWN = 300  # characters of what was observed
CRITICAL = "critical"
TIMES = ("opened_at", "closed_at", "traded_at")  # columns of µs


@dataclass(frozen=True)
class Finding:
    """One expectation that did not hold: its sentence in words, and how many rows of which days broke it."""

    expectation: str
    meaning: str
    severity: str
    column: str
    days: Mapping[str, int]  # ISO 8601 → rows; 0 where it is about the whole
    observed: str
    firsts: Mapping[str, str] = field(default_factory=dict)  # of each day the first row that broke it

    @property
    def is_critical(self) -> bool:
        """Whether the days are not fit to learn from."""
        return self.severity == CRITICAL

    def on(self, day: str) -> str:
        """Say it in words, of one day."""
        where = f" in `{self.column}`" if self.column else ""
        rows = self.days[day]
        count = f"{rows:,} row{'s' * (rows != 1)}, {self.firsts[day]}" if rows else f"observed {self.observed}"
        return f"{self.expectation}{where} failed ({count}): expected that {self.meaning}"


@dataclass(frozen=True)
class Run:
    """What a suite found: how many expectations were asked, those that did not hold, and the library's results for its page."""

    expectations: int
    findings: tuple[Finding, ...]
    results: Mapping[str, Any] = field(default_factory=dict, repr=False)  # by frame


def suite_of(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Return a suite's JSON.

    Raises: Misconfigured naming the file when it cannot be read.
    """
    path = (folder or SUITES) / f"{name}.json"
    try:
        fields = json.loads(path.read_text())
        for one in fields["expectations"]:
            one["meta"]["of"], one["meta"]["notes"]["content"][0], one["severity"], one["kwargs"], one["type"]
        return {"name": fields["name"], "expectations": fields["expectations"], "meta": fields["meta"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Misconfigured(f"the expectations in {path} cannot be read: {error!r}") from error


def run(name: str, frames: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any]) -> Run:
    """Run a suite: each expectation over the frame that its `meta.of` names; a frame's column `day` says what a row is of.

    `parameters` are what the JSON calls `$PARAMETER`. Raises: Misconfigured when the suite cannot be read or understood.
    """
    suite = suite_of(name)
    asked = [_named(one, parameters) for one in suite["expectations"] if one["meta"]["of"] in frames]
    days = sorted({day for frame in frames.values() if "day" in frame for day in frame["day"]})
    results: dict[str, Any] = {}
    for kind, frame in frames.items():
        mine = [one for one in asked if one["meta"]["of"] == kind]
        if mine:
            results[kind] = _validate(f"{name}.{kind}", mine, frame, parameters)
    found = [_finding(one, days) for result in results.values() for one in result.results if not one.success]
    listed = [(one["type"], columns_of(one["kwargs"])) for one in asked]
    ordered = sorted(found, key=lambda one: listed.index((one.expectation, one.column)))
    return Run(len(asked), tuple(ordered), results)


def page_of(result: Any, of: str, run: str, at: str) -> str:
    """Return the library's page of one result: `of` what it is, by which run, checked when."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    spec = {**(result.meta.get("batch_spec") or {}), "data_asset_name": of}
    result.meta |= {"run_id": {"run_name": run or of, "run_time": at}, "batch_spec": spec}
    page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    return page


def _named(expectation: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return an expectation with the columns that a parameter names: the library wants to know them beforehand."""
    kwargs = dict(expectation["kwargs"])
    for key in ("column_list", "column_set"):
        if isinstance(kwargs.get(key), dict):
            kwargs[key] = parameters[kwargs[key]["$PARAMETER"]]
    return {**expectation, "kwargs": kwargs}


def columns_of(kwargs: Mapping[str, Any]) -> str:
    """Return the columns that an expectation is about, in words."""
    named = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return ", ".join(named or kwargs.get("column_list", ()))


def _validate(name: str, expectations: Sequence[Any], frame: pd.DataFrame, parameters: Mapping[str, Any]) -> Any:
    gx = _library()
    from great_expectations.data_context.types import base

    stores = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # the default leaves a folder behind in /tmp
    bars = base.ProgressBarsConfig(globally=False)
    config = base.DataContextConfig(store_backend_defaults=stores, progress_bars=bars)
    context = gx.get_context(mode="ephemeral", project_config=config)
    try:
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[dict(one) for one in expectations]))
    except (gx.exceptions.GreatExpectationsError, ValueError, TypeError) as error:
        raise Misconfigured(f"the expectations of {name} cannot be understood: {error}") from error
    asset = context.data_sources.add_pandas(name="lake").add_dataframe_asset(name=name)
    batch = asset.add_batch_definition_whole_dataframe(name="all")
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
    form = {"result_format": "COMPLETE", "include_unexpected_rows": False, "unexpected_index_column_names": ["day"]}
    with np.errstate(all="ignore"):
        return definition.run(
            batch_parameters={"dataframe": frame},
            expectation_parameters=dict(parameters),
            result_format=form if "day" in frame else "COMPLETE",
        )


@cache
def _library() -> Any:
    """Import the library and tell it of the custom expectations, once."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines on import otherwise
    import great_expectations as gx

    for one in CUSTOM:
        _register(one)
    return gx


def _register(one: Custom) -> None:
    """Make a custom expectation and its metric known: the library's classes enter themselves into its registries."""
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import MulticolumnMapExpectation
    from great_expectations.expectations.metrics.map_metric_provider import MulticolumnMapMetricProvider
    from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
        multicolumn_condition_partial,
    )

    metric = f"multicolumn_values.{one.name.removeprefix('expect_')}"

    def decide(cls: Any, column_list: pd.DataFrame, **given: Any) -> Any:
        met = one.rule(column_list, **{name: given[name] for name in one.bounds})
        return pd.Series(met, index=column_list.index)

    provider = {
        "condition_metric_name": metric,
        "condition_domain_keys": (
            "batch_id",
            "table",
            "column_list",
            "row_condition",
            "condition_parser",
            "ignore_row_if",
        ),
        "condition_value_keys": one.bounds,
        "_pandas": multicolumn_condition_partial(engine=PandasExecutionEngine)(decide),
    }
    type(MulticolumnMapMetricProvider)(f"{one.class_name}Metric", (MulticolumnMapMetricProvider,), provider)
    fields = {
        "__module__": __name__,
        "__annotations__": dict.fromkeys(one.bounds, Any),
        "__doc__": one.rule.__doc__,
        "map_metric": metric,
        "success_keys": (*one.bounds, "mostly"),
        "args_keys": ("column_list", *one.bounds),
    }
    type(MulticolumnMapExpectation)(one.class_name, (MulticolumnMapExpectation,), fields)


def _finding(result: Any, days: Sequence[str]) -> Finding:
    config, found = result.expectation_config, result.result
    rows = [one for one in found.get("unexpected_index_list") or () if "day" in one]
    error = _error(result.exception_info or {})
    missing = found.get("details", {}).get("mismatched", {}).get("missing")  # of a set of columns
    observed = missing or found.get("observed_value") or found.get("partial_unexpected_list") or error or "nothing"
    return Finding(
        expectation=str(config.type),
        meaning=str(config.meta["notes"]["content"][0]),
        severity=str(getattr(config.severity, "value", config.severity)),
        column=columns_of(config.kwargs),
        days=dict(Counter(str(one["day"]) for one in rows)) or dict.fromkeys(days, 0),
        observed=str(observed)[:SHOWN],
        firsts={str(one["day"]): _first(one) for one in reversed(rows)},
    )


def _first(row: Mapping[str, Any]) -> str:
    """Say what a row holds; exact columns repeat what stands there already."""
    shown = [
        f"{name} {_text(name, value)}" for name, value in row.items() if name != "day" and not name.startswith("exact_")
    ]
    return f"the first with {', '.join(shown)}"[:SHOWN]


def _text(name: str, value: Any) -> str:
    if name in TIMES and not pd.isna(value):
        return f"{datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value)):%Y-%m-%d %H:%M:%S}"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _error(info: Mapping[str, Any]) -> str:
    if "exception_message" in info:
        return str(info["exception_message"] or "")
    return next((str(one.get("exception_message")) for one in info.values() if isinstance(one, dict)), "")
