"""The suites of trades, features and scores: what is sound passes, each fault is caught and its day alone is held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml.validation.other_frames import SINCE, feature_frames, score_frames
from ml.validation.report import Report
from quantstream import features
from quantstream.core.time import DAY, micros
from quantstream.lake.quarantine import quarantine_of
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake
from tests.unit.ml.validation.markets import DAYS, FIRST, SYMBOLS, gate, lake_of

SYMBOL = SYMBOLS[0]
A_DAY = 50  # trades, or scores, a day
Rows = list[dict[str, Any]]
Plant = Callable[[Rows, int], None]  # changes the row at a place, or those around it


def trades(days: int) -> Rows:
    rng = np.random.default_rng(3)
    price = 5_000 * np.exp(np.cumsum(rng.normal(0, 0.0005, days * A_DAY)))
    return [
        {
            "symbol": SYMBOL,
            "id": 100 + i,
            "first_trade_id": 100 + i,
            "last_trade_id": 100 + i,
            "price": Decimal(f"{price[i]:.2f}"),
            "quantity": Decimal(f"{rng.uniform(0.1, 3):.3f}"),
            "traded_at": FIRST + timedelta(days=i // A_DAY, minutes=i % A_DAY),
            "received_at": FIRST + timedelta(days=i // A_DAY, minutes=i % A_DAY, seconds=1),
            "buyer_is_maker": bool(i % 2),
            "origin": "live",
        }
        for i in range(days * A_DAY)
    ]


def scores(days: int) -> Rows:
    forecast = {
        "horizon": "5m",
        "levels": [0.05, 0.5, 0.95],
        "log_returns": [-0.1, 0.0, 0.1],
        "targets": [9.0, 10.0, 11.0],
    }
    return [
        {
            "symbol": SYMBOL,
            "interval": "5m",
            "opened_at": FIRST + timedelta(days=i // A_DAY, minutes=5 * (i % A_DAY)),
            "revision": 0,
            "close": 10.0,
            "scored_at": FIRST + timedelta(days=60),
            "feature_hash": "abc",
            "forecasts": [dict(forecast)],
            "action": "Hold",
            "buy": 0.2,
            "hold": 0.5,
            "sell": 0.3,
            "risk": 20.0,
            "novelty": 0.1,
            "reasons": [],
            "models": [("m", "1")],
            "abstained": "",
            "elapsed_ms": 1.0,
            "known_at": FIRST,
            "usually_up": 0.48,
            "tail_lean": -0.1,
            "expected_return": -0.0001,
            "round_trip_cost": 0.002,
        }
        for i in range(days * A_DAY)
    ]


def put(**values: Any) -> Plant:
    def plant(rows: Rows, place: int) -> None:
        rows[place] |= {name: value(rows[place][name]) if callable(value) else value for name, value in values.items()}

    return plant


def twice(rows: Rows, place: int) -> None:
    rows.append(dict(rows[place]))


def gone(rows: Rows, place: int) -> None:
    del rows[place]


def silent(rows: Rows, place: int) -> None:
    rows[place] |= {"forecasts": [], "action": None, "buy": None, "hold": None, "sell": None, "risk": None}


TRADE_FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "stored twice": (twice, {"expect_column_values_to_be_unique", "expect_trade_ids_to_follow"}),
    "ids with a gap": (gone, {"expect_trade_ids_to_follow"}),
    "older than the one before": (
        put(traded_at=lambda at: at - timedelta(minutes=5)),
        {"expect_trades_in_order_of_time"},
    ),
    "price times ten": (put(price=lambda price: price * 10), {"expect_trade_price_near_the_one_before"}),
    "zero price": (put(price=Decimal(0)), {"expect_column_values_to_be_between"}),
    "no quantity": (put(quantity=Decimal(0)), {"expect_column_values_to_be_between"}),
    "a float": (put(price=lambda price: price + Decimal("0.00000003")), {"expect_prices_to_be_exact_decimals"}),
}
SCORE_FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "scored twice": (twice, {"expect_compound_columns_to_be_unique"}),
    "crossed quantiles": (
        put(forecasts=lambda found: [{**found[0], "log_returns": [0.1, 0.0, 0.2]}]),
        {"expect_quantiles_in_order"},
    ),
    "shares beyond one": (put(buy=0.9), {"expect_shares_to_sum_to_one"}),
    "risk beyond a hundred": (put(risk=101.0), {"expect_column_values_to_be_between"}),
    "a direction beyond all chances": (put(usually_up=1.2), {"expect_column_values_to_be_between"}),
    "tails that lean too far": (put(tail_lean=-1.5), {"expect_column_values_to_be_between"}),
    "costs in basis points": (put(round_trip_cost=20.0), {"expect_column_values_to_be_between"}),
    "an unknown action": (put(action="Gamble"), {"expect_column_values_to_be_in_set"}),
    "nothing said, no reason": (silent, {"expect_score_or_reason"}),
}


def checked(folder: Path, table: str, rows: Rows) -> tuple[Lake, Report]:
    lake = Lake(str(folder / "lake"))
    schema = pa.schema([field for field in SCHEMAS[table] if field.name != "date"])
    lake.append(table, pa.Table.from_pylist(rows, schema))
    return lake, gate(lake, folder, now=10**15 * 2).check(table, SYMBOL)


@pytest.mark.parametrize(
    ("table", "make", "faults"), [("trades", trades, TRADE_FAULTS), ("scores", scores, SCORE_FAULTS)]
)
def test_each_fault_is_caught_on_its_day_and_sound_days_pass(
    tmp_path: Path, table: str, make: Any, faults: Any
) -> None:
    days = 2 * len(faults) + 1
    _, sound = checked(tmp_path / "sound", table, make(days))
    assert (sound.outcome, sound.findings) == ("passed", ())
    rows, expected = make(days), {}
    for number, (plant, names) in enumerate(faults.values()):
        plant(rows, (2 * number + 1) * A_DAY + 20)
        expected[FIRST.date() + timedelta(days=2 * number + 1)] = names
    lake, report = checked(tmp_path / "bad", table, rows)
    found: dict[date, set[str]] = {}
    for one in quarantine_of(lake).held(table):
        found.setdefault(one.day, set()).add(one.expectation)
    assert found == expected
    assert report.newly_held == tuple(map(str, expected))


def test_scores_of_before_the_direction_was_said_are_sound_in_a_lake_of_before_and_in_a_migrated_one(
    tmp_path: Path,
) -> None:
    rows = [{name: value for name, value in row.items() if name not in SINCE} for row in scores(1)]
    assert checked(tmp_path, "scores", rows)[1].findings == ()
    frame = score_frames(pa.Table.from_pylist(rows)).rows
    assert frame[list(SINCE)].isna().all(axis=None)


def test_an_abstaining_score_is_sound(tmp_path: Path) -> None:
    rows = scores(1)
    silent(rows, 3)
    rows[3]["abstained"] = "no champion yet"
    assert checked(tmp_path, "scores", rows)[1].findings == ()


def test_features_of_sound_candles_pass_and_infinite_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path / "lake")
    report = gate(lake, tmp_path).check("features", SYMBOL)
    assert (report.outcome, report.days, [one for one in report.findings if one.is_critical]) == ("passed", DAYS, [])

    assert gate(Lake(str(tmp_path / "none")), tmp_path).check("features", SYMBOL).rows == 0

    def odd(candles: Any) -> Any:
        frames = feature_frames(candles)
        frames.rows.loc[3 * 288 + 7, features.NAMES[0]] = np.inf
        return frames

    monkeypatch.setattr("ml.validation.incremental.stretches.feature_frames", odd)
    found = gate(lake, tmp_path).check("features", SYMBOL)
    assert (found.newly_held, next(iter(found.held.values()))[:26]) == (("2026-02-04",), "expect_no_infinite_numbers")


def test_what_came_while_it_was_read_is_not_of_the_future(tmp_path: Path) -> None:
    lake, rows = Lake(str(tmp_path / "lake")), trades(2)
    lake.append("trades", pa.Table.from_pylist(rows, pa.schema([f for f in SCHEMAS["trades"] if f.name != "date"])))
    newest = micros(rows[-1]["traded_at"])
    told = iter([newest - DAY // 48, newest + 1])
    assert gate(lake, tmp_path, clock=lambda: next(told)).check("trades", SYMBOL).findings == ()
    ahead = gate(lake, tmp_path, clock=lambda: newest - 1).check("trades", SYMBOL)
    assert [(one.column, sum(one.days.values())) for one in ahead.findings] == [("traded_at", 1)]
    assert gate(lake, tmp_path, clock=lambda: None).check("trades", SYMBOL).findings == ()  # nobody tells
