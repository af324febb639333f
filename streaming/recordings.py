"""Recorded trades in every shape they are kept in: WebSocket frames, archive CSV and ZIP, REST and ccxt JSON.

The shape is told from the content, the symbol from the content or the file's name; a broken file is said to be broken
at a line, never half read in silence.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from quantstream.errors import BadRecord, Misconfigured
from quantstream.market import Trade, to_units
from streaming.binance import is_trade_stream, parse_trade, split_frame, to_micros

MAX_LINE = 4 << 20  # bytes; a ccxt file is one line, so JSON is read whole below this many
MAX_JSON = 256 << 20
_FRAME_LINE = re.compile(rb"^\d+(?:\.\d+)?:? (\{.*)$")
_NAMED_SYMBOL = re.compile(r"^([A-Z0-9]{4,})[-_.]")


def read_trades(path: Path, symbol: str | None = None) -> Iterator[Trade]:
    """Yield the trades of one file in the file's order.

    Raises: Misconfigured when the file is missing or of no known shape; BadRecord at the line that is broken.
    """
    if not path.is_file():
        raise Misconfigured(f"there is no file {path}; check the name")
    try:
        with _opened(path) as stream:
            yield from _trades(stream, path, symbol)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
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
            with zipfile.ZipFile(raw) as archive:
                names = [name for name in archive.namelist() if name.lower().endswith((".csv", ".json", ".jsonl"))]
                if len(names) != 1:
                    raise Misconfigured(f"{path} holds {len(names)} data files; an archive of trades holds one")
                with archive.open(names[0]) as member:
                    yield io.BufferedReader(cast(io.RawIOBase, member))
        else:
            yield raw


def _check_sum(path: Path) -> None:
    """Compare with the `.CHECKSUM` file that the exchange publishes beside each archive, where it is there."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if beside.is_file():
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found not in beside.read_text().lower():
            raise BadRecord(f"{path} does not match its checksum file; fetch it again")


def _trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    first = stream.peek(256)[:256].lstrip()  # type: ignore[attr-defined]
    if not first:
        raise BadRecord(f"{path} is empty")
    if first.startswith(b"["):
        yield from _json_trades(stream, path, symbol)
    elif first.startswith(b"{"):
        yield from _json_line_trades(stream, path, symbol)
    elif _FRAME_LINE.match(first.split(b"\n")[0]) or first.startswith((b"wss://", b"ws://")):
        yield from _frame_trades(stream, path)
    elif b"," in first.split(b"\n")[0]:
        yield from _csv_trades(stream, path, symbol)
    else:
        raise Misconfigured(
            f"{path} is no recording of trades that is known here: give WebSocket frames, an archive CSV or ZIP, or REST JSON"
        )


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
    name = symbol or _symbol_of(path)
    rows = csv.reader(io.TextIOWrapper(stream, encoding="ascii", errors="strict"))
    try:
        for number, row in enumerate(rows, 1):
            if not row or (number == 1 and not row[0].strip().isdigit()):
                continue
            yield _csv_trade(row, name)
    except (BadRecord, ValueError, IndexError, csv.Error) as error:
        raise BadRecord(f"{path}, line {rows.line_num}: not a row of trades ({error})") from None


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


def _json_trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    """A REST answer (list of objects) or ccxt's compact rows `[ms, id, type, side, price, amount, cost]`."""
    raw = stream.read(MAX_JSON + 1)
    if len(raw) > MAX_JSON:
        raise BadRecord(f"{path} is larger than {MAX_JSON >> 20} MiB of JSON; use the archive's CSV instead")
    try:
        rows = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"{path} is not valid JSON: {error}") from None
    for number, row in enumerate(rows, 1):
        try:
            if isinstance(row, list):
                yield _ccxt_trade(row, symbol or _symbol_of(path))
            else:
                yield _row_trade(row, path, symbol)
        except (BadRecord, ValueError, TypeError, IndexError, InvalidOperation) as error:
            raise BadRecord(f"{path}, row {number}: {error}") from None


def _json_line_trades(stream: BinaryIO, path: Path, symbol: str | None) -> Iterator[Trade]:
    for number, line in _lines(stream, path):
        try:
            yield _row_trade(msgspec.json.decode(line), path, symbol)
        except (BadRecord, msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise BadRecord(f"{path}, line {number}: {error}") from None


def _row_trade(row: Any, path: Path, symbol: str | None) -> Trade:
    """A REST row under the exchange's names, or under the long names some recorders use."""
    if not isinstance(row, dict):
        raise BadRecord("a row that is no trade")
    if "trade_id" in row:
        named = {"id": row["trade_id"], "price": row["price"], "qty": row["quantity"], "time": row["timestamp"]}
        row = {**named, "isBuyerMaker": row["is_buyer_maker"], "symbol": row.get("symbol", "")}
    name = symbol or row.get("symbol") or row.get("s") or _symbol_of(path)
    return parse_trade(msgspec.json.encode({key: value for key, value in row.items() if key != "symbol"}), name)


def _ccxt_trade(row: list[Any], symbol: str) -> Trade:
    at, number, _, side, price, amount = row[:6]
    if side not in ("buy", "sell"):
        raise BadRecord(f"side {side!r} should be buy or sell")
    return Trade(
        symbol=symbol,
        id=int(number),
        first_trade_id=int(number),
        last_trade_id=int(number),
        price=to_units(_plain(price)),
        quantity=to_units(_plain(amount)),
        traded_at=to_micros(int(at)),
        buyer_is_maker=side == "sell",  # ccxt names the taker's side
    )


def _plain(number: float | str) -> str:
    """Return a float as the shortest decimal that means it, without an exponent."""
    return f"{Decimal(str(number)):f}"


def _symbol_of(path: Path) -> str:
    match = _NAMED_SYMBOL.match(path.name)
    if match is None:
        raise Misconfigured(f"cannot tell whose trades {path} holds; name it like BTCUSDT-trades-2024-08-08.csv")
    return match[1]
