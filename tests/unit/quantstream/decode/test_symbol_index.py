"""A key's number is that of its text, however many want the same slot; and a record must print the symbol that its key is."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantstream.core.trade import is_symbol
from quantstream.decode import symbol_index
from quantstream.decode.columns import Parser
from quantstream.decode.records import KEY_BYTES

texts = st.one_of(
    st.sampled_from(
        [
            b"BTCUSDT",
            b"BTCUSD",
            b"A",
            b"",
            b"ABCDEFGH",
            b"A-B",
            b"BTCUSDT_240628",
            b"BTCUSD_PERP",
            "币安人生USDT".encode(),
        ]
    ),
    st.sampled_from(
        [
            b"A" * 50,
            b"A" * 51,
            "人".encode() * 21,
            "人".encode() * 22,
            b"\xff",
            b"A\xe5",
            b"A\n",
            b'A"',
            b"A\\",
            b"A\x7f",
            b"A B",
        ]
    ),
    st.binary(min_size=1, max_size=18).map(lambda raw: bytes(65 + byte % 26 for byte in raw)),
)
keys = st.one_of(texts, st.none(), st.sampled_from([b"A\0", b"\0", b"BTCUSDT\0", b"A\0B"]))


def has_number(key: bytes) -> bool:
    try:
        return len(key) <= KEY_BYTES and is_symbol(key.decode())
    except UnicodeDecodeError:
        return False


def printed(parser: Parser, pairs: list[tuple[bytes, bytes | None]]) -> list[int]:
    """Return the numbers of the keys under which texts are printed as the symbol, -1 where such a record is not plain."""
    raws = [b'{"s":"' + text + b'","t":1,"p":"1","q":"1","T":1754006400000,"e":"trade"}' for text, _ in pairs]
    columns = parser.parse(raws, [key for _, key in pairs], [0] * len(pairs))
    return [-1 if row in columns.items else code for row, code in enumerate(columns.code.tolist())]


@given(st.lists(st.tuples(texts, st.one_of(st.none(), keys), st.booleans()), min_size=1, max_size=40), st.booleans())
@example([(b"A", b"A\0B", False), (b"B", b"", False)], False)
@example([(b"AB", b"A", False), (b"C", b"BC", False)], False)
@settings(max_examples=300)
def test_the_number_is_that_of_the_key_where_it_is_printed(
    drawn: list[tuple[bytes, bytes | None, bool]], are_crowded: bool
) -> None:
    pairs = [(text, key if is_other else text) for text, key, is_other in drawn]
    with pytest.MonkeyPatch.context() as patch:
        if are_crowded:
            patch.setattr(symbol_index, "SPARSE", 1)
            patch.setattr(symbol_index, "FEWEST_SLOTS", 2)
        parser = Parser()
        for _ in range(2):  # when all are new, and when they are known
            for (text, key), code in zip(pairs, printed(parser, pairs), strict=True):
                assert (code >= 0) == (key == text and has_number(key)), (text, key)
                if code >= 0:
                    assert parser.symbols.names[code].encode() == text


def test_thousands_of_symbols_keep_the_numbers_they_got() -> None:
    parser, names = Parser(), [f"SYM{number:04d}USDT".encode() for number in range(3_000)]
    first = printed(parser, [(name, name) for name in names[:100]])
    everything = printed(parser, [(name, name) for name in names])
    assert everything[:100] == first
    assert sorted(everything) == list(range(3_000))
    assert [parser.symbols.names[code].encode() for code in everything] == names


def test_there_is_an_end_to_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_index, "MOST_SYMBOLS", 2)
    assert sorted(printed(Parser(), [(b"A", b"A"), (b"B", b"B"), (b"C", b"C")])) == [-1, 0, 1]
