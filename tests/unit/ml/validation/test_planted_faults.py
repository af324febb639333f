"""Each fault is caught by the expectation that is named for it, and only the day of the symbol that has it is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.transaction import AddAction

from ml.validation.report import Report
from quantstream.core.time import DAY, micros
from quantstream.lake.quarantine import quarantine_of
from quantstream.lake.store import Lake
from tests.unit.ml.validation.markets import BAD, DAYS, FIRST, NOW, ROWS, SYMBOLS, candles, gate, lake_of, rows

FAULTY = SYMBOLS[1]
PRICES = ["open", "high", "low", "close"]
PLACE = 100  # of a faulty candle in its day
Plant = Callable[[Any, int], Any]  # a fault into the day that begins at a row


def swapped(frame: Any, begin: int) -> Any:
    row = begin + PLACE
    frame.loc[row, ["high", "low"]] = frame.loc[row, ["low", "high"]].to_numpy()
    return frame


def repeated(frame: Any, begin: int) -> Any:
    return pd.concat([frame, frame.loc[[begin + PLACE]]])


def copied(frame: Any, begin: int) -> Any:
    row, names = begin + PLACE, [*PRICES, "volume", "quote_volume", "taker_buy_volume"]
    frame.loc[row, names] = frame.loc[row - 1, names]
    return frame


def of_another_zone(frame: Any, begin: int) -> Any:
    """The day as a clock that is three hours ahead would have it."""
    names, end = [*PRICES, "volume", "quote_volume", "taker_buy_volume"], begin + ROWS
    frame.loc[begin : end - 1, names] = frame.loc[begin - 36 : end - 37, names].to_numpy()
    return frame


def times_ten(first: int, after: int) -> Plant:
    """All prices, and what was paid, in the wrong unit: consistent in itself."""

    def plant(frame: Any, begin: int) -> Any:
        for row in range(begin + first, begin + after):
            for name in (*PRICES, "quote_volume"):
                frame.at[row, name] *= 10
        return frame

    return plant


def stuck(frame: Any, begin: int) -> Any:
    """The feed repeats its last price and volume for an hour."""
    for row in range(begin + PLACE, begin + PLACE + 12):
        frame.loc[row, PRICES] = frame.at[begin + PLACE - 1, "close"]
        frame.loc[row, ["volume", "taker_buy_volume"]] = Decimal(1)
        frame.at[row, "quote_volume"] = frame.at[row, "close"]
    return frame


def silent(frame: Any, begin: int) -> Any:
    row, after, ids = begin + PLACE, begin + PLACE + 12, ["first_trade_id", "last_trade_id"]
    for one in range(row, after):
        frame.loc[one, PRICES] = frame.at[row - 1, "close"]
        frame.loc[one, ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"]] = Decimal(0)
        frame.loc[one, ["trade_count", *ids]] = 0, -1, -1
    frame.loc[after:, ids] -= frame.at[after, ids[0]] - frame.at[row - 1, ids[1]] - 1
    return frame


def without_rows(first: int, after: int) -> Plant:
    return lambda frame, begin: frame.drop(index=range(begin + first, begin + after))


def put(column: str, value: Any) -> Plant:
    """Return a fault that puts a value, or what a function makes of the one there, into one row."""

    def plant(frame: Any, begin: int) -> Any:
        row = begin + PLACE
        frame.at[row, column] = value(frame.at[row, column]) if callable(value) else value
        return frame

    return plant


def ids_with_a_gap(frame: Any, begin: int) -> Any:
    frame.at[begin + PLACE, "first_trade_id"] += 3
    frame.at[begin + PLACE, "trade_count"] -= 3
    return frame


PAIR, BETWEEN = "expect_column_pair_values_a_to_be_greater_than_b", "expect_column_values_to_be_between"
VWAP, WHOLE, JUMPS = "expect_candle_vwap_within_range", "expect_day_to_be_whole", "expect_price_jumps_to_be_the_markets"
UNIQUE, IDS = "expect_column_values_to_be_unique", "expect_candle_trade_ids_to_follow"
COPY, STUCK = "expect_candle_to_differ_from_the_one_before", "expect_feed_not_to_be_stuck"
FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "swapped high and low": (swapped, {PAIR, VWAP}),
    "a hole": (without_rows(PLACE, PLACE + 2), {WHOLE}),
    "a repeated candle": (repeated, {UNIQUE, IDS, COPY}),
    "a candle that is a copy of the one before": (copied, {COPY}),
    "a shifted time zone": (of_another_zone, {"expect_day_to_keep_the_markets_clock"}),
    "a price times ten": (times_ten(PLACE, PLACE + 1), {JUMPS}),
    "a day of prices times ten": (times_ten(0, ROWS), {JUMPS}),
    "a high times ten": (put("high", lambda value: value * 10), {JUMPS}),
    "a zero price": (put("low", Decimal(0)), {BETWEEN}),
    "a negative volume": (put("volume", Decimal(-1)), {BETWEEN, PAIR, VWAP}),
    "a stuck feed": (stuck, {STUCK}),
    "an hour of silence": (silent, {STUCK}),
    "a float where a decimal belongs": (
        put("close", lambda value: Decimal(f"{float(value) - 0.0000003:.8f}")),
        {"expect_prices_to_be_exact_decimals"},
    ),
    "half a day": (without_rows(144, ROWS), {WHOLE}),
    "a candle off the grid": (put("opened_at", lambda at: at + timedelta(seconds=1)), {BETWEEN, WHOLE}),
    "an average price out of range": (put("quote_volume", lambda value: value * 2), {VWAP}),
    "takers that bought more than was traded": (put("taker_buy_volume", Decimal(10_000)), {PAIR}),
    "trade ids with a gap": (ids_with_a_gap, {IDS}),
    "a candle without a close": (put("close", None), {"expect_column_values_to_not_be_null"}),
}
DAY_OF = {fault: FIRST.date() + timedelta(days=2 + 2 * place) for place, fault in enumerate(FAULTS)}


@dataclass(frozen=True)
class Seen:
    """What became of a lake in which one symbol has every fault, each on a day of its own."""

    lake: Lake
    report: Report
    held: dict[date, set[str]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, days = tmp_path_factory.mktemp("market"), 2 * len(FAULTS) + 2

    def all_of_them(frame: Any) -> Any:
        for fault, (plant, _) in FAULTS.items():
            frame = plant(frame, (DAY_OF[fault] - FIRST.date()).days * ROWS)
        return frame

    lake = lake_of(folder / "lake", {FAULTY: all_of_them}, days)
    report = gate(lake, folder, now=micros(FIRST) + days * DAY + DAY // 8).check("candles", FAULTY)
    held: dict[date, set[str]] = {}
    for one in quarantine_of(lake).held():
        held.setdefault(one.day, set()).add(one.expectation)
    return Seen(lake, report, held)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_caught_by_its_expectation_and_by_no_other(seen: Seen, fault: str) -> None:
    assert seen.held[DAY_OF[fault]] == FAULTS[fault][1]


def test_only_the_days_with_faults_are_left_out_and_the_others_still_teach(seen: Seen) -> None:
    days = sorted(DAY_OF.values())
    assert sorted(seen.held) == days
    assert (seen.report.outcome, seen.report.is_enough) == ("held", True)
    assert seen.report.newly_held == tuple(map(str, days))
    kept = seen.lake.candle_frame([FAULTY])
    assert len(kept) == (len(days) + 2) * ROWS
    assert not set(kept["opened_at"].dt.date) & set(days)
    assert seen.lake.candles([SYMBOLS[0]]).num_rows == (2 * len(days) + 2) * ROWS


def test_each_reason_names_the_expectation_the_count_and_the_first_row(seen: Seen) -> None:
    reason = seen.report.held[str(DAY_OF["a zero price"])]
    assert reason == (
        "expect_column_values_to_be_between in `low` failed (1 row, the first with low 0): expected that prices are above zero"
    )
    hole = seen.report.held[str(DAY_OF["a hole"])]
    assert "1 row, the first with missing 2, missing_from 08:20" in hole


def test_a_market_without_faults_passes_with_nothing_to_remark(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    for symbol in SYMBOLS:
        report = gate(lake, tmp_path).check("candles", symbol)
        assert (report.outcome, report.findings, report.held) == ("passed", (), {})
    assert not lake.has("quarantine")


def test_a_shifted_clock_moves_rows_into_the_next_day_and_both_are_left_out(tmp_path: Path) -> None:
    def fault(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[3 * ROWS : 4 * ROWS - 1, "opened_at"] += timedelta(hours=8)
        return frame

    lake = lake_of(tmp_path / "lake", {FAULTY: fault})
    report = gate(lake, tmp_path).check("candles", FAULTY)
    assert report.newly_held == (str(BAD), str(BAD + timedelta(days=1)))
    held = {(str(one.day), one.expectation) for one in quarantine_of(lake).held()}
    assert (str(BAD), WHOLE) in held
    assert (str(BAD + timedelta(days=1)), "expect_column_values_to_be_unique") in held


def test_a_file_with_floats_is_found_though_reads_of_the_table_round_them(tmp_path: Path) -> None:
    begin = 3 * ROWS
    lake = lake_of(tmp_path / "lake", {FAULTY: lambda frame: frame.drop(index=range(begin, begin + ROWS))})
    day = rows(candles(FAULTY).iloc[begin : begin + ROWS]).drop_columns(["symbol"])
    for name in PRICES:
        day = day.set_column(day.column_names.index(name), name, day[name].cast(pa.float64()))
    month = str(BAD)[:7]
    folder = f"symbol={FAULTY}/month={month}"
    (tmp_path / "lake" / "candles" / folder).mkdir(parents=True, exist_ok=True)
    path = tmp_path / "lake" / "candles" / folder / "floats.parquet"
    pq.write_table(day.append_column("date", pa.array([date.fromisoformat(str(BAD))] * day.num_rows)), path)
    table = lake.table("candles")
    action = AddAction(
        f"{folder}/floats.parquet", path.stat().st_size, {"symbol": FAULTY, "month": month}, 0, True, "{}"
    )
    table.create_write_transaction([action], "append", table.schema(), ["symbol", "month"])
    assert lake.candles([FAULTY]).num_rows == DAYS * ROWS
    gate(lake, tmp_path).check("candles", FAULTY)
    held = {(one.day, one.expectation) for one in quarantine_of(lake).held()}
    assert held == {(BAD, "expect_column_pair_values_to_be_equal")}


def test_a_candle_of_the_future_is_caught(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    early = micros(FIRST) + DAYS * DAY - DAY // 2
    gate(lake, tmp_path, now=early).check("candles", FAULTY)
    held = {(one.day - FIRST.date(), one.expectation) for one in quarantine_of(lake).held()}
    assert held == {(timedelta(days=DAYS - 1), BETWEEN)}


def test_a_day_that_goes_on_is_not_called_half(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: lambda frame: frame.iloc[: 7 * ROWS + 100]})
    noon = micros(FIRST) + 7 * DAY + DAY // 2
    assert gate(lake, tmp_path, now=noon).check("candles", FAULTY).outcome == "passed"
    assert gate(lake, tmp_path, now=NOW).check("candles", FAULTY).newly_held == ("2026-02-08",)
