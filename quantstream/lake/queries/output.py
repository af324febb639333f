"""Batches of rows as a file or as text, exact to the last digit: Parquet keeps decimals, CSV and JSON spell them out as text.

A file is there whole or not at all. Memory goes by a batch, not by the rows.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from csv import writer
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.files import replacing

FORMATS = ("parquet", "csv", "json")
SHOWN = 1_000  # rows of an aligned table, whose columns are as wide as their widest value


def format_of(output: Path | None, named: str | None) -> str:
    """Return the format that is named or that a file's name ends in; "table" for a terminal.

    Raises: Misconfigured.
    """
    known = ", ".join(FORMATS)
    found = named or (output.suffix.removeprefix(".") if output else "table")
    if found not in FORMATS and not (found == "table" and output is None and named is None):
        raise Misconfigured(f"{found or 'a name without an ending'!r} is no format; write one of {known}")
    if found == "parquet" and output is None:
        raise Misconfigured("Parquet does not go to a terminal; name a file with --output X.parquet")
    return found


def check_place(output: Path, force: bool) -> None:
    """Raise Misconfigured when a file cannot be written, or is there already and is not to be replaced."""
    if ":/" in str(output):
        raise Misconfigured(f"{output} is no file on this machine; write one here and copy it there")
    if not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise Misconfigured(f"{output} cannot be written: its folder must be there, and it must be a file itself")
    if output.exists() and not force:
        raise Misconfigured(f"{output} is there already; name another file, or replace it with --force")


def write(rows: pa.RecordBatchReader, output: Path | None, kind: str) -> int:
    """Write rows to a file, or to standard output, and return how many they were.

    Raises: Unavailable when the file cannot be written; what reading the rows does.
    """
    if output is None:
        with _until_nobody_reads():
            count = _print_table(rows) if kind == "table" else _WRITERS[kind](rows, sys.stdout.buffer)
            sys.stdout.flush()
            return count
        return 0
    with _writing(output), replacing(output) as draft, draft.open("wb") as file:
        return _WRITERS[kind](rows, file)


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End quietly when whoever reads what is printed has seen enough, `head` for one."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{output} was not written: {error}") from error


def _write_parquet(rows: pa.RecordBatchReader, out: IO[bytes]) -> int:
    count = 0
    with pq.ParquetWriter(out, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _write_csv(rows: pa.RecordBatchReader, out: IO[bytes]) -> int:
    count = 0
    header = io.StringIO()
    writer(header, lineterminator="\n").writerow(rows.schema.names)
    out.write(header.getvalue().encode())
    for batch in rows:
        columns = [_flat(column) for column in batch.columns]
        out.write(_lines(pa.RecordBatch.from_arrays(columns, names=batch.schema.names)))
        count += batch.num_rows
    return count


def _lines(batch: pa.RecordBatch) -> bytes:
    """Return rows as lines, with quotes only where a text needs them: Arrow's own "needed" puts them around all texts."""
    try:
        return _quoted(batch, "none")
    except pa.ArrowInvalid:
        return _quoted(batch, "needed")


def _quoted(batch: pa.RecordBatch, style: str) -> bytes:
    found = pa.BufferOutputStream()
    csv.write_csv(batch, found, csv.WriteOptions(include_header=False, quoting_style=style))
    return bytes(found.getvalue())


def _write_json(rows: pa.RecordBatchReader, out: IO[bytes]) -> int:
    """Write an object a line."""
    count = 0
    for batch in rows:
        for row in _plain_rows(batch):
            out.write(json.dumps(row, ensure_ascii=False, default=_spelled).encode() + b"\n")
        count += batch.num_rows
    return count


_WRITERS: dict[str, Callable[[pa.RecordBatchReader, IO[bytes]], int]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "json": _write_json,
}


def _plain_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Go through rows; of columns of the same name the later ones have a number."""
    names: list[str] = []
    for name in batch.schema.names:
        names.append(name if name not in names else f"{name}_{names.count(name) + len(names)}")
    for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        yield dict(zip(names, values, strict=True))


def _flat(column: pa.Array) -> pa.Array:
    """Return a column as a CSV can hold it: decimals with all their digits and no exponent, what is nested as JSON."""
    if pa.types.is_decimal(column.type):
        texts = column.cast(pa.string())
        odd = pc.match_substring(texts, "E").fill_null(False)
        plain = [f"{value:f}" for value in column.filter(odd).to_pylist()]
        return pc.replace_with_mask(texts, odd, pa.array(plain, pa.string()))
    if not pa.types.is_nested(column.type):
        return column
    return pa.array([None if one is None else _text(one) for one in column.to_pylist()], pa.string())


def _print_table(rows: pa.RecordBatchReader) -> int:
    """Print an aligned table of the first rows; say when there are more."""
    shown = list(islice(_texts(rows), SHOWN + 1))
    lines = [list(rows.schema.names), *shown[:SHOWN]]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    is_number = [_is_number(field.type) for field in rows.schema]
    for line in lines:
        cells = zip(line, widths, is_number, strict=True)
        print("  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in cells).rstrip())
    if len(shown) > SHOWN:
        print(f"… the first {SHOWN:,} rows; all of them with --output F.parquet or --format csv")
    return min(len(shown), SHOWN)


def _texts(rows: Iterable[pa.RecordBatch]) -> Iterator[list[str]]:
    for batch in rows:
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield [_text(value) for value in values]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=_spelled)
    return value if isinstance(value, str) else str(_spelled(value))


def _spelled(value: Any) -> Any:
    """Return a value as text that JSON has no exact form for."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
