"""A file of klines as rows of the candles table: whole columns at a time, and row by row whatever is not plain.

Of a row that looks odd the parser of REST's klines decides, and says why it is none.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from quantstream.binance.klines import FIELDS, parse_kline
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.errors import BadRecord
from quantstream.core.instrument import contract_size
from quantstream.core.time import INTERVALS, MICROSECONDS_FROM, NANOSECONDS_FROM
from quantstream.lake.schemas import CANDLE_FIELDS, KNOWN_AT, PRICE, QUOTE, TIME, candle_rows
from streaming.recordings.opened_files import DAMAGED, opened_members

COLUMNS = (
    *("opened_at", "open", "high", "low", "close", "volume", "closed_at", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
PLAIN = {"opened_at": r"^\d{12,16}$", "trade_count": r"^\d{1,15}$"}
PLAIN |= dict.fromkeys(("open", "high", "low", "close", "volume", "taker_buy_volume"), r"^\d{1,10}(\.\d{1,8})?$")
PLAIN |= dict.fromkeys(("quote_volume", "taker_buy_quote_volume"), r"^\d{1,14}(\.\d{1,16})?$")
NAMED = 20  # odd rows that are named one by one
BLOCK = 1 << 22  # bytes


@dataclass
class KlineFile:
    """What a file held: candles as rows, and of every other row why it is none. `rows` = candles + duplicates + refused."""

    candles: pa.Table
    rows: int = 0
    duplicates: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)  # the first `NAMED`

    def refuse(self, reason: str, rows: int = 1) -> None:
        """Note rows that are no candles."""
        self.refused += rows
        if len(self.reasons) < NAMED:
            self.reasons.append(reason)


def read_klines(path: Path, symbol: str, interval: str, start: int, end: int) -> KlineFile:
    """Return the klines of a ZIP or CSV that open in `[start, end)` (µs), by time, each window once.

    Raises: BadRecord when the file is damaged.
    """
    read = KlineFile(_empty())
    parts = [part for batch in _batches(path, read) for part in _candles(batch, symbol, interval, read)]
    rows = pa.concat_tables([read.candles, *parts]).sort_by("opened_at")
    read.candles = _each_once(_within(rows, start, end, read), read)
    return read


def _batches(path: Path, read: KlineFile) -> Iterator[pa.Table]:
    """Yield the cells of a file as bytes; a row with too few or too many is refused."""

    def odd(row: Any) -> str:
        read.rows += 1
        read.refuse(f"{path.name}: {str(row.text)[:120]!r} has {row.actual_columns} cells instead of {len(COLUMNS)}")
        return "skip"

    for stream in opened_members(path):
        head = stream.readline(1 << 16)
        if not head.strip():
            continue
        rest: Any = io.BufferedReader(cast(io.RawIOBase, _Joined(head if head[:1].isdigit() else b"", stream)))
        try:
            reader = pyarrow.csv.open_csv(
                rest,
                pyarrow.csv.ReadOptions(column_names=list(COLUMNS), block_size=BLOCK, use_threads=False),
                pyarrow.csv.ParseOptions(invalid_row_handler=odd),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.binary()), strings_can_be_null=False),
            )
            for batch in reader:
                read.rows += batch.num_rows
                yield pa.Table.from_batches([batch])
        except DAMAGED as error:  # Arrow's own are ValueErrors
            if "Empty CSV" not in str(error):
                raise BadRecord(f"{path.name} is no file of klines, or damaged ({str(error)[:120]})") from None


class _Joined(io.RawIOBase):
    """Some bytes, and then a stream."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self.head, self.stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.head:
            taken, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        else:
            taken = self.stream.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)


def _candles(cells: pa.Table, symbol: str, interval: str, read: KlineFile) -> Iterator[pa.Table]:
    """Yield the candles of some rows."""
    is_plain: Any = pa.repeat(False, cells.num_rows) if contract_size(symbol) else None
    for name, pattern in PLAIN.items():
        matches = pc.match_substring_regex(cells[name], pattern)
        is_plain = matches if is_plain is None else pc.and_(matches, is_plain)
    rows = _plain_rows(cells.filter(is_plain), symbol, interval)
    is_sound = _is_sound(rows, interval)
    yield rows.filter(is_sound)
    odd = pa.concat_tables([cells.filter(pc.invert(is_plain)), cells.filter(is_plain).filter(pc.invert(is_sound))])
    for row in odd.to_pylist():
        texts = [value.decode(errors="backslashreplace").strip() for value in row.values()]
        try:
            yield _one(texts, symbol, interval)
        except BadRecord as error:
            read.refuse(f"{symbol}: {error}")


def _one(texts: list[str], symbol: str, interval: str) -> pa.Table:
    """Return the candle of one row. Raises: BadRecord."""
    for place in (0, 8):
        if not texts[place].isdecimal() or not texts[place].isascii() or len(texts[place]) > len(str(NANOSECONDS_FROM)):
            raise BadRecord(f"{','.join(texts)[:120]} is not a kline: {texts[place][:40]!r} is no whole number")
    return candle_rows([parse_kline(symbol, [int(texts[0]), *texts[1:8], int(texts[8]), *texts[9:FIELDS]], interval)])


def _plain_rows(cells: pa.Table, symbol: str, interval: str) -> pa.Table:
    """Return rows of the candles table of cells that are plain digits."""
    count = cells.num_rows
    text = {name: cells[name].cast(pa.string()) for name in PLAIN}
    at = text["opened_at"].cast(pa.int64())
    at = pc.if_else(
        pc.greater_equal(at, MICROSECONDS_FROM), at, pc.multiply(pc.min_element_wise(at, MICROSECONDS_FROM), 1000)
    )
    columns: dict[str, Any] = {"symbol": pa.repeat(symbol, count), "opened_at": at.cast(TIME)}
    for name, kind in CANDLE_FIELDS[2:]:
        if kind in (PRICE, QUOTE):
            columns[name] = text[name].cast(kind)
    columns["trade_count"] = text["trade_count"].cast(pa.int64())
    for name in ("first_trade_id", "last_trade_id"):
        columns[name] = pa.repeat(pa.scalar(NO_TRADE_ID, pa.int64()), count)
    columns["is_complete"] = pa.repeat(True, count)
    columns |= {"interval": pa.repeat(interval, count), "source": pa.repeat("klines", count)}
    columns["revision"] = pa.repeat(pa.scalar(0, pa.int32()), count)
    columns[KNOWN_AT] = pa.nulls(count, TIME)
    return pa.table(columns).select(_empty().column_names)


def _is_sound(rows: pa.Table, interval: str) -> Any:
    """Tell of each row whether its numbers make a candle, as `Candle` demands."""
    low, high = rows["low"], rows["high"]
    laws = [pc.greater(low, pa.scalar(0, PRICE))]
    laws += [pc.less_equal(low, rows[name]) for name in ("open", "close")]
    laws += [pc.less_equal(rows[name], high) for name in ("open", "close")]
    laws += [pc.less_equal(rows["taker_buy_volume"], rows["volume"])]
    laws += [pc.less_equal(rows["taker_buy_quote_volume"], rows["quote_volume"])]
    at = rows["opened_at"].cast(pa.int64())
    length = INTERVALS[interval]
    laws += [pc.equal(pc.subtract(at, pc.multiply(pc.divide(at, length), length)), 0)]
    sound = laws[0]
    for law in laws[1:]:
        sound = pc.and_(sound, law)
    return sound


def _within(rows: pa.Table, start: int, end: int, read: KlineFile) -> pa.Table:
    at = rows["opened_at"].cast(pa.int64())
    inside = rows.filter(pc.and_(pc.greater_equal(at, start), pc.less(at, end)))
    if strange := rows.num_rows - inside.num_rows:
        read.refuse(f"{strange} rows of another time than the file's", strange)
    return inside


def _each_once(rows: pa.Table, read: KlineFile) -> pa.Table:
    """Return rows without repeated ones; where rows of one window contradict each other, none of them counts."""
    unique = rows.group_by(rows.column_names, use_threads=False).aggregate([]).sort_by("opened_at")
    read.duplicates += rows.num_rows - unique.num_rows
    counts = unique.group_by("opened_at", use_threads=False).aggregate([([], "count_all")])
    torn = counts.filter(pc.greater(counts["count_all"], 1))
    for at, count in zip(torn["opened_at"].to_pylist(), torn["count_all"].to_pylist(), strict=True):
        read.refuse(f"{count} rows of {at:%Y-%m-%d %H:%M} contradict each other", count)
    if torn.num_rows:
        unique = unique.filter(pc.invert(pc.is_in(unique["opened_at"], torn["opened_at"].combine_chunks())))
    return unique


def _empty() -> pa.Table:
    return candle_rows([])
