"""The gate between the lake and the models, and Great Expectations' only door: bad data never trains a model.

A symbol whose candles fail a critical expectation is quarantined: a file `quarantine/SYMBOL.json` in the state folder says
which expectation failed, when and on which version of the table. Its rows stay where they are; training asks
`usable_symbols` and leaves the symbol out until a later validation passes and removes the file. Pods share that folder.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import MICROSECOND, SCORED, interval_length
from quantstream.files import write_whole
from quantstream.lake.store import Lake
from quantstream.settings import Settings

log = logging.getLogger(__name__)
SUITES = Path(__file__).resolve().parents[2] / "expectations"
ROW_COUNT = "expect_table_row_count_to_be_between"  # its failure means too little, not wrong
Outcome = Literal["passed", "short", "rejected"]


@dataclass(frozen=True)
class Failure:
    """One expectation that did not hold: its sentence in words, how many rows broke it (0 where it is about the whole)."""

    expectation: str
    meaning: str
    severity: str
    column: str
    rows: int
    observed: str

    def __str__(self) -> str:
        """Say it in words."""
        where = f" in `{self.column}`" if self.column else ""
        count = f"{self.rows} rows" if self.rows else f"observed {self.observed}"
        return f"{self.expectation}{where} failed ({count}): expected that {self.meaning}"


@dataclass(frozen=True)
class ValidationReport:
    """What a checkpoint found in one symbol's candles; times are ISO 8601."""

    symbol: str
    outcome: Outcome
    rows: int
    first: str
    last: str
    table_version: int
    checked_at: str
    expectations: int
    failures: tuple[Failure, ...]
    data_docs: str

    def __str__(self) -> str:
        """Say it in one sentence."""
        if self.outcome == "short":
            return f"{self.symbol}: {self.rows} candles are too few to learn from, nothing is wrong with them"
        if self.outcome == "rejected":
            first, *others = [failure for failure in self.failures if failure.severity == "critical"]
            more = f", and {len(others)} more" if others else ""
            return f"{self.symbol}: {first}{more}; see {self.data_docs}"
        warned = f", {len(self.failures)} warnings" if self.failures else ""
        return f"{self.symbol}: {self.rows} candles meet all critical expectations of {self.expectations}{warned}"


def validate(symbol: str, settings: Settings, now: datetime | None = None) -> ValidationReport:
    """Check a symbol's candles in the lake, write data docs and the report, and quarantine or release the symbol.

    Raises: DataRejected naming the failed expectation and the count; Misconfigured when the suite cannot be read.
    """
    lake = Lake(settings.lake_url)
    version = lake.version("candles")
    frame = lake.candle_frame([symbol], SCORED, version=version)
    report = check(symbol, frame, settings.state.absolute(), now or datetime.now(UTC), version)
    _write(settings.state / "validation" / f"{symbol}.json", asdict(report))
    marker = _marker(settings, symbol)
    if report.outcome == "rejected":
        _write(marker, {"symbol": symbol, "reason": str(report), "at": report.checked_at, "table_version": version})
        raise DataRejected(str(report))
    if report.outcome == "passed":
        marker.unlink(missing_ok=True)
    for failure in report.failures if report.outcome == "passed" else ():
        log.warning("%s: %s", symbol, failure)
    log.info("%s", report)
    return report


def usable_symbols(settings: Settings) -> list[str]:
    """Return the symbols that may train a model: all that are configured but those in quarantine."""
    return [symbol for symbol in settings.symbols if not _marker(settings, symbol).exists()]


def check(symbol: str, candles: pd.DataFrame, state: Path, now: datetime, version: int = 0) -> ValidationReport:
    """Run the suite over a frame of one symbol's candles in time order and write its data docs under `state`.

    Raises: Misconfigured when the suite cannot be read.
    """
    docs = state / "data_docs" / symbol
    results = _run_checkpoint("candles", with_checked_columns(candles), docs)
    failures = tuple(_failure(result) for result in results if not result["success"])
    critical = [failure for failure in failures if failure.severity == "critical"]
    outcome: Outcome = "rejected" if critical else "passed"
    if len(candles) == 0 or (critical and all(failure.expectation == ROW_COUNT for failure in critical)):
        outcome = "short"
    times = candles["opened_at"] if "opened_at" in candles and len(candles) else None
    return ValidationReport(
        symbol=symbol,
        outcome=outcome,
        rows=len(candles),
        first="" if times is None else str(times.min()),
        last="" if times is None else str(times.max()),
        table_version=version,
        checked_at=now.isoformat(timespec="seconds"),
        expectations=len(results),
        failures=failures,
        data_docs=str(docs / "index.html"),
    )


def with_checked_columns(candles: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with what the suite checks but no candle carries; a column that is missing is left to the suite.

    `boundary_offset_us`: µs between `opened_at` and the boundary before it. `missing_share`: share of the windows between
    the first and the last candle that have none, the same in each row. `close_jump`: |ln(close / close before)|.
    """
    frame = candles.copy()
    length = interval_length(SCORED)
    if "opened_at" in frame:
        at = frame["opened_at"].astype("datetime64[us, UTC]").astype("int64") // MICROSECOND
        frame["boundary_offset_us"] = at % length
        windows = (at.max() - at.min()) // length + 1 if len(at) else 1
        frame["missing_share"] = max(0.0, 1.0 - at.nunique() / windows)
    if "close" in frame:
        close = frame["close"].where(frame["close"] > 0)
        frame["close_jump"] = pd.Series(np.log(close / close.shift())).abs().fillna(0.0)
    return frame


def _run_checkpoint(suite_name: str, frame: pd.DataFrame, docs: Path) -> list[dict[str, Any]]:
    """Run one suite over one frame in a context of its own, which nothing else shares; return a result per expectation."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines on import otherwise
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.data_context.types import base

    stores = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # the default leaves a folder behind in /tmp
    bars = base.ProgressBarsConfig(globally=False)
    config = base.DataContextConfig(store_backend_defaults=stores, progress_bars=bars)
    context = gx.get_context(mode="ephemeral", project_config=config)
    suite = context.suites.add(gx.ExpectationSuite(**_suite(suite_name)))
    part = docs.with_name(docs.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    context.add_data_docs_site("local", _site(part))
    asset = context.data_sources.add_pandas(name="lake").add_dataframe_asset(name=suite_name)
    batch = asset.add_batch_definition_whole_dataframe(name="all")
    definition = gx.ValidationDefinition(name=suite_name, data=batch, suite=suite)
    context.validation_definitions.add(definition)
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=suite_name,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="docs", site_names=["local"])],
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    shutil.rmtree(docs, ignore_errors=True)  # a page per run would pile up: the newest one counts
    part.replace(docs)
    (result,) = outcome.run_results.values()
    return sorted(result.to_json_dict()["results"], key=lambda one: _position(one["expectation_config"], suite_name))


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
    }


def _suite(name: str) -> dict[str, Any]:
    path = SUITES / f"{name}.json"
    try:
        fields = json.loads(path.read_text())
        return {"name": fields["name"], "expectations": fields["expectations"], "meta": fields["meta"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"the expectations in {path} cannot be read: {error!r}") from error


def _position(config: Mapping[str, Any], suite_name: str) -> int:
    """Return where the suite lists an expectation: the library groups results by column, we report in the suite's order."""
    kwargs = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
    listed = _suite(suite_name)["expectations"]
    return next(i for i, one in enumerate(listed) if one["type"] == config["type"] and one["kwargs"] == kwargs)


def _failure(result: Mapping[str, Any]) -> Failure:
    config, found = result["expectation_config"], result["result"]
    kwargs = config["kwargs"]
    columns = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    missing = found.get("details", {}).get("mismatched", {}).get("missing")  # of a set of columns
    error = (result.get("exception_info") or {}).get("exception_message") or ""
    return Failure(
        expectation=str(config["type"]),
        meaning=str(config["meta"]["notes"]["content"][0]),
        severity=str(config["severity"]),
        column=", ".join(columns),
        rows=int(found.get("unexpected_count") or 0),
        observed=str(missing or found.get("observed_value", error) or "nothing")[:200],
    )


def _marker(settings: Settings, symbol: str) -> Path:
    return settings.state / "quarantine" / f"{symbol}.json"


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(value, indent=2).encode() + b"\n")
