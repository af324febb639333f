"""Rows of CSV as columns: plain ones are read to the last digit, any other is left to the careful reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.core.decimals import UNIT, units_text
from quantstream.decode import rows
from quantstream.decode.records import AMOUNT, FIRST_ID, ID, LAST_ID, PADDING, TRADED_AT, UNITS

AGGREGATES = (ID, UNITS, AMOUNT, FIRST_ID, LAST_ID, TRADED_AT, rows.MAKER, rows.BEST)
SINGLES = (ID, UNITS, AMOUNT, rows.IGNORED, TRADED_AT, rows.MAKER)
AT = 1_754_006_400_000  # ms


def read(lines: list[str], fields: tuple[int, ...] = AGGREGATES, is_single: bool = False) -> Any:
    """Return the columns of rows, who made them, and which are plain."""
    text = np.frombuffer("".join(f"{line}\n" for line in lines).encode() + PADDING, np.uint8)
    count = len(lines)
    table, maker, sound = np.zeros((6, count), np.int64), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    run = rows.read.over(text, np.array(fields), table, maker, sound, np.zeros(rows.FIELDS, np.int64))
    assert run(count, len(fields), is_single) == len(text) - len(PADDING)
    return table.T.tolist(), maker.tolist(), sound.tolist()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**15),
            st.integers(1, 10**12),
            st.integers(0, 10**12),
            st.integers(1, 1_000),
            st.integers(0, 10**9),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_every_digit_of_a_plain_row_is_read(drawn: list[tuple[int, int, int, int, int, bool, bool]]) -> None:
    lines, expected = [], []
    for number, price, quantity, count, later, maker, in_micros in drawn:
        first, last, at = number + 5, number + 4 + count, AT + later
        printed = at * 1000 + 7 if in_micros else at
        cells = [number, units_text(price), units_text(quantity), first, last, printed, maker, True]
        lines.append(",".join(map(str, cells)))
        expected.append([number, first, last, price, quantity, printed if in_micros else at * 1000])
    assert read(lines) == (expected, [row[5] for row in drawn], [True] * len(drawn))


def test_single_trades_have_one_id_and_cells_that_say_nothing_are_passed_over() -> None:
    table, maker, sound = read([f"7,1.5,2,anything at all,{AT},TRUE"], SINGLES, is_single=True)
    assert table == [[7, 7, 7, 3 * UNIT // 2, 2 * UNIT, AT * 1000]]
    assert (maker, sound) == ([True], [True])


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "x",
        f"5,1.5,1,5,5,{AT},True",  # a cell is missing
        f"5,1.5,1,5,5,{AT},True,True,more",
        f"5,1.5,1,5,5,{AT},yes,True",
        f"5,1.5,1,5,5,{AT},False,falsE!",
        f"5,1.5,1,5,5,{AT},fals?,True",
        f"5,.5,1,5,5,{AT},True,True",
        f"5,-1,1,5,5,{AT},True,True",
        f"5,1e5,1,5,5,{AT},True,True",
        f"5,1.123456789,1,5,5,{AT},True,True",
        f"5,0,1,5,5,{AT},True,True",
        f"5,1.5,1,6,5,{AT},True,True",
        f"5,1.5,1,5,{5 + 10**9},{AT},True,True",
        f"{'9' * 19},1.5,1,5,5,{AT},True,True",
        "5,1.5,1,5,5,1754006400,True,True",  # seconds
        "5,1.5,1,5,5,4102444800000,True,True",
        "5,1.5,1,5,5,1230767999999,True,True",
        f"5,9999999999,9999999999,5,5,{AT},True,True",  # worth more than can be
    ],
)
def test_an_odd_row_is_left_alone_and_its_neighbours_are_read(odd: str) -> None:
    plain = f"5,1.5,1,5,5,{AT},False,True"
    table, maker, sound = read([plain, odd, plain])
    assert sound == [True, False, True]
    assert table[0] == table[2] == [5, 5, 5, 3 * UNIT // 2, UNIT, AT * 1000]
    assert (maker[0], maker[2]) == (False, False)
