"""Whether a table has the columns that rows of this version have: older and newer tables are told apart, in words."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from quantstream.core.errors import Misconfigured
from quantstream.lake.schemas import SCHEMAS

TEXTS = (pa.string(), pa.large_string(), pa.string_view())


def lacking(name: str, table: Any) -> list[pa.Field]:
    """Return the columns that a table lacks, as this version has them.

    Raises: Misconfigured when it has others than this version knows, or of other types.
    """
    found = pa.schema(table.schema())
    wanted = SCHEMAS[name]
    unknown = [column for column in found.names if column not in wanted.names]
    if unknown:
        raise Misconfigured(
            f"the lake table {name} was written by a newer version: it has {', '.join(unknown)}; upgrade QuantStream to write it"
        )
    for column in found:
        if not _same(column.type, wanted.field(column.name).type):
            raise Misconfigured(
                f"the lake table {name} has {column.name} as {column.type} where it should be {wanted.field(column.name).type}; "
                "nothing was written, for a change of type may lose data: put its rows into a new lake"
            )
    return [column for column in wanted if column.name not in found.names]


def expect_columns(name: str, table: Any) -> None:
    """Raise Misconfigured when a table has not the columns that rows of this version have."""
    if columns := ", ".join(column.name for column in lacking(name, table)):
        raise Misconfigured(
            f"the lake table {name} is of an older version: it lacks {columns}; run `quantstream lake migrate`, "
            "which adds what is new and changes nothing else"
        )


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    """Tell whether two types hold the same; how names inside of lists and maps are spelled is the library's own."""
    if pa.types.is_nested(one) or pa.types.is_nested(other):
        return bool(pa.types.is_nested(one) and pa.types.is_nested(other))
    return bool(one == other or (one in TEXTS and other in TEXTS))
