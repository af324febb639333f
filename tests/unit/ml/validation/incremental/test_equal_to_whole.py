"""A law: whatever comes, month by month, the quarantine is what one check of everything would make it."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml.validation.cli import hold, let_out
from ml.validation.report import Report
from quantstream.core.time import micros
from quantstream.lake.quarantine import GATE, quarantine_of
from quantstream.lake.store import Lake
from tests.unit.ml.validation.markets import AT, FIRST, ROWS, SYMBOLS, candles, gate, rows

DAYS = 195  # February to August 14th
BEGUN = 150  # days that are there when the first check is made
BEGINS = (28, 59, 89, 120, 150, 181)  # days: where months begin
OTHERS = SYMBOLS[:4]
CHECKED = SYMBOLS[1]
WORLDS = int(os.environ.get("QUANTSTREAM_TEST_WORLDS", "2"))  # more by hand: each takes half a minute


@pytest.fixture(scope="module")
def market() -> dict[str, pa.Table]:
    """Candles of half a year, in order."""
    return {symbol: rows(candles(symbol, DAYS)) for symbol in OTHERS}


class World:
    """Two lakes that get the same rows: one is checked by what changed, the other as a whole each time."""

    def __init__(self, market: dict[str, pa.Table], folder: Path, seed: int) -> None:
        self.market, self.draw, self.days, self.step = market, random.Random(seed), 0, 0
        self.lakes = {name: Lake(str(folder / name)) for name in ("by_month", "whole")}
        self.folder, self.revision, self.dropped = folder, 0, list[pa.Table]()
        self.go_on(BEGUN)

    def put(self, table: pa.Table) -> None:
        for lake in self.lakes.values():
            lake.append("candles", table)

    def go_on(self, days: int, hole: bool = False) -> None:
        begin, self.days = self.days, min(self.days + days, DAYS)
        for symbol, table in self.market.items():
            some = table.slice(begin * ROWS, (self.days - begin) * ROWS)
            if hole and symbol == CHECKED and some.num_rows > 20:
                place = self.draw.randrange(some.num_rows - 20)
                self.dropped.append(some.slice(place, 3))
                some = pa.concat_tables([some.slice(0, place), some.slice(place + 3)])
            self.put(some)

    def correct(self, symbol: str, change: Any, first: int, count: int) -> None:
        """Append revisions of some candles, as corrections do."""
        self.revision += 1
        some = self.market[symbol].slice(first, count).to_pylist()
        for row in some:
            change(row)
            row["revision"] = self.revision
        self.put(pa.Table.from_pylist(some, self.market[symbol].schema))

    def happen(self) -> None:
        """Let something happen to rows of any month."""
        first, kind = self.place(), self.draw.randrange(8)
        if kind == 0:
            self.go_on(self.draw.randrange(1, 12), hole=True)
        elif kind == 1 and self.dropped:
            self.put(self.dropped.pop(0))
        elif kind == 2:
            self.correct(CHECKED, times(Decimal(10)), first, self.draw.choice((1, 40, 600)))
        elif kind == 3:
            self.correct(CHECKED, silent, first, self.draw.choice((5, 13, 200)))
        elif kind == 4:  # the market moves, or no longer moves, along
            for symbol in OTHERS:
                self.correct(symbol, times(Decimal("1.6")), first, 100)
        elif kind == 5:
            self.correct(CHECKED, times(Decimal(1)), max(0, first - 600), 600)  # what was wrong there is right again
        elif kind == 6:
            self.correct(CHECKED, loud, first, self.draw.choice((ROWS, 21 * ROWS)))
        else:
            self.decide(first)

    def place(self) -> int:
        """Draw a row: of any time, or about where a month begins, so that what lies around it is of another month."""
        last = self.days * ROWS - 700
        if self.draw.random() < 0.3:
            return self.draw.randrange(last)
        begin = self.draw.choice([day for day in BEGINS if day < self.days - 5]) * ROWS
        return min(last, max(0, begin - self.draw.choice((0, 1, 6, 39, 100, 599, ROWS))))

    def decide(self, first: int) -> None:
        """A person holds a day, or lets one out."""
        for lake in self.lakes.values():
            if held := quarantine_of(lake).held("candles", CHECKED):
                let_out(lake, "candles", CHECKED, held[0].day, "known")
            else:
                hold(lake, "candles", CHECKED, (FIRST + timedelta(days=first // ROWS)).date(), "odd")

    def checked(self) -> dict[str, list[Report]]:
        self.step += 1
        now = micros(FIRST + timedelta(days=self.days, hours=2))
        at = AT + timedelta(days=400 + self.step)
        found = {}
        for name, lake in self.lakes.items():
            state = self.folder / f"{name}_state"
            asked = gate(lake, state, now=now, at=at, anew=name == "whole")
            asked.symbols = OTHERS
            found[name] = [asked.check(table, CHECKED) for table in ("candles", "features")]
        return found

    def held(self, name: str) -> list[tuple[object, ...]]:
        return [
            (one.table, one.day, one.expectation, one.reason, one.rows if one.by == GATE else 0)
            for one in quarantine_of(self.lakes[name]).held()
        ]


def times(factor: Decimal) -> Any:
    def change(row: dict[str, Any]) -> None:
        for name in ("open", "high", "low", "close", "quote_volume"):
            row[name] = row[name] * factor

    return change


def loud(row: dict[str, Any]) -> None:
    for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        row[name] = row[name] * 200


def silent(row: dict[str, Any]) -> None:
    for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        row[name] = Decimal(0)
    row["trade_count"], row["first_trade_id"], row["last_trade_id"] = 0, -1, -1


def said(report: Report) -> tuple[object, ...]:
    """What a report says, but for how much was read for it."""
    found = [(one.expectation, one.column, one.severity, dict(one.days), dict(one.firsts)) for one in report.findings]
    return (report.rows, report.days, report.usable_rows, report.first, report.last, report.held, report.outages, found)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "steps"), [(seed, 10) for seed in range(1, 1 + WORLDS)])
def test_checks_of_what_changed_come_to_what_a_check_of_everything_does(
    market: dict[str, pa.Table], tmp_path: Path, seed: int, steps: int
) -> None:
    world = World(market, tmp_path, seed)
    read = []
    for _ in range(steps):
        found = world.checked()
        assert [said(one) for one in found["by_month"]] == [said(one) for one in found["whole"]]
        assert world.held("by_month") == world.held("whole")
        read.append(found["by_month"][0].months_anew)
        world.happen()
    assert read[0] == 5
    assert min(read) < 5


MARCH, MAY, JUNE, JULY = 28, 89, 120, 150  # days


def copied(world: World, row: int) -> None:
    """A candle becomes a copy of the one before."""
    (before,) = market_row(world, row - 1)
    before["opened_at"] += timedelta(minutes=5)
    world.revision += 1
    world.put(pa.Table.from_pylist([{**before, "revision": world.revision}], world.market[CHECKED].schema))


def market_row(world: World, row: int) -> list[dict[str, Any]]:
    return world.market[CHECKED].slice(row, 1).to_pylist()


def equal(world: World) -> Report:
    """See that both lakes say the same, and return what is said of the candles."""
    found = world.checked()
    assert [said(one) for one in found["by_month"]] == [said(one) for one in found["whole"]]
    assert world.held("by_month") == world.held("whole")
    return found["by_month"][0]


def test_what_follows_decides_on_what_was_there_and_what_was_before_on_what_is_read_again(
    market: dict[str, pa.Table], tmp_path: Path
) -> None:
    world = World(market, tmp_path, 0)
    copied(world, MAY * ROWS)  # of the last candle of April, which is not read again as one of its own
    world.correct(CHECKED, times(Decimal(10)), JULY * ROWS - 10, 10)  # the way back is not there yet
    assert set(equal(world).held) == {"2026-05-01", "2026-06-30"}
    world.go_on(3)
    report = equal(world)
    assert (report.months_anew, report.months) == (3, 6)
    assert set(report.held) == {"2026-05-01", "2026-06-30"}
    assert "(10 rows" in next(
        one.on("2026-06-30") for one in report.findings if one.expectation.startswith("expect_price")
    )


def test_the_market_and_a_persons_word_decide_on_months_that_did_not_change(
    market: dict[str, pa.Table], tmp_path: Path
) -> None:
    world = World(market, tmp_path, 0)
    place = MARCH * ROWS + 2100
    world.correct(CHECKED, times(Decimal("1.6")), place, 100)
    world.correct(CHECKED, times(Decimal(10)), JUNE * ROWS - 10, 20)  # June is not read again, and has the way back
    assert set(equal(world).held) == {"2026-03-08", "2026-05-31", "2026-06-01"}
    for symbol in OTHERS:
        if symbol != CHECKED:  # the market moved along after all
            world.correct(symbol, times(Decimal("1.6")), place, 100)
    world.correct(CHECKED, times(Decimal(1)), place + 300, 1)  # to what it was: May looks at March
    for lake in world.lakes.values():
        hold(lake, "candles", CHECKED, (FIRST + timedelta(days=MAY + 1)).date(), "odd")
    report = equal(world)  # its features lack the day
    assert (report.months_anew, report.months) == (4, 5)
    assert set(report.held) == {"2026-05-02", "2026-05-31", "2026-06-01"}


CONTEXT_FROM = 54  # days: where the reading of May and what follows begins, 35 days before
BEFORE_MAY = 82


@pytest.mark.parametrize(
    ("change", "day", "count"),
    [
        (times(Decimal(3)), CONTEXT_FROM + 1, 1),
        pytest.param(silent, BEFORE_MAY, 9 * ROWS, marks=pytest.mark.slow),
        pytest.param(times(Decimal("1.4")), CONTEXT_FROM + 2, 100, marks=pytest.mark.slow),
    ],
)
def test_what_goes_on_for_longer_than_a_part_shows_is_read_as_a_whole(
    market: dict[str, pa.Table], tmp_path: Path, change: Any, day: int, count: int
) -> None:
    world = World(market, tmp_path, 0)
    world.correct(CHECKED, change, day * ROWS, count)
    world.checked()
    world.go_on(3)  # July: May and June look at it
    found = world.checked()
    assert [said(one) for one in found["by_month"]] == [said(one) for one in found["whole"]]
    assert world.held("by_month") == world.held("whole")
    assert found["by_month"][0].months_anew == found["by_month"][0].months == 6


@pytest.mark.slow
def test_after_a_pause_of_months_the_candle_before_it_counts(market: dict[str, pa.Table], tmp_path: Path) -> None:
    """The candles of March and April are missing, and those of May are ten times as dear as February's."""
    world = World({symbol: table.slice(0, 0) for symbol, table in market.items()}, tmp_path, 0)
    world.days = DAYS
    for symbol, table in market.items():
        if symbol != CHECKED:
            world.put(table)
    own = market[CHECKED]
    later = own.slice(89 * ROWS, 61 * ROWS).to_pylist()
    for row in later:
        times(Decimal(10))(row)
    world.put(own.slice(0, 27 * ROWS))
    world.put(pa.Table.from_pylist(later, own.schema))
    first = world.checked()
    last = own.slice(150 * ROWS, 3 * ROWS).to_pylist()
    for row in last:
        times(Decimal(10))(row)
    world.put(pa.Table.from_pylist(last, own.schema))
    found = world.checked()
    for one in (first, found):
        assert [said(report) for report in one["by_month"]] == [said(report) for report in one["whole"]]
    assert world.held("by_month") == world.held("whole")
    assert 0 < found["by_month"][0].months_anew < found["by_month"][0].months
