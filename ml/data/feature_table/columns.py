"""The columns of the table `features`, and what each partition says of how it was made.

Features of what fits memory are float64, the live scorer's to the last bit. Of more they are float32, which is less than half on
disk: models read them relative to one another and hold their cuts in float32 themselves, so a model that learnt from float32 says
of the scorer's float64 the same within 10⁻⁴ (a test holds it). It is not the same model as float64 would have given: boosting
chooses among cuts that are nearly alike, and another rounding chooses another. Labels and closes are always float64.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ml.data import labels
from quantstream import features
from quantstream.lake.schemas import TIME

TABLE = "features"
BY = ("symbol", "month")  # month as 2024-03, of the opening time in UTC
EXACT, SHORT = "float64", "float32"
IN_MEMORY = 400_000  # rows: a quarter of a gigabyte as float64, forty days of thirty symbols
LABELS = tuple(labels.HORIZON)
LABELS_AS_OF = 1  # raised when a label's definition changes: rows of before are then made anew
FACTS = {
    "seen": pa.string(),  # what the log said of the candles: as long as it says the same they need not be read
    "made_by": pa.string(),  # definitions of features and labels
    "made_of": pa.string(),  # checksum of the candles, warm-up and the hour ahead of labels included
    "rows_hash": pa.string(),  # checksum of the rows themselves
    "candles_version": pa.int64(),  # of the table `candles` that they were read from
    "revision": pa.int64(),  # the highest among these candles: above 0 some were corrected
}
INDEX = ("opened_at", "close", *LABELS)
DATA = (*INDEX, *features.NAMES)


def schema(precision: str) -> pa.Schema:
    """Return the table's columns, with features as float64 or float32."""
    return pa.schema(
        [
            *((name, pa.string()) for name in BY),
            *FACTS.items(),  # first: the log keeps bounds of the first columns only
            ("opened_at", TIME),
            *((name, pa.float64()) for name in INDEX[1:]),
            *((name, pa.from_numpy_dtype(np.dtype(precision))) for name in features.NAMES),
        ]
    )


def precision_for(rows: int) -> str:
    """Return how features of so many rows are kept."""
    return EXACT if rows <= IN_MEMORY else SHORT


def made_by(trailing: int, precision: str) -> str:
    """Return the definitions that rows are made by; `trailing` candles set the threshold of an abnormal move."""
    return f"{features.FEATURE_HASH}/{LABELS_AS_OF}.{trailing}/{precision}"
