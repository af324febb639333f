"""How the lake's Parquet files are encoded: ids and times by their differences, words by dictionary, all compressed by zstd.

Ids go up by one and times by little, so their differences take a few bits each where the numbers take eight bytes (the ids of a
trade's own trades are its own id once more). Decimals stay exact, sixteen bytes each of which zstd leaves two: in a file of many
rows that is smaller and read faster than by dictionary. Any reader of Parquet reads this; no column's type is another.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import ColumnProperties, WriterProperties

DIFFERENCES = "DELTA_BINARY_PACKED"
FAST = 1  # zstd's level for writers that must not wait: their small files are merged soon
THOROUGH = 9  # for merged files, which are written once and read for years
GROUP = 1 << 17  # rows: of a day, those of some minutes are read alone


def writer_properties(schema: pa.Schema) -> WriterProperties:
    """Return how writers encode the rows of a table as they come."""
    by_differences = ColumnProperties(dictionary_enabled=False, encoding=DIFFERENCES)
    return WriterProperties(
        compression="ZSTD",
        compression_level=FAST,
        column_properties=dict.fromkeys(_steady(schema), by_differences),
    )


def merged_file_options(schema: pa.Schema) -> dict[str, Any]:
    """Return pyarrow's options for a file of sorted rows that stays."""
    steady = _steady(schema)
    plain = {*steady, *(one.name for one in schema if pa.types.is_decimal(one.type))}
    return {
        "compression": "zstd",
        "compression_level": THOROUGH,
        "column_encoding": dict.fromkeys(steady, DIFFERENCES),
        "use_dictionary": [path for path in _leaves(schema) if path not in plain],
        "row_group_size": GROUP,
    }


def _steady(schema: pa.Schema) -> list[str]:
    """Return the columns of whole numbers and of times."""
    return [one.name for one in schema if pa.types.is_integer(one.type) or pa.types.is_timestamp(one.type)]


@cache
def _leaves(schema: pa.Schema) -> tuple[str, ...]:
    """Return the paths of a file's columns as Parquet spells them, those within lists and maps too."""
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    columns = pq.ParquetFile(file).schema
    return tuple(columns.column(place).path for place in range(len(columns)))
