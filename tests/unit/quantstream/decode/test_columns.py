"""Columns say of every record what `parse_record` says, hostile ones included."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, parse_record
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade
from quantstream.decode.columns import MOST_UNITS, Parser, TradeColumns

AT = 1_754_006_400_000
SYMBOLS = ("BTCUSDT", "A", "1000SATSUSDT", "币安人生USDT", "BTCUSD_PERP", "A" * 50)


def trade(symbol: str, number: int, price: str = "60000.10000000", quantity: str = "0.5", at: int = AT) -> bytes:
    head = f'{{"e":"trade","E":{at},"s":"{symbol}","t":{number}'
    return f'{head},"p":"{price}","q":"{quantity}","T":{at},"m":{str(number % 2 == 0).lower()},"M":true}}'.encode()


def aggregate(symbol: str, number: int, price: str, quantity: str, at: int) -> bytes:
    event = {
        "e": "aggTrade",
        "E": at,
        "a": number,
        "s": symbol,
        "p": price,
        "q": quantity,
        "f": number,
        "l": number + 2,
    }
    return json.dumps(event | {"T": at, "m": bool(number % 3), "M": True}, ensure_ascii=False).encode()


def rest_row(_: str, number: int, price: str, quantity: str, at: int) -> bytes:
    row = {"id": number, "price": price, "qty": quantity, "quoteQty": "1.0", "time": at, "isBuyerMaker": False}
    return json.dumps(row | {"isBestMatch": True}, separators=(",", ":")).encode()


def rest_aggregate(_: str, number: int, price: str, quantity: str, at: int) -> bytes:
    return b'{"a":%d,"p":"%s","q":"%s","f":%d,"l":%d,"T":%d,"m":true,"M":true}' % (
        *(number, price.encode(), quantity.encode(), number, number, at),
    )


Maker = Callable[[str, int, str, str, int], bytes]
MAKERS: tuple[Maker, ...] = (trade, aggregate, rest_row, rest_aggregate)
ODDITIES = (
    *('"nq":"0.1"', '"X":"MARKET"', '"X":"INSURANCE_FUND"', '"x":null', '"x":[1]', '"x":{}', '"x":-1', '"x":1.5'),
    *('"M":null', '"M":"yes"', '"M":12', '"M":[]', '"m":1', '"m":"true"', '"t":5', '"a":-1', '"id":3', '"e":""'),
    *('"e":"kline"', '"T":0', '"time":1754006400001', '"T":null', '"\\u0074":5', '"x":"\\n"', '"x":"é"', '"x":"\x7f"'),
    *('"st":2', '"":1', '""":1', '"t ":1', '"isBuyerMaker":true', '"isBuyerMakes":7', '"price":"9"', '"s":"BTCUSDT"'),
)


@st.composite
def rearranged(draw: st.DrawFn, raw: bytes) -> bytes:
    """The members of an event in another order and spacing, some left out, some odd ones put in."""
    members = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in json.loads(raw).items()]
    members = [member for member in members if draw(st.integers(0, 12))]
    members += draw(st.lists(st.sampled_from(ODDITIES), max_size=2))
    space = draw(st.sampled_from(["", "", " ", "\n\t", "\r\n  "]))
    text = f"{space},{space}".join(draw(st.permutations(members))).replace('":', f'"{space}:{space}')
    return f"{space}{{{space}{text}{space}}}{space}".encode()


numbers = st.one_of(
    st.from_regex(r"\A[0-9]{0,12}(\.[0-9]{0,9})?\Z"),
    st.sampled_from(
        ["0.00000001", "1", "-1", "1e5", "", ".", ".5", "5.", "1.2.3", "007.5", "９", "1_0", "9999999999.9"]
    ),
)
ids = st.one_of(
    st.integers(0, 10**10),
    st.integers(10**9, 10**9 + 99),
    st.integers(0, 2**64),
    st.sampled_from([-1, 0, 10**16, 2**62]),
)
times = st.one_of(
    st.integers(AT, AT + 10**9), st.integers(AT * 1000, AT * 1000 + 10**9), st.sampled_from([0, 1, 10**17])
)


@st.composite
def records(draw: st.DrawFn) -> tuple[str, bytes]:
    """A record, mostly of a plain producer's, often broken in one place."""
    symbol = draw(st.sampled_from(SYMBOLS))
    plain = draw(st.booleans())
    price = "123.45000000" if plain else draw(numbers)
    number, quantity, at = draw(ids), draw(numbers), AT + 5 if plain else draw(times)
    raw = draw(st.sampled_from(MAKERS))(symbol, number, price, quantity, at)
    if draw(st.booleans()):
        raw = draw(rearranged(raw))
    if draw(st.integers(0, 3)) == 0:
        raw = heartbeat_event(symbol, at)
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.binary(max_size=3)) + raw[place + draw(st.integers(0, 3)) :]
    return draw(st.sampled_from([symbol, symbol, symbol, "ETHUSDT", ""])), raw


def expected(raw: bytes, key: str) -> object:
    try:
        return parse_record(raw, key)
    except BadRecord as error:
        return str(error)


def found(parser: Parser, columns: TradeColumns, row: int, key: str) -> object:
    if columns.at[row] == 0:
        item = columns.items[row][1]
        return str(item) if isinstance(item, BadRecord) else item
    assert row not in columns.items
    return columns.trade(row, parser.symbols.names[columns.code[row]])


@given(st.lists(records(), max_size=12))
@settings(max_examples=500, deadline=None)
def test_columns_agree_with_parse_record_on_any_record(log: list[tuple[str, bytes]]) -> None:
    parser = Parser()
    columns = parser.parse([raw for _, raw in log], [key.encode() for key, _ in log], [0] * len(log))
    assert [found(parser, columns, row, key) for row, (key, _) in enumerate(log)] == [expected(r, k) for k, r in log]


@pytest.mark.parametrize("maker", MAKERS)
def test_records_of_every_kind_become_columns_without_an_object_each(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(name, number) for number in range(9, 400) for name in SYMBOLS]
    raws = [
        maker(name, 10**number % 10**15, f"{10 ** (number % 9)}.{number % 10}", "0.25", AT) for name, number in rows
    ]
    expected = [parse_record(raw, name) for raw, (name, _) in zip(raws, rows, strict=True)]

    def refuse(raw: bytes, key: str) -> None:
        raise AssertionError(f"taken one by one: {raw!r}")

    monkeypatch.setattr("quantstream.decode.columns.parse_record", refuse)
    parser = Parser()
    columns = parser.parse(raws, [name.encode() for name, _ in rows], [1] * len(rows))
    assert columns.items == {}
    assert [columns.trade(row, name) for row, (name, _) in enumerate(rows)] == expected
    assert columns.partition.tolist() == [1] * len(rows)


NEARLY = (
    (b'"t":57', b'"t":057'),
    (b'"t":57', b'"t":+57'),
    (b'"t":57', b'"t":57.0'),
    (b'"t":57', b'"t":"57"'),
    (b'"E":1', b'"E":01'),
    (b'"s":"BTCUSDT"', b'"s":"BTC\\u0055SDT"'),
    (b'"s":"BTCUSDT"', b'"s":"BTCUSD"'),
    (b'"m":false', b'"m":fa1se'),
    (b'"m":false', b'"m":null'),
    (b'"M":true', b'"M":true,"t":58'),
    (b'"M":true', b'"M":true }'),
    (b'"p":"60000.10000000"', b'"p":"60000.100000001"'),
    (b'"p":"60000.10000000"', b'"p":"60000.1000000010"'),
    (b'"p":"60000.10000000"', b'"p":"-0000.10000000"'),
    (b'"p":"60000.10000000"', b'"p":"00000.00000000"'),
    (b'"q":"0.5"', b'"q":"0,5"'),
    (b'"q":"0.5"', b'"q":".5"'),
    (b'"q":"0.5"', b'"q":"1e5"'),
    (b'"e":"trade"', b'"e":"Trade"'),
)


@pytest.mark.parametrize(("before", "after"), NEARLY)
def test_a_record_that_is_nearly_plain_is_judged_as_on_its_own(before: bytes, after: bytes) -> None:
    raws = [trade("BTCUSDT", n) for n in range(100)]
    assert before in raws[57]
    raws[57] = raws[57].replace(before, after)
    parser = Parser()
    columns = parser.parse(raws, [b"BTCUSDT"] * 100, [0] * 100)
    assert [found(parser, columns, row, "BTCUSDT") for row in range(100)] == [expected(raw, "BTCUSDT") for raw in raws]


def test_two_records_that_make_one_together_are_still_two_bad_ones() -> None:
    whole = trade("BTCUSDT", 5)
    log = [trade("BTCUSDT", n) for n in range(100)] + [whole[:30], whole[30:], whole + whole, b""]
    columns = Parser().parse(log, [b"BTCUSDT"] * len(log), [0] * len(log))
    assert sorted(columns.items) == [100, 101, 102, 103]
    assert all(isinstance(item, BadRecord) for _, item in columns.items.values())


def test_a_number_too_large_for_a_column_stays_exact() -> None:
    log = [trade("BTCUSDT", n) for n in range(100)] + [trade("BTCUSDT", 100, "12345678901234.5")]
    columns = Parser().parse(log, [b"BTCUSDT"] * len(log), [0] * len(log))
    ((row, (_, item)),) = columns.items.items()
    assert isinstance(item, Trade)
    assert (row, item.price) == (100, 1_234_567_890_123_450_000_000)
    assert item.price > MOST_UNITS


def test_a_zero_byte_ends_no_record_but_its_own() -> None:
    whole = trade("A", 5)
    log = [
        (whole, b"A"),
        (whole[:30] + b"\0" + whole[31:], b"A"),
        (b"\0", b"A"),
        (whole, b"A\0"),
        (whole, None),
        (whole, b"A"),
    ]
    parser = Parser()
    columns = parser.parse([raw for raw, _ in log], [key for _, key in log], [0] * len(log))
    keys = [(key or b"").decode() for _, key in log]
    assert [found(parser, columns, row, key) for row, key in enumerate(keys)] == [
        expected(raw, key) for (raw, _), key in zip(log, keys, strict=True)
    ]
    assert sorted(columns.items) == [1, 2, 3, 4]


def test_rows_are_told_apart_by_symbol_and_partition_in_their_order() -> None:
    log = [(2, "B"), (0, "A"), (2, "B"), (1, "B"), (0, "A"), (0, "C")]
    raws = [trade(symbol, number) for number, (_, symbol) in enumerate(log)]
    parser = Parser()
    columns = parser.parse(raws, [symbol.encode() for _, symbol in log], [partition for partition, _ in log])
    names = parser.symbols.names
    found = [(names[code], rows.tolist()) for rows, code in columns.by_symbol(np.arange(len(log)))]
    assert sorted(found) == [("A", [1, 4]), ("B", [0, 2]), ("B", [3]), ("C", [5])]
    assert [(names[code], rows.tolist()) for rows, code in columns.by_symbol(np.array([4, 5]))] == [
        ("A", [4]),
        ("C", [5]),
    ]
    assert list(columns.by_symbol(np.zeros(0, np.int64))) == []


def test_a_part_of_columns_holds_their_trades() -> None:
    parser = Parser()
    raws = [trade("A", 1), trade("A", 2), aggregate("A", 3, "1.5", "2", AT)]
    columns = parser.parse(raws, [b"A"] * 3, [0] * 3)
    part = columns.between(1, 3)
    assert [part.trade_at(row, parser.symbols.names) for row in range(2)] == [
        parse_record(raw, "A") for raw in raws[1:]
    ]


def test_a_trade_that_fits_no_column_is_found_beside_them() -> None:
    parser, raw = Parser(), trade("A", 1, price="99999999999.5")
    columns = parser.parse([raw], [b"A"], [0])
    assert list(columns.items) == [0]
    assert columns.trade_at(0, parser.symbols.names) == parse_record(raw, "A")
