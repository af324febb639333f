"""Recorded trades to candles without a broker: the same builder as the live path, so the same candles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from quantstream.candles import DEFAULT_LATENESS, CandleBuilder
from quantstream.errors import BadRecord, Misconfigured
from quantstream.market import Candle, Trade
from quantstream.sequence import Hole
from quantstream.tables import candle_rows
from streaming import runs
from streaming.columns import Columns
from streaming.recordings import Block, read_blocks, read_trades


@dataclass(frozen=True)
class Summary:
    """What a run over recordings found. `gaps` are the ids missing for good, per symbol."""

    trades: int
    duplicates: int
    candles: int
    gaps: dict[str, list[Hole]]


def build_candles(
    trades: Iterable[Trade | Block], interval: str = "5m", lateness: int = DEFAULT_LATENESS
) -> tuple[list[Candle], dict[str, CandleBuilder]]:
    """Return every candle of the trades, by symbol and time, and the builders that made them.

    The last candle of a symbol is incomplete unless the watermark passed its end, exactly as live.
    """
    builders: dict[str, CandleBuilder] = {}
    newest: dict[tuple[str, int], Candle] = {}
    for item in trades:
        builder = builders.get(item.symbol)
        if builder is None:
            builder = builders[item.symbol] = CandleBuilder(item.symbol, (interval,), lateness)
        for candle in _taken(builder, item.columns) if isinstance(item, Block) else builder.add(item):
            newest[candle.symbol, candle.opened_at] = candle
    for builder in builders.values():
        for candle in builder.open_candles():
            newest[candle.symbol, candle.opened_at] = candle
    return [newest[key] for key in sorted(newest)], builders


def _taken(builder: CandleBuilder, columns: Columns) -> Iterator[Candle]:
    """Take a block of one symbol's trades in, summed up wherever they follow one another; the same as one by one."""
    state = builder.state

    def known(_: runs.Group) -> runs.Known:
        return (state.ids.last_id, state.latest_at) if state.next_open else runs.NOTHING

    grid = math.gcd(*builder.lengths.values())
    for run in runs.runs(columns, np.arange(len(columns)), known, grid, builder.lateness):
        whole = builder.add_stretch(run.stretch) if run.stretch else None
        if whole is not None:
            yield from whole
            continue
        for row in run.rows.tolist():
            yield from builder.add(columns.trade(row, state.symbol))


def write_candles(files: Sequence[Path], out: Path, interval: str = "5m", lateness: int = DEFAULT_LATENESS) -> Summary:
    """Write the candles of recorded trades to `out` (`.parquet` or `.csv`), numbers as exact decimals.

    Raises: Misconfigured for a wrong name, BadRecord at the broken line of a file; then nothing is written.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise Misconfigured(f"cannot write {out}: end its name in .parquet or .csv")
    if not files:
        raise Misconfigured("name at least one file of recorded trades")
    if not out.absolute().parent.is_dir():
        raise Misconfigured(f"cannot write {out}: there is no folder {out.parent}")
    ordered = sorted(files, key=_first_trade_at)
    candles, builders = build_candles((item for file in ordered for item in read_blocks(file)), interval, lateness)
    _write(candle_rows(candles, with_key=False), out)
    ids = {symbol: builder.state.ids for symbol, builder in sorted(builders.items())}
    return Summary(
        trades=sum(candle.trade_count for candle in candles),
        duplicates=sum(seen.duplicates for seen in ids.values()),
        candles=len(candles),
        gaps={symbol: [hole for hole in seen.holes if hole.after] for symbol, seen in ids.items()},
    )


def _first_trade_at(path: Path) -> int:
    for trade in read_trades(path):
        return trade.traded_at
    raise BadRecord(f"{path} holds no trades")


def _write(rows: pa.Table, out: Path) -> None:
    part = out.with_name(f".{out.name}.part")
    if out.suffix == ".parquet":
        pyarrow.parquet.write_table(rows, part)
    else:
        pyarrow.csv.write_csv(rows, part)
    part.replace(out)
