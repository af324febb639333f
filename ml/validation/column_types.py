"""Which types the columns of a table's files have: a file that another program wrote with floats reads like one of decimals.

Whoever reads a Delta table gets its declared types, whatever is in the files: Arrow rounds floats to decimals without a word.
Only the files tell.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow.dataset import get_partition_keys

from ml.validation.candle_frames import days_of
from quantstream.core.errors import Unavailable
from quantstream.lake.reads import Asked
from quantstream.lake.schemas import SCHEMAS, TEXTS, TIME_COLUMN
from quantstream.lake.store import UNREADABLE, Lake


def column_types(
    lake: Lake, name: str, symbol: str, start: datetime | None = None, end: datetime | None = None
) -> pd.DataFrame:
    """Return a row for each column of a symbol's files that is not as declared, and one for each day that is.

    Only of files with days of `[start, end]` where these are said. Columns: `day`, `column`, `found` and `wanted` type.

    Raises: Unavailable.
    """
    table = lake.table(name)
    rows: dict[tuple[str, str], tuple[str, str]] = {}
    try:
        files = Asked([symbol], start, end).files(table.metadata().partition_columns)
        for fragment in table.to_pyarrow_dataset(file_pruning_predicate=files).get_fragments():
            schema = fragment.physical_schema
            wrong = {field.name: str(field.type) for field in schema if not _is_right(name, field)}
            for day in _days(fragment, name):
                for column in wrong or {"all": "as declared"}:
                    wanted = str(SCHEMAS[name].field(column).type) if wrong else "as declared"
                    if wrong or (day, column) not in rows:
                        rows[day, column] = (wrong.get(column, "as declared"), wanted)
    except UNREADABLE as error:
        raise Unavailable(f"the lake table {name} at {lake.url} cannot be read: {error}") from error
    found = [(day, column, *types) for (day, column), types in sorted(rows.items())]
    return pd.DataFrame(found, columns=["day", "column", "found", "wanted"])


def _is_right(name: str, field: Any) -> bool:
    if field.name not in SCHEMAS[name].names:
        return True
    wanted = SCHEMAS[name].field(field.name).type
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(field.type))
    return bool(field.type == wanted or (field.type in TEXTS and wanted in TEXTS) or pa.types.is_nested(wanted))


def _days(fragment: Any, name: str) -> list[str]:
    """Return the days of a file's rows: its partition's, or of the rows where a partition is longer."""
    keys = get_partition_keys(fragment.partition_expression)
    if "date" in keys:
        return [str(keys["date"])]
    at = (
        fragment.to_table(columns=[TIME_COLUMN[name]])[TIME_COLUMN[name]]
        .cast(pa.timestamp("us", "UTC"))
        .cast(pa.int64())
    )
    return sorted(set(days_of(at.to_numpy()).tolist()))
