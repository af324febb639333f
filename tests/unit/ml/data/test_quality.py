"""The gate: each expectation passes on good candles, and each can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml.data import quality
from ml.data.quality import check, usable_symbols, validate
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.lake.store import Lake
from quantstream.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
ROWS = 2000
Damage = Callable[[pd.DataFrame], pd.DataFrame]


def good(rows: int = ROWS) -> pd.DataFrame:
    """Return candles with nothing wrong, as the lake's `candle_frame` gives them."""
    close = 100 * np.exp(0.001 * np.sin(np.arange(rows)).cumsum())
    before = np.r_[100.0, close[:-1]][:rows]
    at = pd.DatetimeIndex(pd.date_range(FIRST, periods=rows, freq="5min").astype("datetime64[us, UTC]"))
    return pd.DataFrame(
        {
            "symbol": "BTCUSDT",
            "date": at.date,
            "interval": "5m",
            "opened_at": at,
            "open": before,
            "high": np.maximum(before, close) * 1.001,
            "low": np.minimum(before, close) * 0.999,
            "close": close,
            "volume": 10.0,
            "quote_volume": 1000.0,
            "trade_count": 5,
            "taker_buy_volume": 4.0,
            "taker_buy_quote_volume": 400.0,
            "first_trade_id": -1,
            "last_trade_id": -1,
            "is_complete": True,
            "revision": 0,
            "source": "klines",
        }
    )


def put(column: str, value: Any, row: int = 7) -> Damage:
    """Return a damage that puts one value into one row."""

    def damage(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame.infer_objects()

    return damage


def shifted(frame: pd.DataFrame) -> pd.DataFrame:
    at: Any = frame.loc[7, "opened_at"]
    frame.loc[7, "opened_at"] = at + pd.Timedelta(seconds=1)
    return frame


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.iloc[:9], frame.iloc[8:]], ignore_index=True)


def jumping(frame: pd.DataFrame) -> pd.DataFrame:
    prices = ["open", "high", "low", "close"]
    frame.loc[1000:, prices] = frame.loc[1000:, prices] * 100  # a unit error from here on
    return frame


CRITICAL = [
    (lambda f: f.drop(columns=["taker_buy_volume"]), "expect_table_columns_to_match_set", "", "taker_buy_volume"),
    (put("open", None), "expect_column_values_to_not_be_null", "open", "1 rows"),
    (put("high", None), "expect_column_values_to_not_be_null", "high", "1 rows"),
    (put("low", None), "expect_column_values_to_not_be_null", "low", "1 rows"),
    (put("close", None), "expect_column_values_to_not_be_null", "close", "1 rows"),
    (put("volume", None), "expect_column_values_to_not_be_null", "volume", "1 rows"),
    (put("quote_volume", None), "expect_column_values_to_not_be_null", "quote_volume", "1 rows"),
    (put("trade_count", None), "expect_column_values_to_not_be_null", "trade_count", "1 rows"),
    (put("taker_buy_volume", None), "expect_column_values_to_not_be_null", "taker_buy_volume", "1 rows"),
    (put("taker_buy_quote_volume", None), "expect_column_values_to_not_be_null", "taker_buy_quote_volume", "1 rows"),
    (put("is_complete", None), "expect_column_values_to_not_be_null", "is_complete", "1 rows"),
    (put("symbol", None), "expect_column_values_to_not_be_null", "symbol", "1 rows"),
    (doubled, "expect_column_values_to_be_unique", "opened_at", "2 rows"),
    (shifted, "expect_column_values_to_be_between", "boundary_offset_us", "1 rows"),
    (put("high", 1.0), "expect_column_pair_values_a_to_be_greater_than_b", "high, open", "1 rows"),
    (put("high", 1.0), "expect_column_pair_values_a_to_be_greater_than_b", "high, close", "1 rows"),
    (put("low", 1e6), "expect_column_pair_values_a_to_be_greater_than_b", "open, low", "1 rows"),
    (put("low", 1e6), "expect_column_pair_values_a_to_be_greater_than_b", "close, low", "1 rows"),
    (put("low", 0.0), "expect_column_values_to_be_between", "low", "1 rows"),
    (put("volume", -1.0), "expect_column_values_to_be_between", "volume", "1 rows"),
    (put("quote_volume", -1.0), "expect_column_values_to_be_between", "quote_volume", "1 rows"),
    (put("trade_count", -1), "expect_column_values_to_be_between", "trade_count", "1 rows"),
    (put("taker_buy_volume", -1.0), "expect_column_values_to_be_between", "taker_buy_volume", "1 rows"),
    (put("taker_buy_quote_volume", -1.0), "expect_column_values_to_be_between", "taker_buy_quote_volume", "1 rows"),
    (
        put("taker_buy_volume", 11.0),
        "expect_column_pair_values_a_to_be_greater_than_b",
        "volume, taker_buy_volume",
        "1 rows",
    ),
    (
        put("taker_buy_quote_volume", 1001.0),
        "expect_column_pair_values_a_to_be_greater_than_b",
        "quote_volume, taker_buy_quote_volume",
        "1 rows",
    ),
    (lambda f: f.drop(index=range(100, 130)), "expect_column_max_to_be_between", "missing_share", "0.015"),
    (jumping, "expect_column_max_to_be_between", "close_jump", "4.6"),
]


def test_good_candles_pass_with_nothing_to_remark(tmp_path: Path) -> None:
    report = check("BTCUSDT", good(), tmp_path, NOW, version=3)
    assert (report.outcome, report.rows, report.failures, report.table_version) == ("passed", ROWS, (), 3)
    assert (report.first, report.last) == ("2026-02-01 00:00:00+00:00", "2026-02-07 22:35:00+00:00")
    assert str(report) == f"BTCUSDT: {ROWS} candles meet all critical expectations of {report.expectations}"


@pytest.mark.parametrize(
    ("damage", "expectation", "column", "seen"), CRITICAL, ids=[f"{name}-{column}" for _, name, column, _ in CRITICAL]
)
def test_each_critical_expectation_can_fail(
    damage: Damage, expectation: str, column: str, seen: str, tmp_path: Path
) -> None:
    report = check("BTCUSDT", damage(good()), tmp_path, NOW)
    failed = {(one.expectation, one.column): one for one in report.failures if one.severity == "critical"}
    assert report.outcome == "rejected"
    assert (expectation, column) in failed
    assert seen in str(failed[expectation, column])


def test_every_critical_expectation_of_the_suite_is_shown_to_fail() -> None:
    listed = json.loads((quality.SUITES / "candles.json").read_text())["expectations"]
    asked = set()
    for one in listed:
        columns = [one["kwargs"][key] for key in ("column", "column_A", "column_B") if key in one["kwargs"]]
        if one["severity"] == "critical" and one["type"] != quality.ROW_COUNT:
            asked.add((one["type"], ", ".join(columns)))
    shown = {(expectation, column) for _, expectation, column, _ in CRITICAL}
    assert asked - shown == {
        ("expect_column_values_to_not_be_null", "opened_at")
    }  # a null there has no place in time order


def test_a_wild_hour_and_a_lame_feed_are_remarked_but_pass(tmp_path: Path) -> None:
    frame = good()
    frame.loc[100:110, ["high", "close"]] = (
        frame.loc[100:110, ["high", "close"]] * np.where(np.arange(11) % 2, 1, 1.2)[:, None]
    )
    frame.loc[:149, "is_complete"] = False
    report = check("BTCUSDT", frame, tmp_path, NOW)
    assert report.outcome == "passed"
    assert [(one.severity, one.column) for one in report.failures] == [
        ("warning", "close_jump"),
        ("warning", "is_complete"),
    ]


@pytest.mark.parametrize("rows", [0, 1, 287])
def test_too_few_candles_are_not_called_wrong(rows: int, tmp_path: Path) -> None:
    report = check("BTCUSDT", good(rows), tmp_path, NOW)
    assert report.outcome == "short"
    assert str(report) == f"BTCUSDT: {rows} candles are too few to learn from, nothing is wrong with them"


def test_the_data_docs_show_the_newest_run_and_only_that(tmp_path: Path) -> None:
    check("BTCUSDT", good(), tmp_path, NOW)
    report = check("BTCUSDT", put("volume", -1.0)(good()), tmp_path, NOW)
    pages = list((tmp_path / "data_docs" / "BTCUSDT" / "validations").rglob("*.html"))
    assert Path(report.data_docs).read_text().startswith("<!DOCTYPE html>")
    assert len(pages) == 1
    assert "Failed" in pages[0].read_text()


def lake_rows(frame: pd.DataFrame) -> pa.Table:
    """Return a frame of candles as the lake takes them, exact."""
    rows = []
    for row in frame.drop(columns=["date"]).to_dict("records"):
        row["opened_at"] = row["opened_at"].to_pydatetime()
        rows.append({key: Decimal(f"{value:.8f}") if isinstance(value, float) else value for key, value in row.items()})
    table = pa.Table.from_pylist(rows)
    return table.append_column("known_at", pa.nulls(len(table), pa.timestamp("us", "UTC")))


def test_a_rejected_symbol_is_quarantined_until_its_candles_are_corrected(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, symbols=("BTCUSDT", "ETHUSDT"))
    frame = good(400)
    bad = frame.iloc[[7]].assign(high=1.0)
    Lake(settings.lake_url).append("candles", lake_rows(pd.concat([frame.drop(index=7), bad])))
    with pytest.raises(
        DataRejected, match=r"BTCUSDT: .* in `high, open` failed \(1 rows\): expected that high is not below open"
    ):
        validate("BTCUSDT", settings, NOW)
    assert usable_symbols(settings) == ["ETHUSDT"]
    assert json.loads((tmp_path / "quarantine" / "BTCUSDT.json").read_text())["at"] == "2026-03-01T00:00:00+00:00"
    assert json.loads((tmp_path / "validation" / "BTCUSDT.json").read_text())["outcome"] == "rejected"

    Lake(settings.lake_url).append("candles", lake_rows(frame.iloc[[7]].assign(revision=1)))
    assert validate("BTCUSDT", settings, NOW + timedelta(hours=1)).outcome == "passed"
    assert usable_symbols(settings) == ["BTCUSDT", "ETHUSDT"]


def test_a_symbol_without_candles_is_short_and_stays_usable(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, symbols=("BTCUSDT",))
    assert validate("BTCUSDT", settings, NOW).outcome == "short"
    assert usable_symbols(settings) == ["BTCUSDT"]


def test_a_broken_suite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "candles.json").write_text("{")
    monkeypatch.setattr(quality, "SUITES", tmp_path)
    with pytest.raises(Misconfigured, match=r"the expectations in .*candles.json cannot be read"):
        check("BTCUSDT", good(300), tmp_path, NOW)
