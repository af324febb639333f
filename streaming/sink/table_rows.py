"""Candles, scores and anomalies as rows of the lake's tables, each record checked against its key."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from quantstream.core.candle import Candle
from quantstream.core.decimals import units_decimal
from quantstream.core.errors import BadRecord
from quantstream.lake.schemas import DERIVED, KNOWN_AT, PRICE, SCHEMAS, SHADOW_SCORES, candle_rows
from quantstream.messages.payloads import Anomaly, Score, Signal, decode

KINDS: dict[str, type[Candle | Score | Anomaly]] = {
    "candles": Candle,
    "scores": Score,
    SHADOW_SCORES: Score,
    "anomalies": Anomaly,
}
Row = dict[str, Any]


class KnownCandle(NamedTuple):
    """A candle, and when this revision of it became known (µs)."""

    candle: Candle
    known_at: int


def row_of(table: str, raw: bytes, symbol: str, known_at: int) -> KnownCandle | Row:
    """Return the row of a table that a record with the key `symbol` holds, written to its topic at `known_at` (µs).

    Raises: BadRecord for a record that cannot be read, or that is of another symbol.
    """
    value = decode(raw, KINDS[table])
    if value.symbol != symbol:
        raise BadRecord(f"a record of {value.symbol} under the key {symbol!r}: its partition is another's")
    if isinstance(value, Candle):
        return KnownCandle(value, known_at)
    return score_row(value) if isinstance(value, Score) else anomaly_row(value)


def table_of(name: str, rows: list[Any]) -> pa.Table:
    """Return rows of a table, as `row_of` gives them, in Arrow's columns."""
    if name == "candles":
        return candle_rows([row.candle for row in rows], known_at=[row.known_at for row in rows])
    columns = {}
    for field in SCHEMAS[name]:
        if field.name in DERIVED:
            continue
        values = [row[field.name] for row in rows]
        if pa.types.is_timestamp(field.type):
            columns[field.name] = pa.array(values, pa.int64()).cast(field.type)
        else:
            columns[field.name] = pa.array(values, field.type)
    return pa.table(columns)


def score_row(score: Score) -> Row:
    """Return the row of a score, which is known when it is made; that of its signal is in columns of its own."""
    signal = dict.fromkeys(Signal.__struct_fields__) if score.signal is None else msgspec.structs.asdict(score.signal)
    return {
        **msgspec.structs.asdict(score),
        "forecasts": [msgspec.structs.asdict(forecast) for forecast in score.forecasts],
        **signal,
        "models": list(score.models.items()),
        "history_from": score.history_from or None,
        KNOWN_AT: score.scored_at,
    }


def anomaly_row(anomaly: Anomaly) -> Row:
    """Return the row of an anomaly; price and quantity as exact decimals."""
    exact = {name: units_decimal(getattr(anomaly, name), PRICE.scale) for name in ("price", "quantity")}
    return {**msgspec.structs.asdict(anomaly), **exact}
