"""The balance sheet adds up, says both sides, and cannot be filled by strangers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantstream.core.accounts import MOST_STRANGERS, NO_SYMBOL, OUTCOMES, Account, Accounts, newest_of_each

COUNTS = st.lists(st.integers(0, 10**9), min_size=7, max_size=7)


@given(COUNTS, COUNTS)
def test_accounts_add_up_field_by_field(one: list[int], other: list[int]) -> None:
    account = Account(*one)
    account.add(Account(*other))
    assert account == Account(*(a + b for a, b in zip(one, other, strict=True)))


@given(COUNTS)
def test_an_account_closes_when_what_was_read_is_what_became_of_it(counts: list[int]) -> None:
    account = Account(*counts)
    assert account.closes == (counts[0] == sum(counts[1:]))
    account.open()
    assert account.closes
    assert (account.read, account.explained) == (sum(counts[1:]), sum(counts[1:]))


def test_an_account_says_both_sides() -> None:
    sides = "1 stored, 2 duplicate, 3 dead, 4 refused, 5 passed, 6 waiting"
    assert str(Account(21, 1, 2, 3, 4, 5, 6)) == f"21 read = {sides}"
    assert str(Account(20, 1, 2, 3, 4, 5, 6)) == f"20 read, but {sides}"
    assert len(OUTCOMES) == 6


def test_each_symbol_of_each_partition_has_an_account_of_its_own() -> None:
    books = Accounts[int]()
    assert books.add(0, "A", Account(2, 2)) is books.of(0, "A")
    books.add(0, "A", Account(1, 0, 1))
    books.add(1, "A", Account(5, 5))
    assert list(books) == [("A", Account(3, 2, 1)), ("A", Account(5, 5))]
    books.forget(0)
    books.forget(7)
    assert list(books) == [("A", Account(5, 5))]


def test_records_without_a_key_have_one_account() -> None:
    books = Accounts[int]()
    books.add(0, "", Account(1, dead=1))
    assert list(books) == [(NO_SYMBOL, Account(1, dead=1))]


def test_keys_with_nothing_but_dead_records_are_told_apart_up_to_a_bound_and_symbols_always() -> None:
    books = Accounts[int]()
    books.add(0, "FIRST", Account(1, 1))
    for number in range(MOST_STRANGERS + 20):
        books.add(0, f"junk{number}", Account(1, dead=1))
    books.add(0, "LAST", Account(1, 1))
    books.add(0, "junk0", Account(1, dead=1))
    found = dict(books)
    assert found[NO_SYMBOL] == Account(20, dead=20)
    assert (found["junk0"], found["FIRST"], found["LAST"]) == (Account(2, dead=2), Account(1, 1), Account(1, 1))
    assert len(found) == MOST_STRANGERS + 3
    books.forget(0)
    assert books.add(0, "junk5", Account(1, dead=1)) == dict(books)["junk5"], "a new holder counts anew"


def test_of_a_symbols_day_the_row_made_last_counts() -> None:
    rows = [{"symbol": s, "day": d, "made_at": at} for s, d, at in (("B", 1, 5), ("A", 2, 9), ("A", 2, 3), ("A", 1, 4))]
    assert [(row["symbol"], row["day"], row["made_at"]) for row in newest_of_each(rows)] == [
        ("A", 1, 4),
        ("A", 2, 9),
        ("B", 1, 5),
    ]
