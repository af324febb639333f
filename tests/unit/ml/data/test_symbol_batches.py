"""Batches of symbols: all of them, in order, few enough for Airflow; and one symbol's trouble stays its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.symbol_batches import MOST_TASKS, Outcomes, batches, outcomes_of, title
from quantstream.core.errors import DataRejected, Misconfigured, Unavailable
from quantstream.engine import spread
from quantstream.settings import MOST_SYMBOLS

AIRFLOWS_BOUND = 1_024  # core.max_map_length


@given(st.integers(0, 3_000), st.integers(1, AIRFLOWS_BOUND))
def test_batches_are_all_symbols_in_order_and_of_one_size(count: int, most: int) -> None:
    symbols = [f"S{number}" for number in range(count)]
    made = batches(symbols, most)
    assert [symbol for batch in made for symbol in batch] == symbols
    assert len(made) == min(count, most)
    sizes = {len(batch) for batch in made}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_as_many_symbols_as_may_be_set_are_few_enough_tasks() -> None:
    assert len(batches([f"S{number}" for number in range(MOST_SYMBOLS)])) == MOST_TASKS <= AIRFLOWS_BOUND


def test_one_symbol_is_called_by_its_name_and_several_by_their_ends() -> None:
    assert [title(["BTCUSDT"]), title(["A", "B", "C"])] == ["BTCUSDT", "A … C (3)"]


def test_what_is_refused_is_named_and_the_others_are_done() -> None:
    def work(symbol: str) -> str | None:
        if symbol == "BAD":
            raise DataRejected("high is below open")
        if symbol == "NOPE":
            raise Misconfigured("no such symbol")
        return None if symbol == "NEW" else f"{symbol} is fit"

    assert outcomes_of(spread(work, ["A", "BAD", "NEW", "NOPE", "B"]), lambda sentence: sentence) == Outcomes(
        ["A is fit", "B is fit"], {"BAD": "high is below open", "NOPE": "no such symbol"}
    )


def test_what_another_try_may_correct_is_raised_after_the_others_were_done() -> None:
    done = []

    def work(symbol: str) -> str:
        if symbol == "A":
            raise Unavailable("the exchange does not answer")
        done.append(symbol)
        return symbol

    with pytest.raises(Unavailable, match="does not answer"):
        outcomes_of(spread(work, ["A", "B", "C"]), str)
    assert done == ["B", "C"]
