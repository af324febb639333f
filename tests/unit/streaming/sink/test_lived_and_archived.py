"""A trade that was lived through is in the lake, byte for byte, what a row of the exchange's archive makes of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantstream.decode.columns import Parser
from quantstream.kafka import Message
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake
from quantstream.lake.trades import COLUMNS
from quantstream.messages.topics import TRADES
from streaming.recordings.readers import read_trades
from streaming.sink.trade_rows import trade_rows
from tests.unit.streaming.recordings.test_csv_blocks import messy_log, row

KEY = "BTCUSDT"
SINGLE = '{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}'
AGGREGATE = '{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"%s","q":"%s","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'
ROW = '{"id":%d,"price":"%s","qty":"%s","quoteQty":"1.5","time":%d,"isBuyerMaker":%s,"isBestMatch":true}'


def as_lived(line: str, is_single: bool, from_rest: bool) -> bytes:
    """Print what the exchange sends of an archive's row: each cell as it stands there."""
    number, price, quantity, *_, at, maker, _ = cells = line.strip().split(",")
    truth = maker.lower()
    if not is_single:
        return (
            AGGREGATE % (int(at), int(number), price, quantity, int(cells[3]), int(cells[4]), int(at), truth)
        ).encode()
    if from_rest:
        return (ROW % (int(number), price, quantity, int(at), truth)).encode()
    return (SINGLE % (int(at), int(number), price, quantity, int(at), truth)).encode()


def stored(raws: Sequence[bytes]) -> pa.Table:
    """Return the sink's rows of records, without what tells how they came."""
    messages = [
        Message(topic=TRADES.name, partition=0, offset=at, key=KEY.encode(), value=raw) for at, raw in enumerate(raws)
    ]
    parser = Parser()
    columns = parser.parse(list(raws), [KEY.encode()] * len(raws), [0] * len(raws))
    assert not columns.items
    return trade_rows(columns, np.ones(len(raws), np.bool_), parser.symbols.names, messages).select(COLUMNS)


def archived(file: Path) -> pa.Table:
    """Return the rows that a file of the archive stands for."""
    exact = [
        {name: getattr(trade, name) for name in COLUMNS if name not in ("price", "quantity")}
        | {
            name: pa.scalar(getattr(trade, name), pa.decimal128(38, 0)).as_py().scaleb(-8)
            for name in ("price", "quantity")
        }
        for trade in read_trades(file)
    ]
    return pa.Table.from_pylist(exact, pa.schema([SCHEMAS["trades"].field(name) for name in COLUMNS]))


def in_the_lake(rows: pa.Table, folder: Path) -> bytes:
    """Return the rows as the lake gives them back, in Arrow's own bytes."""
    full = rows.append_column("received_at", pa.nulls(len(rows), SCHEMAS["trades"].field("received_at").type))
    lake = Lake(str(folder))
    lake.append("trades", full.append_column("origin", pa.array(["x"] * len(rows))))
    sink = pa.BufferOutputStream()
    found = lake.read("trades", columns=COLUMNS).combine_chunks()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return bytes(sink.getvalue().to_pybytes())


def lines_of(seed: int, is_single: bool, in_micros: bool) -> list[str]:
    """Return rows of an archive: of trades to the µs where it is in µs."""
    rng = random.Random(seed)
    log = messy_log(rng, 10**12, 20_000, 0)
    log = [replace(one, traded_at=one.traded_at + rng.randrange(1000)) for one in log] if in_micros else log
    log = [replace(one, first_trade_id=one.id, last_trade_id=one.id) for one in log] if is_single else log
    return [row(one, is_single, in_micros, 8, rng) for one in log]


@given(seed=st.integers(0, 2**32), is_single=st.booleans(), from_rest=st.booleans(), in_micros=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_the_same_whether_their_trades_were_lived_through_or_read_from_the_archive(
    seed: int, is_single: bool, from_rest: bool, in_micros: bool, tmp_path: Path
) -> None:
    lines = lines_of(seed, is_single, in_micros)
    file = tmp_path / f"{KEY}-{'trades' if is_single else 'aggTrades'}-2025-08-08.csv"
    file.write_text("".join(lines))
    assert stored([as_lived(line, is_single, from_rest) for line in lines]).equals(archived(file))


@pytest.mark.parametrize("is_single", [True, False])
def test_the_lake_gives_back_the_same_bytes_of_both(is_single: bool, tmp_path: Path) -> None:
    lines = lines_of(7, is_single, in_micros=True)
    file = tmp_path / f"{KEY}-{'trades' if is_single else 'aggTrades'}-2025-08-08.csv"
    file.write_text("".join(lines))
    lived = stored([as_lived(line, is_single, from_rest=False) for line in lines])
    assert any(at % 1000 for at in lived["traded_at"].cast(pa.int64()).to_pylist()), "ms would not hold them"
    assert in_the_lake(lived, tmp_path / "lived") == in_the_lake(archived(file), tmp_path / "archived")
