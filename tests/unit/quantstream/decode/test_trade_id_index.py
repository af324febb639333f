"""Whole ranges of ids are judged as their trades would be one by one, and rows of the lake are exact."""

from __future__ import annotations

import random
from copy import copy
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import parse_record, trade_event
from quantstream.core.errors import BadRecord
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Sequence
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.decode.trade_id_index import TradeIdIndex, note
from quantstream.lake.schemas import TIME
from streaming.sink.trade_rows import SCHEMA, trade_rows
from tests.unit.quantstream.decode.test_runs import Record, market

T0 = 1_754_006_400 * SECOND


class Message:
    """What the rows of the lake ask of a Kafka message."""

    def __init__(self, headers: list[tuple[str, bytes]] | None, timestamp: int = 5) -> None:
        self._headers, self._timestamp = headers, timestamp

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp


def parsed(parser: Parser, log: list[Record]) -> TradeColumns:
    return parser.parse([raw for *_, raw in log], [symbol.encode() for _, symbol, _ in log], [p for p, *_ in log])


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_stretches_are_judged_as_their_trades_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    log = market(rng)
    cut = rng.randint(0, len(log))
    one: dict[str, Sequence] = {}
    expected = []
    for _, symbol, raw in log:
        try:
            item = parse_record(raw, symbol)
        except BadRecord:
            item = 0
        expected.append(isinstance(item, Trade) and note(one.setdefault(symbol, Sequence()), item).is_new)
    parser = Parser()
    seen, found = TradeIdIndex(parser.symbols.names), list[bool]()
    for part in (log[:cut], log[cut:]):
        if part:
            found += seen.find_new(parsed(parser, part), []).tolist()
    assert found == expected
    together = {symbol: sequence for number in (0, 1) for symbol, sequence in seen.of(number).items()}
    assert {s: msgspec.json.encode(q) for s, q in together.items()} == {
        s: msgspec.json.encode(q) for s, q in one.items()
    }


def test_rows_of_the_lake_are_exact_and_say_when_and_whence() -> None:
    trades = [Trade("A", n, n, n, 10**n, 5, T0 + n, n % 2 == 0) for n in range(1, 22)]  # the last do not fit 64 bits
    parser = Parser()
    columns = parsed(parser, [(0, "A", trade_event(trade)) for trade in trades])
    is_new = TradeIdIndex(parser.symbols.names).find_new(columns, [])
    is_new[0] = False
    headers = [("kind", b"trade"), ("received_at", b"77"), ("origin", b"repaired")]
    messages = [Message(None), Message(headers), *(Message(None, 9) for _ in trades[2:])]
    table = trade_rows(columns, is_new, parser.symbols.names, messages)
    assert table.schema == SCHEMA
    assert table["price"].to_pylist() == [Decimal(trade.price).scaleb(-8) for trade in trades[1:]]
    assert table["received_at"].cast("int64").to_pylist() == [77] + [9_000] * 19
    assert table["origin"].to_pylist() == ["repaired"] + ["live"] * 19
    assert table["buyer_is_maker"].to_pylist() == [trade.buyer_is_maker for trade in trades[1:]]
    assert table["traded_at"].type == TIME
    assert table["id"].to_pylist() == list(range(2, 22))


def test_what_was_seen_before_a_restart_is_seen_after_it() -> None:
    trades = [trade_event(Trade("A", n, n, n, 1, 1, T0 + n, False)) for n in range(1, 10)]
    parser = Parser()
    before = TradeIdIndex(parser.symbols.names)
    before.find_new(parsed(parser, [(3, "A", raw) for raw in trades[:5]]), [])
    kept = {symbol: copy(sequence) for symbol, sequence in before.of(3).items()}
    after = TradeIdIndex(parser.symbols.names)
    after.restore(3, kept)
    assert after.find_new(parsed(parser, [(3, "A", raw) for raw in trades]), []).tolist() == [False] * 5 + [True] * 4
    assert (after.of(3)["A"].last_id, after.of(3)["A"].duplicates) == (9, 5)
    after.forget(3)
    assert after.of(3) == {}


def test_trades_of_which_it_cannot_be_told_whether_they_were_seen_are_named() -> None:
    spans = [(5, 9), (12, 14), (8, 12)]  # the last has some that were seen and some that were not
    trades = [Trade("A", first, first, last, 1, 1, T0 + first, False) for first, last in spans]
    parser, refused = Parser(), list[int]()
    columns = parsed(parser, [(0, "A", trade_event(trade)) for trade in trades])
    assert TradeIdIndex(parser.symbols.names).find_new(columns, refused).tolist() == [True, True, False]
    assert refused == [2]
