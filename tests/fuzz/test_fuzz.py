"""Hostile input for every parser: refused in one way, in bounded memory. `make fuzz` is the long run."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, parse_record, parse_trade, split_frame
from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.trade import Trade
from streaming.recordings.readers import read_blocks, read_trades
from tests.conftest import ROOT
from tests.fuzz.targets import KLINE, ROW, TRADE, framed, targets

MB = 1 << 20
ROOM = 48 * MB  # some times the longest line or piece that is read at once
ABSURD = (
    *(
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "-1",
        "1" * 400,
        "0." + "1" * 400,
        str(2**63),
        str(2**64),
    ),
    *(
        str(-(2**63) - 1),
        str(2**128),
        "1e-999",
        "1E5",
        "0x1",
        "1_0",
        "true",
        "null",
        "[]",
        '"9e99999999"',
        '"NaN"',
        '"1e999"',
    ),
)


@contextmanager
def memory_within(room: int) -> Iterator[None]:
    """Fail when Python's allocations inside grow beyond `room` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < room
    finally:
        tracemalloc.stop()


def read(path: Path) -> list[Trade]:
    """Read a file both ways."""
    blocks = list(read_blocks(path))
    trades = list(read_trades(path))
    assert len(trades) == sum(1 if isinstance(item, Trade) else len(item.columns) for item in blocks)
    return trades


@pytest.mark.slow
def test_thousands_of_hostile_inputs_break_no_parser_and_no_memory_limit() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "6600", "--seed", "20", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=280)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert {target["name"]: target["failed"] for target in found["targets"]} == {
        target["name"]: {} for target in found["targets"]
    }
    assert all(target["inputs"] >= 500 for target in found["targets"])
    assert found["survived"]


def test_an_attack_sees_a_parser_that_breaks() -> None:
    from tests.fuzz.run import attack
    from tests.fuzz.targets import Target

    def careless(raw: bytes) -> None:
        if len(raw) != len(TRADE):
            raise KeyError("not a BadRecord")

    outcome = attack(Target("careless", (TRADE,), careless), 50, seed=1)
    assert sum(outcome.failed.values()) == 50 - outcome.accepted > 10
    assert "KeyError" in outcome.examples[0]


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@given(raw=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=60, deadline=None)
def test_no_bytes_at_all_raise_anything_else(target: object, raw: bytes) -> None:
    try:
        target.feed(raw)  # type: ignore[attr-defined]
    except target.allowed:  # type: ignore[attr-defined]
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*"eEstapqTmMfl", "id", "price", "qty", "time", "isBuyerMaker"])


@given(
    st.dictionaries(
        FIELDS, JSON | st.sampled_from(["trade", "aggTrade", "heartbeat", "1.5", "BTCUSDT", 10**12]), max_size=12
    )
)
@settings(max_examples=300, deadline=None)
def test_an_event_of_any_values_is_a_trade_or_a_bad_record(event: dict[str, object]) -> None:
    raw = json.dumps(event).encode()
    try:
        assert isinstance(parse_record(raw, "BTCUSDT"), Trade | int)
    except BadRecord:
        pass


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("field", ["t", "p", "q", "T", "s", "m", "e"])
def test_absurd_numbers_in_any_field_are_a_bad_record_or_a_sane_trade(field: str, number: str) -> None:
    event = json.loads(TRADE)
    spoilt = TRADE.replace(json.dumps(event[field]).encode(), number.encode(), 1)
    try:
        trade = parse_trade(spoilt)
    except BadRecord:
        return
    assert field in ("m", "s") or trade == parse_trade(TRADE)
    assert msgspec.json.encode(trade)


def test_a_trade_that_names_its_kind_twice_never_moves_the_clock() -> None:
    far = 4_102_444_799_000_000
    spoilt = b'{"e":"heartbeat","E":%d,' % far + TRADE.removeprefix(b"{")
    assert parse_record(spoilt, "BTCUSDT") == parse_trade(TRADE)
    for at in (0, -1, 10**19, 2**62, 4_102_444_800_000_000):
        with pytest.raises(BadRecord):
            parse_record(
                heartbeat_event("BTCUSDT", 1_723_161_255_342_000).replace(b"1723161255342000", str(at).encode()),
                "BTCUSDT",
            )


def test_trades_whose_worth_no_candle_could_hold_are_refused() -> None:
    for price, quantity in (("1000000000", "10000000"), ("9" * 20, "9" * 20)):
        with pytest.raises(BadRecord, match=r"worth more|absurd"):
            parse_trade(TRADE.replace(b"61837.63000000", price.encode()).replace(b"0.02000000", quantity.encode()))


def test_huge_and_deep_frames_are_refused_in_little_memory() -> None:
    inside = [b"[" * 900_000, b'{"a":' * 180_000, b'"' + b"x" * 900_000 + b'"', b"9" * 900_000, b"[" * 64 * MB]
    for event in inside:
        raw = framed(event)
        with memory_within(ROOM), pytest.raises(BadRecord):
            parse_trade(split_frame(raw)[1])


SIZE = 96 * MB
BOMBS = {  # what a small file may unpack to: a beginning, and what is repeated without an end
    "nothing": (b"", b"\0"),
    "a cell": (b"1,", b"9"),
    "a quoted cell": (b'1,"', b"9"),
    "cells": (b"1,", b"1,"),
    "lists": (b"[", b"[],"),
    "nested": (b"[", b"["),
    "numbers": (b"[", b"0,"),
    "an object": (b'{"a":"', b"x"),
    "a frame": (b'1 {"stream":"', b"x"),
    "blank lines": (b"1,2\n", b"\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("container", ["gz", "zip"])
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_small_file_that_unpacks_to_a_huge_value_is_refused_in_little_memory(
    tmp_path: Path, name: str, container: str
) -> None:
    head, part = BOMBS[name]
    raw = head + part * (SIZE // len(part))
    path = tmp_path / f"BTCUSDT-trades.{container}"
    if container == "gz":
        path.write_bytes(gzip.compress(raw, 1))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("BTCUSDT-trades.csv", raw)
    del raw
    assert path.stat().st_size < MB
    for way in (read_trades, read_blocks):
        with memory_within(ROOM), pytest.raises((BadRecord, Misconfigured)):
            list(way(path))


def zipped(path: Path, **members: bytes) -> bytearray:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return bytearray(path.read_bytes())


def test_archives_that_lie_are_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades.zip"
    whole = zipped(path, **{"a.csv": ROW * 50})
    directory = whole.rindex(b"PK\x01\x02")
    lies = {
        "check sum": (directory + 16, struct.pack("<I", 1)),
        "smaller than it is": (directory + 24, struct.pack("<I", 10)),
        "larger than it is": (directory + 24, struct.pack("<I", 2**31)),
        "packed size": (directory + 20, struct.pack("<I", 5)),
        "encrypted": (directory + 8, struct.pack("<H", 1)),
        "unknown method": (directory + 10, struct.pack("<H", 99)),
        "begins elsewhere": (directory + 42, struct.pack("<I", 2**30)),
    }
    for at, value in lies.values():
        spoilt = whole.copy()
        spoilt[at : at + len(value)] = value
        path.write_bytes(spoilt)
        with pytest.raises(BadRecord, match=r"damaged or cut off|not a row"):
            list(read_trades(path))


def test_an_archive_of_several_files_is_read_whole_and_one_of_none_says_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades.zip"
    zipped(path, **{"a.csv": ROW, "__MACOSX/._a.csv": b"\0\5\x16", "b.csv": ROW, "readme.md": b"hello"})
    assert len(read(path)) == 2
    for members in ({"readme.md": b"hello"}, {}):
        zipped(path, **members)
        with pytest.raises(Misconfigured, match="holds no file of trades"):
            list(read_trades(path))


def test_names_inside_an_archive_reach_no_other_place(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades.zip"
    zipped(path, **{"../../outside.csv": ROW})
    assert len(read(path)) == 1
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert not [item for item in tmp_path.parents if (item / "outside.csv").exists()]


@pytest.mark.parametrize(
    "content",
    [
        KLINE,
        b'[{"trade_id":5,"price":"1.5"}]',
        b'[{"id":5,"symbol":7,"price":"1.5","qty":"1","time":1723161255342}]',
        b'[{"id":5,"symbol":["X"],"price":"1.5","qty":"1","time":1723161255342}]',
        b'[[1570752000001,"1",null,"buy","1e999999999",1,1]]',
        b'[[1570752000001,1e308,null,"buy",1.5,1,1]]',
        b'[[1570752000001,"1",null,"buy","NaN",1,1]]',
        b"[null]",
        b"[[]]",
        b"[1,2",
        b"[] trailing",
        b'{"trade_id":5}\n',
        b"1,2,3,4,5,True,True\x00\n",
        b"\xff\xfe1,2,3\n",
        "１,1.5,2,3,1723161255342,True,True\n".encode(),
    ],
)
def test_rows_of_anything_else_are_a_bad_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "BTCUSDT-trades"
    path.write_bytes(content)
    for way in (read_trades, read_blocks):
        with pytest.raises((BadRecord, Misconfigured)):
            list(way(path))


def test_a_long_list_of_trades_is_read_in_pieces(tmp_path: Path) -> None:
    rows = b",\n ".join(
        b'{"id":%d,"price":"1.5","qty":"1","time":1723161255342,"isBuyerMaker":true}' % n for n in range(60_000)
    )
    path = tmp_path / "BTCUSDT-trades.json"
    path.write_bytes(b" [ " + rows + b" ]\n")
    with memory_within(12 * MB):
        count = sum(1 for _ in read_trades(path))
    assert count == 60_000
    assert [trade.id for trade in read_trades(path)] == list(range(60_000))
