"""Which revisions a scorer held is found again by the digest that its score carries."""

from __future__ import annotations

import pytest

from ml.serving.known_histories import StoredCandles
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.lake.schemas import candle_rows

T0 = 1_723_161_600 * SECOND
STEP = 5 * MINUTE


def candle(place: int, close: int, revision: int = 0) -> Candle:
    prices = (UNIT, 99 * UNIT, 1, close * UNIT)
    return Candle("A1", "5m", T0 + place * STEP, *prices, 30, 29, 1, 7, 6, 1, 1, True, revision)


def stored(*rows: tuple[Candle, int | None]) -> StoredCandles:
    """The lake's rows: candles and when they became known, in windows after T0."""
    known = [None if at is None else T0 + at * STEP for _, at in rows]
    return StoredCandles(candle_rows([one for one, _ in rows], known_at=known))


LAKE = stored(
    (candle(0, 1), None),  # of before it was said when
    (candle(1, 2), 2),
    (candle(2, 3), 3),
    (candle(2, 4, revision=1), 5),
    (candle(3, 5), 4),
    (candle(0, 6, revision=1), 7),
    (candle(1, 7, revision=1), 7),  # in the same instant
    (candle(4, 8), 5),
    (candle(4, 9, revision=1), 6),
    (candle(5, 10), 9),  # filled in late
    (candle(6, 11), 8),
)


def held(newest: int, closes: list[int] | None, first: int = 0) -> tuple[list[int], bool] | None:
    """What is found for the score of a window whose digest is that of candles with these closes."""
    by_close = {round(close): digest for close, digest in zip(LAKE.values[3], LAKE.digests, strict=True)}
    digest = None if closes is None else sum(int(by_close[close]) for close in closes) % 2**64
    found = LAKE.history(T0 + first * STEP, T0 + newest * STEP, 0, digest)
    return None if found is None else ([round(close) for close in LAKE.values[3, found.rows]], found.is_proved)


@pytest.mark.parametrize(
    ("newest", "closes"),
    [
        (3, [1, 2, 3, 5]),  # as they closed
        (3, [1, 2, 4, 5]),  # the lake was ahead
        (4, [1, 2, 4, 5, 8]),
        (6, [6, 7, 4, 5, 9, 11]),
        (6, [6, 2, 4, 5, 9, 11]),  # between two of one instant
        (6, [6, 7, 4, 5, 9, 10, 11]),
    ],
)
def test_the_candles_are_those_that_the_digest_is_of(newest: int, closes: list[int]) -> None:
    assert held(newest, closes) == (closes, True)


def test_a_digest_of_other_candles_is_not_believed() -> None:
    assert held(4, [1, 2, 4, 8]) == ([1, 2, 4, 5, 8], False)  # window 3 was known before the newest one


def test_without_a_digest_they_are_those_known_with_the_newest() -> None:
    assert held(3, None) == ([1, 2, 3, 5], False)
    assert held(6, None) == ([6, 7, 4, 5, 9, 11], False)


def test_a_shorter_history_begins_where_it_says() -> None:
    assert held(3, [3, 5], first=2) == ([3, 5], True)


def test_a_candle_that_is_not_stored_has_no_history() -> None:
    assert held(9, None) is None
