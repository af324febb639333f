"""The condition of a day and why, from its counts; which windows it lacks, and which are on their way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quantstream.core.accounts import Account
from quantstream.core.day_condition import ON_ITS_WAY, DayProof, account_trouble, expected
from quantstream.core.time import DAY, HOUR, MINUTE

WHOLE_DAY = DayProof("A", 0, equal=288, trades=10)
replace = msgspec.structs.replace
MIDNIGHT = 20_000 * DAY
STEP = 5 * MINUTE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ("whole", "")),
        ({"is_over": False}, ("pending", "the day is not over")),
        ({"equal": 287, "pending": 1}, ("pending", "candles on their way: 1")),
        ({"equal": 286, "unproved": 2}, ("pending", "candles that nothing could be compared with: 2")),
        ({"equal": 287, "missing": 1}, ("degraded", "1 of 288 candles are missing")),
        ({"equal": 286, "incomplete": 2}, ("degraded", "2 candles are incomplete")),
        ({"missing": 1, "missing_trades": 9}, ("degraded", "1 of 289 candles are missing; 9 ids of trades are missing")),
        ({"equal": 287, "different": 1}, ("degraded", "1 candles differ from their trades or from the exchange's klines")),
        ({"duplicate": 3, "is_over": False}, ("degraded", "3 rows are there twice")),
        ({"equal": 286, "pending": 1, "unproved": 1, "is_over": False},
         ("pending", "candles on their way: 1; candles that nothing could be compared with: 1; the day is not over")),
        ({"equal": 0, "trades": 0, "missing": 288}, ("missing", "none of 288 candles is there")),
        ({"equal": 0, "missing": 288}, ("degraded", "288 of 288 candles are missing")),
        ({"equal": 0, "trades": 0, "pending": 288}, ("pending", "candles on their way: 288")),
    ],
)  # fmt: skip
def test_the_condition_and_why(changes: dict[str, Any], said: tuple[str, str]) -> None:
    assert replace(WHOLE_DAY, **changes).judged() == said


def test_an_account_that_does_not_close_or_agree_with_the_table_degrades_the_day() -> None:
    assert account_trouble(Account(read=3, stored=3), 3) == ""
    assert account_trouble(Account(read=3, stored=3), 4) == "the table holds 4 rows, the sink has stored 3"
    off = account_trouble(Account(read=3, stored=2), 2)
    assert off.startswith("the sink's account does not close: 3 read, but 2 stored")
    assert WHOLE_DAY.judged(off) == ("degraded", off)
    assert account_trouble(None, 5) == ""  # a lake of before, which the sink has not opened yet


def test_a_missing_day_says_what_is_wrong_with_its_account_too() -> None:
    missing = DayProof("A", 0, missing=288)
    assert missing.judged("rows are gone") == ("missing", "none of 288 candles is there; rows are gone")
    assert missing.judged() == ("missing", "none of 288 candles is there")
    assert replace(WHOLE_DAY, duplicate=1).judged("rows are gone") == (
        "degraded",
        "1 rows are there twice; rows are gone",
    )


def test_a_day_has_what_was_found_and_what_should_have_been() -> None:
    day = DayProof("A", 0, equal=1, different=2, missing=4, duplicate=8, incomplete=16, unproved=32, pending=64)
    assert (day.found, day.candles) == (1 + 2 + 16 + 32, 1 + 2 + 16 + 32 + 4 + 64)


@pytest.mark.parametrize(
    ("covered_to", "horizon", "lengths", "windows"),
    [
        (MIDNIGHT, MIDNIGHT + 2 * DAY, [STEP], (288, 0)),  # long over
        (MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, [STEP, HOUR], (288 + 24, 0)),  # no more than the day's own
        (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, [STEP], (0, 0)),
        (MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY, [STEP], (0, 0)),
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 8 * HOUR, [STEP], (12, 12)),
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 8 * HOUR + STEP - 1, [STEP], (12, 12)),  # a window that is not over is none
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 8 * HOUR + STEP, [STEP], (13, 12)),
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 6 * HOUR + ON_ITS_WAY, [STEP], (0, 12)),
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 6 * HOUR, [STEP], (0, 0)),
        (MIDNIGHT + 6 * HOUR, MIDNIGHT + 8 * HOUR, [STEP, HOUR], (13, 13)),
        (MIDNIGHT + 6 * HOUR + MINUTE, MIDNIGHT + 8 * HOUR, [STEP], (11, 12)),  # what is covered in part is
        (MIDNIGHT + 7 * HOUR + 31 * MINUTE, MIDNIGHT + 8 * HOUR, [STEP], (0, 5)),
        (MIDNIGHT, MIDNIGHT - HOUR, [STEP], (0, 0)),  # a day to come
        (MIDNIGHT, MIDNIGHT + DAY + ON_ITS_WAY // 2, [STEP], (288 - 6, 6)),
    ],
)
def test_what_is_younger_than_an_hour_is_on_its_way_and_what_is_older_is_missed(
    covered_to: int, horizon: int, lengths: list[int], windows: tuple[int, int]
) -> None:
    assert expected(MIDNIGHT, covered_to, horizon, lengths) == windows
