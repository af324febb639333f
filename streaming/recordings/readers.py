"""Recorded trades in every shape they are kept in: WebSocket frames, archive CSV and ZIP, REST and ccxt JSON.

The shape is told from the content, the symbol from the content or the file's name. Every row is found to be something: a trade,
left out as no trade of the market, or refused with its line and the reason; `read_trades` stops at the first that is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.trade import Trade
from streaming.recordings import csv_blocks
from streaming.recordings.cells import CONTRACTS, counts_contracts, symbol_of
from streaming.recordings.csv_blocks import Read
from streaming.recordings.csv_layouts import Layout, layout_of
from streaming.recordings.csv_rows import SEPARATORS, Table
from streaming.recordings.found import Block, Found, Part, Refused, Row
from streaming.recordings.json_documents import array, documents
from streaming.recordings.json_rows import decoded
from streaming.recordings.opened_files import opened, readable

__all__ = ["Block", "Given", "NoTrades", "read_all", "read_blocks", "read_found", "read_trades"]

log = logging.getLogger(__name__)
MAX_SUMS = 4096  # bytes of a check sum file
HEAD = 1 << 16  # bytes by which a shape is told
LOOKED_AT = 20  # lines of them
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UNKNOWN = (
    "is no recording of trades that is known here: give WebSocket frames, an archive CSV or ZIP, or REST or ccxt JSON"
)


class NoTrades(BadRecord):
    """A file without a row, as a quiet day's is."""


@dataclass(frozen=True)
class Given:
    """What the user names because the files do not: the symbol, and the names of the columns in order."""

    symbol: str | None = None
    columns: tuple[str, ...] | None = None

    @property
    def layout(self) -> Layout | None:
        """Return the layout of the columns named. Raises: Misconfigured."""
        return layout_of(self.columns) if self.columns else None


def read_trades(path: Path, given: Given | None = None) -> Iterator[Trade]:
    """Yield the trades of one file in its order; where a symbol's events are of both kinds of trade stream, those of the first.

    Raises: Misconfigured when the file is missing or of no known shape; BadRecord at a row that is refused, NoTrades for no row.
    """
    for item in read_blocks(path, given):
        yield from [item] if isinstance(item, Trade) else _trades_of(item)


def read_all(files: Iterable[Path]) -> Iterator[Trade]:
    """Yield the trades of several files, one after the other; one without a row, as of a quiet day, is told of and passed over.

    Raises: as `read_trades`, NoTrades when no file has a row.
    """
    empty, is_any = "", False
    for path in files:
        try:
            yield from read_trades(path)
            is_any = True
        except NoTrades as error:
            log.warning("a recording without trades is passed over", extra={"file": str(path)})
            empty = empty or str(error)
    if empty and not is_any:
        raise NoTrades(empty)


def _trades_of(block: Block) -> Iterator[Trade]:
    return (block.columns.trade(row, block.symbol) for row in range(len(block.columns)))


def read_blocks(path: Path, given: Given | None = None) -> Iterator[Trade | Block]:
    """Yield the trades of one file, the plain rows of a CSV as columns, a block at a time.

    Raises: as `read_trades`.
    """
    place, is_empty, kinds = str(path), True, dict[str, str]()
    for found in read_found(path, given):
        if isinstance(found, Part):
            place = found.name
            continue
        is_empty = False
        if isinstance(found, Refused):
            raise BadRecord(f"{place}, line {found.line}: {found.reason}")
        if isinstance(found, Row | Block):
            symbol = found.trade.symbol if isinstance(found, Row) else found.symbol
            if counts_contracts(symbol):
                raise BadRecord(f"{place}, line {found.line}: {symbol} is {CONTRACTS}")
        if isinstance(found, Row):
            if not found.event or kinds.setdefault(found.trade.symbol, found.event) == found.event:
                yield found.trade
        elif isinstance(found, Block):
            yield found
    if is_empty:
        raise NoTrades(f"{path} is empty")


def read_found(path: Path, given: Given | None = None) -> Iterator[Found]:
    """Yield whatever a file holds, row by row, after a `Part` that says where the rows are.

    Raises: Misconfigured when the file is missing or its shape, symbol or columns cannot be told; BadRecord when it is damaged.
    """
    given = given or Given()
    with readable(path) as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(raw) as stream:
                yield from _part(cast(BinaryIO, stream), str(path), (path.name,), given)
        elif magic[:2] == b"PK" and magic[2:] in (b"\x03\x04", b"\x05\x06"):
            yield from _members(raw, path, given)
        else:
            yield from _part(raw, str(path), (path.name,), given)


def _members(raw: BinaryIO, path: Path, given: Given) -> Iterator[Found]:
    """Yield what every file of trades in an archive holds."""
    _check_sum(path)
    for place, name, stream in opened(raw, path):
        yield from _part(stream, place, (name, path.name), given)


def _check_sum(path: Path) -> None:
    """Compare with the `.CHECKSUM` file that the exchange publishes beside each archive, where it is there."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if beside.is_file():
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        with beside.open("rb") as sums:
            listed = sums.read(MAX_SUMS).lower()
        if found.encode() not in listed:
            raise BadRecord(f"{path} does not match its checksum file; fetch it again")


def _part(stream: BinaryIO, place: str, names: tuple[str, ...], given: Given) -> Iterator[Found]:
    yield Part(place)
    head = stream.read(HEAD).removeprefix(BYTE_ORDER_MARK)
    while len(head) < HEAD and not head.strip() and (more := stream.read(HEAD)):
        head = more
    if not head.strip():
        return
    read = _after(head, stream)
    rows = [line.strip() for line in head.split(b"\n") if line.strip()][:LOOKED_AT]

    def named() -> str:
        return given.symbol or symbol_of(*names)

    if rows[0].startswith(b"[") and not _is_document(rows[0], head):
        yield from array(read, named)
    elif any(b"{" in line for line in rows) or rows[0].startswith(b"["):
        yield from documents(read, named)
    elif any(mark in line for line in rows for mark in SEPARATORS) or names[0].removesuffix(".gz").lower().endswith(
        ".csv"
    ):
        table = Table(place, named, given.layout)
        for block in csv_blocks.blocks(read):
            yield from table.take(block)
    else:
        raise Misconfigured(f"{place} {UNKNOWN}")


def _after(head: bytes, stream: BinaryIO) -> Read:
    """Return a read function for a stream whose head was read already; it never returns more than asked for."""
    begun = io.BytesIO(head)
    return lambda size: begun.read(size) or stream.read(size)


def _is_document(line: bytes, head: bytes) -> bool:
    """Tell whether a first line that begins a list also ends it: then each line is a document."""
    if b"\n" not in head:
        return False
    try:
        decoded(line)
    except BadRecord:
        return False
    return True
