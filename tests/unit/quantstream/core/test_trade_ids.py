"""Ids tell new, seen and missing trades apart, held to a set of all ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import MAX_GAPS, Gap, IdStatus, Sequence

T0 = 1_723_161_600 * SECOND


def trade(first: int, last: int | None = None, at: int | None = None, by_id: bool = False, number: int = 0) -> Trade:
    last = first if last is None else last
    return Trade(
        "A", number or first, first, last, UNIT, UNIT, T0 + (first if at is None else at) * SECOND, False, by_id
    )


def begun(*ids: int) -> Sequence:
    """Return the sequence of a log that begins with id 100."""
    sequence = Sequence()
    for number in (100, *ids):
        sequence.take(trade(number))
    return sequence


@given(st.lists(st.tuples(st.integers(100, 160), st.integers(0, 3)), max_size=80))
def test_a_trade_is_new_exactly_when_none_of_its_ids_was_seen(items: list[tuple[int, int]]) -> None:
    sequence, seen = Sequence(), set[int]()
    sequence.take(trade(99))
    for first, more in items:
        ids = set(range(first, first + more + 1))
        found, _ = sequence.take(trade(first, first + more))
        if not ids & seen:
            assert found.is_new
            seen |= ids
        elif ids <= seen:
            assert found is IdStatus.DUPLICATE
        else:
            assert found is IdStatus.OVERLAP
            assert found.is_refused
    missing = {number for gap in sequence.open_gaps if gap.after for number in range(gap.first, gap.last + 1)}
    assert missing == set(range(100, max(seen, default=99))) - seen
    assert sequence.missing - sequence.recovered == len(missing)


def test_a_log_begins_with_a_gap_before_it_that_the_first_sign_of_life_bounds() -> None:
    sequence = Sequence()
    assert sequence.take(trade(100), alive_from=T0 + 40 * SECOND) == (IdStatus.NEXT, None)
    assert sequence.open_gaps == [Gap(0, 99, 0, T0 + 40 * SECOND)]
    assert (sequence.gaps, sequence.missing) == (0, 0), "nothing was lost before the log began"
    later = Sequence()
    later.take(trade(100), alive_from=T0 + 400 * SECOND)
    assert later.open_gaps == [Gap(0, 99, 0, T0 + 100 * SECOND)], "the first trade itself bounds it"
    first = Sequence()
    first.take(trade(0))
    assert first.open_gaps == []


def test_a_jump_opens_a_gap_between_two_times() -> None:
    sequence = begun()
    assert sequence.take(trade(105)) == (IdStatus.JUMP, Gap(101, 104, T0 + 100 * SECOND, T0 + 105 * SECOND))
    assert (sequence.gaps, sequence.missing, sequence.last_id) == (1, 4, 105)
    early = begun()
    assert early.take(trade(105, at=90))[1] == Gap(101, 104, T0 + 90 * SECOND, T0 + 90 * SECOND)


def test_a_trade_in_a_gap_leaves_what_is_still_missing_on_both_sides() -> None:
    sequence = begun(110)
    assert sequence.take(trade(104, 106))[0] is IdStatus.FILLED
    assert sequence.open_gaps[1:] == [
        Gap(101, 103, T0 + 100 * SECOND, T0 + 104 * SECOND),
        Gap(107, 109, T0 + 104 * SECOND, T0 + 110 * SECOND),
    ]
    assert (sequence.missing, sequence.recovered) == (9, 3)
    for first, last in ((101, 103), (107, 109)):
        sequence.take(trade(first, last))
    assert (len(sequence.open_gaps), sequence.recovered) == (1, 9)
    assert sequence.take(trade(50))[0] is IdStatus.FILLED
    assert sequence.recovered == 9, "what came before the log was never lost"


def test_aggregates_of_futures_are_numbered_by_their_own_ids() -> None:
    sequence = Sequence()
    sequence.take(trade(1000, 1002, by_id=True, number=7))
    assert sequence.take(trade(1005, 1006, by_id=True, number=8))[0] is IdStatus.NEXT
    assert sequence.take(trade(1020, 1020, by_id=True, number=10)) == (
        IdStatus.JUMP,
        Gap(9, 9, T0 + 1005 * SECOND, T0 + 1020 * SECOND),
    )


def test_of_the_oldest_gaps_no_more_is_remembered_than_a_bound() -> None:
    sequence = begun(*range(102, 102 + 2 * MAX_GAPS, 2))
    assert len(sequence.open_gaps) == MAX_GAPS + 1
    assert sequence.give_up_oldest() == Gap(0, 99, 0, T0 + 100 * SECOND)
    assert sequence.give_up_oldest() is None, "the bound itself is allowed"
    assert sequence.floor == 99
    assert (sequence.take(trade(98))[0], sequence.take(trade(99))[0]) == (IdStatus.UNKNOWN, IdStatus.UNKNOWN)
    assert sequence.take(trade(100))[0] is IdStatus.DUPLICATE
    assert (sequence.unknown, sequence.duplicates, sequence.refused) == (2, 1, 2)
    assert sequence.give_up_oldest(most=MAX_GAPS - 1) == Gap(101, 101, T0 + 100 * SECOND, T0 + 102 * SECOND)


def test_a_window_may_lack_a_trade_where_a_gaps_times_touch_it() -> None:
    sequence, at = begun(), T0 + 100 * SECOND
    sequence.open_gaps = [Gap(101, 104, at, at + 10 * SECOND)]
    length = 5 * SECOND
    for opened_at, since, may in (
        (at - length, 0, False),  # ends with the trade before the gap
        (at - length + 1, 0, True),
        (at + 10 * SECOND, 0, True),
        (at + 10 * SECOND + 1, 0, False),
        (at, at + 10 * SECOND, True),
        (at, at + 10 * SECOND + 1, False),
    ):
        assert sequence.may_lack(opened_at, length, since) is may


def test_gaps_and_what_cannot_be_split_are_counted_one_by_one() -> None:
    sequence = begun(102, 105)
    assert (sequence.gaps, sequence.missing) == (2, 3)
    for first in (100, 104):  # each holds a trade that was seen and one that was not
        assert sequence.take(trade(first, first + 1))[0] is IdStatus.OVERLAP
    assert (sequence.overlaps, sequence.unknown, sequence.refused) == (2, 0, 2)


def test_a_log_that_begins_with_the_first_trade_of_all_lacks_none_before_it() -> None:
    sequence = Sequence()
    sequence.begin(0, T0)
    assert sequence.open_gaps == []
