"""What readers of candles make of the table's rows: the newest revision of each, and floats."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

KEY = ("symbol", "opened_at")
ORDER = (*KEY, "revision", "is_complete")


def newest_revisions(rows: pa.Table) -> pa.Table:
    """Return the newest revision of each candle of one interval, in order; of equals, a complete one."""
    rows = rows.sort_by([(name, "ascending") for name in ORDER])
    if rows.num_rows < 2:
        return rows
    is_last = pc.or_(*(pc.not_equal(rows[name].combine_chunks()[:-1], rows[name].combine_chunks()[1:]) for name in KEY))
    return rows.filter(pa.concat_arrays([is_last, pa.array([True])]))


def float_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a frame, decimals as floats.

    The way over text rounds correctly (Arrow's direct cast may be one unit off), as `int / 10**8` does live.
    """
    for name in [field.name for field in rows.schema if pa.types.is_decimal(field.type)]:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()).cast(pa.float64()))
    frame: pd.DataFrame = rows.to_pandas()
    return frame
