"""Candles straight from trades, one builder a symbol: what a path through files, topics or a stage is compared with."""

from __future__ import annotations

from collections.abc import Iterable

from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.trade import Trade
from streaming.offline.ordered_trades import add_columns
from streaming.recordings.found import Block


def build_candles(trades: Iterable[Trade | Block]) -> tuple[list[Candle], dict[str, CandleBuilder]]:
    """Return every five-minute candle of trades in order of arrival, by symbol and time, and the builders that made them."""
    builders: dict[str, CandleBuilder] = {}
    newest: dict[tuple[str, int], Candle] = {}
    for item in trades:
        builder = builders.setdefault(item.symbol, CandleBuilder(item.symbol))
        for candle in add_columns(builder, item.columns) if isinstance(item, Block) else builder.add(item):
            newest[candle.symbol, candle.opened_at] = candle
    for builder in builders.values():
        for candle in builder.open_candles():
            newest[candle.symbol, candle.opened_at] = candle
    return [newest[key] for key in sorted(newest)], builders
