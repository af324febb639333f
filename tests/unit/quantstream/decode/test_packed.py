"""Batches put together hold what they held apart, in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.trade import Trade
from quantstream.decode.columns import MOST_UNITS, Columns, Parser
from quantstream.decode.packed import Collected, Packed

AT = 1_754_006_400_000_000
Maker = Callable[[int], bytes]


def single(number: int) -> bytes:
    return trade_event(
        Trade("A", number, number, number, UNIT + number, 3 * number, AT + number * 1000, number % 3 == 0)
    )


def aggregate(number: int) -> bytes:
    event = {"e": "aggTrade", "s": "A", "a": number + 7, "f": number, "l": number + 2, "p": "1.5", "q": "2"}
    return json.dumps(event | {"T": AT // 1000, "m": bool(number % 2), "M": True}).encode()


def batch(parser: Parser, make: Maker, begin: int, count: int = 2 * 32) -> Columns:
    log = [make(number) for number in range(begin, begin + count)]
    return parser.parse(log, [b"A"] * count, [begin % 4] * count)


def collected(room: Collected, *parts: Columns) -> Packed:
    for part in parts:
        room.add(part)
    return room.take()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**9), st.integers(1, 3 * 32)), min_size=1, max_size=4))
def test_any_rows_are_as_in_the_batches(parts: list[tuple[bool, int, int]]) -> None:
    parser, room = Parser(), Collected(3 * 32 * 4)
    batches = [batch(parser, aggregate if many else single, begin, count) for many, begin, count in parts]
    for _ in range(2):  # room is used again
        packed = collected(room, *batches)
        apart = [(part, row) for part in batches for row in range(len(part))]
        assert [packed.trade(row, "A") for row in range(len(packed))] == [part.trade(row, "A") for part, row in apart]
        rows = np.random.default_rng(0).permutation(len(packed))
        for name, values in vars(packed.pick(rows)).items():
            expected = np.concatenate([getattr(part, name) for part in batches])[rows]
            assert values.dtype == expected.dtype
            assert np.array_equal(values, expected), name
        for name in ("partition", "code"):
            assert np.array_equal(getattr(packed, name), np.concatenate([getattr(part, name) for part in batches]))


def test_odd_records_are_found_where_they_came() -> None:
    parser = Parser()
    first = parser.parse([single(1), b"{"], [b"A", b"A"], [0, 0])
    second = parser.parse([heartbeat_event("A", AT), single(2)], [b"A", b"A"], [1, 1])
    joined = collected(Collected(4), first, second)
    assert joined.pick(np.arange(4)).first.tolist() == [1, 0, 0, 2]
    assert joined.partition.tolist() == [0, 0, 1, 1]
    assert (list(joined.items), joined.items[2]) == ([1, 2], ("A", AT))


def test_ids_of_single_trades_are_kept_once() -> None:
    parser, room = Parser(), Collected(6 * 32)
    plain = collected(room, batch(parser, single, 0), batch(parser, single, 100))
    assert (plain.last, plain.id) == (None, None)
    chosen = plain.pick(np.arange(3))
    assert chosen.first is chosen.last
    mixed = collected(room, batch(parser, single, 0), batch(parser, aggregate, 100), batch(parser, single, 300))
    assert mixed.last is not None
    again = collected(room, batch(parser, single, 400))
    assert (again.last, again.id, again.items, len(room)) == (None, None, {}, 0)


def test_the_largest_quantity_of_a_column_keeps_its_buyer() -> None:
    parser = Parser()
    log = [trade_event(Trade("A", n, n, n, 1, MOST_UNITS, AT, n % 2 == 0)) for n in range(2 * 32)]
    packed = collected(Collected(len(log)), parser.parse(log, [b"A"] * len(log), [0] * len(log)))
    chosen = packed.pick(np.array([5, 8]))
    assert (packed.items, chosen.quantity.tolist(), chosen.maker.tolist()) == ({}, [MOST_UNITS] * 2, [False, True])
