"""The digest of a history, kept up candle by candle, is that of the candles it holds; another bit or time is another digest."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE
from quantstream.features.history_digests import candle_digests, history_digest
from streaming.score.candle_history import CandleHistory
from tests.unit.streaming.score.test_histories import STEP, T0, frame_of

ADDED = st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(1, 5))  # place, revision, close


def candle(place: int, revision: int, close: int) -> Candle:
    prices = (UNIT, 9 * UNIT, 1, close * UNIT)
    return Candle("A1", "5m", T0 + place * STEP, *prices, 30, 29, 1, 7, 6, 1, 1, True, revision)


@given(st.lists(st.tuples(st.booleans(), st.lists(ADDED, min_size=1, max_size=6)), max_size=12))
def test_the_digest_is_that_of_the_candles_held_whatever_came_in_which_order(
    steps: list[tuple[bool, list[tuple[int, int, int]]]],
) -> None:
    history = CandleHistory("A1", "5m", 9)
    history.add(candle(20, 0, 1))
    for is_from_lake, some in steps:
        candles = [candle(*one) for one in some]
        if is_from_lake:
            newest = {one.opened_at: one for one in candles}
            history.fill(frame_of([newest[at] for at in sorted(newest)]))
        else:
            for one in candles:
                history.add(one)
        series = history.series()
        assert series.digest == history_digest(series.at, series.columns)


def test_a_last_bit_a_column_or_a_time_make_another_digest() -> None:
    at, values = np.array([T0, T0 + 5 * MINUTE]), np.arange(12.0).reshape(6, 2)
    other = values.copy()
    other[3, 1] = np.nextafter(other[3, 1], np.inf)
    found = [candle_digests(*one).tolist() for one in ((at, values), (at, other), (at, values[::-1]), (at + 1, values))]
    assert found[0][0] == found[1][0]
    assert len({number for digests in found for number in digests}) == 7
