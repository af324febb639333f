"""A symbol's number is that of its text, however many want the same place; and a key must be the symbol that is printed."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantstream.decode import symbol_index
from quantstream.decode.digits import Page
from quantstream.decode.symbol_index import SYMBOL_BYTES, SymbolTable

texts = st.one_of(
    st.sampled_from(
        [
            b"BTCUSDT",
            b"BTCUSD",
            b"A",
            b"",
            b"1000CHEEMSUSDT",
            b"ABCDEFGH",
            b"ABCDEFGHI",
            b"A-B",
            b"BTCUSDT_240628",
            b"BTCUSD_PERP",
        ]
    ),
    st.binary(min_size=1, max_size=18).map(lambda raw: bytes(65 + byte % 26 for byte in raw)),
)
keys = st.one_of(texts, st.none(), st.sampled_from([b"A\0", b"\0", b"BTCUSDT\0", b"A\0B"]))


def is_symbol(key: bytes | None) -> bool:
    return bool(key) and len(key or b"") <= SYMBOL_BYTES and (key or b"").replace(b"_", b"0").isalnum()


def printed(table: SymbolTable, pairs: list[tuple[bytes, bytes | None]]) -> list[int]:
    page = Page([b'{"s":"' + text + b'"}' for text, _ in pairs])
    return table.printed(page, page.starts + 6, page.ends - 2, [key for _, key in pairs]).tolist()


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
            patch.setattr(symbol_index, "SPARSE", 0)
            patch.setattr(symbol_index, "FEWEST_PLACES", 2)
        table = SymbolTable()
        for _ in range(2):  # when all are new, and when they are known
            codes = printed(table, pairs)
            for (text, key), code in zip(pairs, codes, strict=True):
                assert (code >= 0) == (key == text and is_symbol(key)), (text, key)
                if code >= 0:
                    assert table.names[code].encode() == text
        assert table.number([key for _, key in pairs]).tolist() == [
            table.codes.get(key, -1) if key else -1 for _, key in pairs
        ]


def test_thousands_of_symbols_keep_the_numbers_they_got() -> None:
    table, names = SymbolTable(), [f"SYM{number:04d}USDT".encode() for number in range(3_000)]
    first = printed(table, [(name, name) for name in names[:100]])
    everything = printed(table, [(name, name) for name in names])
    assert everything[:100] == first
    assert sorted(everything) == list(range(3_000))
    assert [table.names[code].encode() for code in everything] == names


def test_there_is_an_end_to_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_index, "MOST_SYMBOLS", 2)
    assert sorted(printed(SymbolTable(), [(b"A", b"A"), (b"B", b"B"), (b"C", b"C")])) == [-1, 0, 1]
