"""Records are counted by partition and symbol, each once, wherever they are found and whatever they become."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from quantstream.core.accounts import Account
from quantstream.decode.arrays import Ints
from quantstream.decode.symbol_index import SymbolTable
from quantstream.decode.tally import Tally

KEYS = [b"BTCUSDT", b"ETHUSDT", b"A"]


def ints(*numbers: int) -> Ints:
    return np.array(numbers, np.int64)


@pytest.fixture
def symbols() -> SymbolTable:
    table = SymbolTable()
    table.learn(KEYS)
    return table


def drained(tally: Tally) -> dict[tuple[int, str], Account]:
    return {(partition, symbol): account for partition, symbol, account in tally.drain()}


def test_counts_are_handed_over_once(symbols: SymbolTable) -> None:
    tally = Tally(symbols)
    btc, eth = symbols.names.index("BTCUSDT"), symbols.names.index("ETHUSDT")
    tally.add("read", ints(3, 5, 3), ints(btc, eth, btc))
    tally.add("stored", ints(3), ints(btc))
    tally.add("read", ints(), ints())  # nothing came
    assert drained(tally) == {(3, "BTCUSDT"): Account(read=2, stored=1), (5, "ETHUSDT"): Account(read=1)}
    assert drained(tally) == {}


def test_a_symbol_in_two_partitions_has_two_counts(symbols: SymbolTable) -> None:
    rng = random.Random(7)
    tally, expected = Tally(symbols), Counter[tuple[int, str]]()
    for _ in range(5):
        codes, partitions = rng.choices(range(3), k=50), rng.choices(range(4), k=50)
        tally.add("read", ints(*partitions), ints(*codes))
        expected.update((partition, symbols.names[code]) for partition, code in zip(partitions, codes, strict=True))
    assert {key: account.read for key, account in drained(tally).items()} == expected


def test_records_without_a_number_are_counted_by_their_key(symbols: SymbolTable) -> None:
    tally = Tally(symbols)
    keys = [b"A", b"no symbol", None, b"\xff"]
    tally.add("read", ints(0, 0, 1, 1), ints(symbols.names.index("A"), -1, -1, -1), keys)
    tally.add("dead", ints(1), ints(-1), keys, rows=ints(2))
    assert drained(tally) == {
        (0, "A"): Account(read=1),
        (0, "no symbol"): Account(read=1),
        (1, ""): Account(read=1, dead=1),
        (1, "\ufffd"): Account(read=1),
    }


def test_what_waited_is_counted_as_what_became_of_it(symbols: SymbolTable) -> None:
    tally = Tally(symbols)
    tally.add("waiting", ints(0, 0), ints(0, 1))
    tally.add_one("waiting", 1, "elsewhere", 3)
    tally.move("waiting", "stored")
    assert [account.stored for account in drained(tally).values()] == [1, 1, 3]
    assert all(account.waiting == 0 for account in drained(tally).values())


def test_one_by_one_and_by_the_batch_add_up(symbols: SymbolTable) -> None:
    tally, name = Tally(symbols), symbols.names[0]
    tally.add("read", ints(2, 2), ints(0, 0))
    tally.add_one("read", 2, name)
    tally.add_one("dead", 2, name, 4)
    assert drained(tally) == {(2, name): Account(read=3, dead=4)}


def test_partitions_that_moved_take_their_counts_and_places_with_them(symbols: SymbolTable) -> None:
    tally, name = Tally(symbols), symbols.names[0]
    tally.add("read", ints(2), ints(0))
    tally.add_one("dead", 2, "x")
    tally.clear()
    assert drained(tally) == {}
    tally.add("read", ints(4), ints(0))  # at home in another one now
    assert drained(tally) == {(4, name): Account(read=1)}


def test_symbols_that_come_later_have_room(symbols: SymbolTable) -> None:
    tally = Tally(symbols)
    tally.add("read", ints(0), ints(0))
    symbols.learn([b"LATER"])
    tally.add("read", ints(1), ints(3))
    assert drained(tally) == {(0, symbols.names[0]): Account(read=1), (1, "LATER"): Account(read=1)}
