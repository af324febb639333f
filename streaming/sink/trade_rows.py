"""Trades as rows of the lake, from columns to Arrow without an object per trade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from quantstream.core.decimals import units_decimal
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.columns import TradeColumns
from quantstream.kafka import Message
from quantstream.lake.schemas import PRICE, SCHEMAS, TIME
from quantstream.messages.topics import HEADER_ORIGIN, HEADER_RECEIVED_AT

LIVE = "live"
SCHEMA = pa.schema([field for field in SCHEMAS["trades"] if field.name != "date"])


def trade_rows(columns: TradeColumns, is_new: Flags, names: Sequence[str], messages: Sequence[Message]) -> pa.Table:
    """Return the new trades of a batch, in order of arrival but for those too large for a column, which come last."""
    plain = is_new & (columns.at > 0)
    rows = np.flatnonzero(plain)
    received_at, origins = _headers([messages[row] for row in rows.tolist()])
    table = pa.table(
        {
            "symbol": pa.DictionaryArray.from_arrays(columns.code[rows], pa.array(names, pa.string())).cast(
                pa.string()
            ),
            "id": columns.id[rows],
            "first_trade_id": columns.first[rows],
            "last_trade_id": columns.last[rows],
            "price": units(columns.price[rows]),
            "quantity": units(columns.quantity[rows]),
            "traded_at": pa.array(columns.at[rows]).cast(TIME),
            "buyer_is_maker": columns.maker[rows],
            "received_at": pa.array(received_at, pa.int64()).cast(TIME),
            "origin": pa.array(origins, pa.string()),
        },
        schema=SCHEMA,
    )
    odd = [row for row in np.flatnonzero(is_new & ~plain).tolist() if isinstance(columns.items[row][1], Trade)]
    return pa.concat_tables([table, _odd_rows(columns, odd, messages)]) if odd else table


def units(values: Ints) -> pa.Array:
    """Return numbers of 10⁻⁸, none negative, as exact decimals: each is its own low word, the high one is zero."""
    words = np.zeros((len(values), 2), np.int64)
    words[:, 0] = values
    return pa.Array.from_buffers(PRICE, len(values), [None, pa.py_buffer(words)])


def _odd_rows(columns: TradeColumns, rows: Sequence[int], messages: Sequence[Message]) -> pa.Table:
    received_at, origins = _headers([messages[row] for row in rows])
    found: list[Mapping[str, Any]] = []
    for place, row in enumerate(rows):
        key, trade = columns.items[row]
        assert isinstance(trade, Trade)
        exact = {"price": units_decimal(trade.price), "quantity": units_decimal(trade.quantity)}
        plain = {
            name: getattr(trade, name)
            for name in ("id", "first_trade_id", "last_trade_id", "traded_at", "buyer_is_maker")
        }
        found.append({"symbol": key, **plain, **exact, "received_at": received_at[place], "origin": origins[place]})
    return pa.Table.from_pylist(found, schema=SCHEMA)


def _headers(messages: Sequence[Message]) -> tuple[list[int], list[str]]:
    """Return when ingest received each record (µs; else when the broker did), and where it came from."""
    received_at, origins = [], []
    for message in messages:
        found = dict(message.headers() or ())
        at = found.get(HEADER_RECEIVED_AT) or b""
        received_at.append(int(at) if at.isdigit() else message.timestamp()[1] * 1000)
        origin = found.get(HEADER_ORIGIN)
        origins.append(origin.decode(errors="replace") if origin else LIVE)
    return received_at, origins
