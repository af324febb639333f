"""Lengths of time as a person writes them."""

from __future__ import annotations

import pytest

from quantstream.core.errors import Misconfigured
from quantstream.core.moments import parse_length
from quantstream.core.time import DAY, HOUR, MILLISECOND, MINUTE, SECOND


@pytest.mark.parametrize(
    ("text", "length"),
    [("250ms", 250 * MILLISECOND), ("1s", SECOND), (" 5m ", 5 * MINUTE), ("2h", 2 * HOUR), ("0s", 0), ("1d", DAY)],
)
def test_a_length_is_a_number_and_a_unit(text: str, length: int) -> None:
    assert parse_length(text) == length


@pytest.mark.parametrize("text", ["", "1", "-1s", "1.5s", "soon", "1 s", "1w", "9999999999s"])
def test_anything_else_gets_a_sentence(text: str) -> None:
    with pytest.raises(Misconfigured, match="is no length of time; write one like 250ms, 1s or 5m"):
        parse_length(text)
