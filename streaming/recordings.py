"""Recorded trades in every shape they are kept in: WebSocket frames, archive CSV and ZIP, REST and ccxt JSON.

The shape is told from the content, the symbol from the content or the file's name; a broken file is said to be broken
at a line, never half read in silence.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from quantstream.errors import BadRecord, Misconfigured
from quantstream.market import Trade, to_units
from streaming import archive, inflate
from streaming.binance import is_trade_stream, parse_trade, split_frame, to_micros
from streaming.columns import Columns
from streaming.json_rows import array_trades, line_trade

MAX_LINE = 4 << 20  # bytes
MAX_SUMS = 4096  # bytes of a check sum file
_FRAME_LINE = re.compile(rb"^\d+(?:\.\d+)?:? (\{.*)$")
# All that gzip and zipfile raise for bytes that are no archive: an encrypted member is a RuntimeError, an unknown method
# NotImplementedError, an offset before the file's start OSError or ValueError.
DAMAGED = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_NAMED_SYMBOL = re.compile(r"^([A-Z0-9]{4,})[-_.]")


@dataclass(frozen=True)
class Block:
    """Consecutive trades of one symbol."""

    symbol: str
    columns: Columns


def read_trades(path: Path, symbol: str | None = None) -> Iterator[Trade]:
    """Yield the trades of one file in the file's order.

    Raises: Misconfigured when the file is missing or of no known shape; BadRecord at the line that is broken.
    """
    with _readable(path) as stream:
        yield from _trades(stream, path, symbol)


def read_blocks(path: Path, symbol: str | None = None) -> Iterator[Trade | Block]:
    """Yield what `read_trades` yields, with the plain rows of an archive's CSV as columns, a block at a time.

    Raises: as `read_trades`.
    """
    with _readable(path) as stream:
        if _is_csv(_beginning(stream)):
            yield from _csv_blocks(stream, path, symbol or _symbol_of(path))
        else:
            yield from _trades(stream, path, symbol)


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise Misconfigured(f"there is no file {path}; check the name")
    try:
        with _opened(path) as stream:
            yield stream
    except PermissionError:
        raise Misconfigured(f"{path} may not be read; give this user the right to") from None
    except DAMAGED as error:
        raise BadRecord(f"{path} is damaged or cut off ({error}); fetch it again") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(raw) as stream:
                yield io.BufferedReader(stream)
        elif magic == b"PK\x03\x04":
            _check_sum(path)
            with zipfile.ZipFile(raw) as packed:
                names = [name for name in packed.namelist() if name.lower().endswith((".csv", ".json", ".jsonl"))]
                if len(names) != 1:
                    raise Misconfigured(f"{path} holds {len(names)} data files; an archive of trades holds one")
                yield cast(BinaryIO, inflate.opened(packed, names[0], raw))
        else:
            yield raw


def _check_sum(path: Path) -> None:
    """Compare with the `.CHECKSUM` file that the exchange publishes beside each archive, where it is there."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if beside.is_file():
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        with beside.open("rb") as sums:
            said = sums.read(MAX_SUMS).lower()
        if found.encode() not in said:
            raise BadRecord(f"{path} does not match its checksum file; fetch it again")


def _trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    first = _beginning(stream)
    if not first:
        raise BadRecord(f"{path} is empty")
    if first.startswith(b"["):
        yield from array_trades(stream, path, symbol, lambda: _symbol_of(path))
    elif first.startswith(b"{"):
        yield from _json_line_trades(stream, path, symbol)
    elif _FRAME_LINE.match(first.split(b"\n")[0]) or first.startswith((b"wss://", b"ws://")):
        yield from _frame_trades(stream, path)
    elif _is_csv(first):
        yield from _csv_trades(stream, path, symbol)
    else:
        raise Misconfigured(
            f"{path} is no recording of trades that is known here: give WebSocket frames, an archive CSV or ZIP, or REST JSON"
        )


def _beginning(stream: BinaryIO) -> bytes:
    first: bytes = stream.peek(256)[:256].lstrip()  # type: ignore[attr-defined]
    return first


def _is_csv(first: bytes) -> bool:
    line = first.split(b"\n")[0]
    return not first.startswith((b"[", b"{", b"wss://", b"ws://")) and not _FRAME_LINE.match(line) and b"," in line


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise BadRecord(f"{path}, line {number}: longer than {MAX_LINE} bytes")
        if line.strip():
            yield number, line.strip()


def _frame_trades(stream: BinaryIO, path: Path) -> Iterator[Trade]:
    """Frames of other streams are passed over; of a symbol with both kinds of trade stream, the first kind counts."""
    kinds: dict[str, str] = {}
    for number, line in _lines(stream, path):
        if number == 1 and line.startswith((b"wss://", b"ws://")):
            continue
        match = _FRAME_LINE.match(line)
        if match is None:
            raise BadRecord(f"{path}, line {number}: not `<receive_ns> {{frame}}`")
        try:
            if b'"stream"' not in match[1][:200]:
                continue  # an acknowledgement
            name, event = split_frame(match[1])
            if is_trade_stream(name):
                trade = parse_trade(event)
                if kinds.setdefault(trade.symbol, name) == name:
                    yield trade
        except BadRecord as error:
            raise BadRecord(f"{path}, line {number}: {error}") from None


def _csv_trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    """Archive layouts: trades `id, price, qty, quote_qty, time, is_buyer_maker`; aggTrades have first and last id instead."""
    return _csv_rows(stream, path, symbol or _symbol_of(path))


def _csv_rows(stream: BinaryIO, path: Path, name: str, before: int = 0) -> Iterator[Trade]:
    """Read row by row; `before` lines of the file were read already."""
    rows = csv.reader(_text_lines(stream))
    try:
        for number, row in enumerate(rows, 1 + before):
            if not row or (number == 1 and not row[0].strip().isdigit()):
                continue
            yield _csv_trade(row, name)
    except (BadRecord, ValueError, IndexError, csv.Error) as error:
        raise BadRecord(f"{path}, line {before + rows.line_num}: not a row of trades ({error})") from None


def _csv_blocks(stream: BinaryIO, path: Path, name: str) -> Iterator[Trade | Block]:
    """Blocks that are not plain are read row by row, and so is all that follows a quote: a quoted cell may hold line ends."""
    before = 0  # lines
    for block, rest in archive.blocks(stream):
        head = block.find(b"\n") + 1 if before == 0 and not block[:1].isdigit() else 0
        columns = archive.columns_of(block[head:]) if b'"' not in block[:head] else None
        if columns is not None:
            yield Block(name, columns)
            before += len(columns) + (head > 0)
        elif b'"' in block:
            yield from _csv_rows(cast(BinaryIO, io.BufferedReader(_Rest(block + rest, stream))), path, name, before)
            return
        else:
            yield from _csv_rows(io.BytesIO(block), path, name, before)
            before += block.count(b"\n")


def _text_lines(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise BadRecord(f"longer than {MAX_LINE} bytes")
        yield line.decode("ascii")


class _Rest(io.RawIOBase):
    """Bytes that were read already, and then the rest of their stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self.head, self.stream = io.BytesIO(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.head.readinto(buffer) or cast(io.BufferedReader, self.stream).readinto(buffer)


def _csv_trade(row: list[str], symbol: str) -> Trade:
    is_aggregate = row[5].strip().lower() not in ("true", "false")
    first, last, at, maker = (row[3], row[4], row[5], row[6]) if is_aggregate else (row[0], row[0], row[4], row[5])
    if maker.strip().lower() not in ("true", "false"):
        raise BadRecord(f"{maker[:20]!r} should be True or False")
    return Trade(
        symbol=symbol,
        id=int(row[0]),
        first_trade_id=int(first),
        last_trade_id=int(last),
        price=to_units(row[1]),
        quantity=to_units(row[2]),
        traded_at=to_micros(int(at)),
        buyer_is_maker=maker.strip().lower() == "true",
    )


def _json_line_trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    for number, line in _lines(stream, path):
        try:
            yield line_trade(line, symbol, lambda: _symbol_of(path))
        except BadRecord as error:
            raise BadRecord(f"{path}, line {number}: {error}") from None


def _symbol_of(path: Path) -> str:
    match = _NAMED_SYMBOL.match(path.name)
    if match is None:
        raise Misconfigured(f"cannot tell whose trades {path} holds; name it like BTCUSDT-trades-2024-08-08.csv")
    return match[1]
