"""The proof: the lake's candles against the same recomputed from its trades and against the exchange's klines, window by window.

It goes through one symbol and one day at a time, so that memory does not grow with the lake. It only reads, and says of what
it could not read that it was not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from quantstream import engine
from quantstream.core.errors import Misconfigured
from quantstream.core.time import INTERVALS, micros
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.deleted_trades import DeletedTrades, deleted_trades
from streaming.reconcile.exchange_klines import Exchange
from streaming.reconcile.proof_report import Proof
from streaming.reconcile.symbol_run import SymbolRun

TABLES = (
    "candles",
    "trades",
    "scores",
    "anomalies",
)  # trades after candles: the newest may be without theirs, see `pending`


def verify(
    lake: Lake,
    exchange: Exchange,
    symbols: Sequence[str],
    intervals: Sequence[str] = ("5m",),
    start: int | None = None,
    end: int | None = None,
    dask: str = "",
) -> Proof:
    """Prove the candles of some symbols that open in `[start, end)` (µs), where `dask` says (`quantstream.engine.spread`).

    Without bounds: from the first candle built from trades to the last closed one. Raises: Misconfigured when there is no lake.
    """
    if "://" not in lake.url and not (Path(lake.url) / "candles" / "_delta_log").is_dir():
        raise Misconfigured(f"there is no lake with candles at {lake.url}; name the state folder with --state")
    now, lake = exchange.now(), snapshot(lake, TABLES)  # the market goes on: thousands of symbols take minutes
    horizon = min((at for at in (end, now) if at), default=None) or newest_close(lake)
    proof, asked = Proof([]), (tuple(intervals), deleted_trades(lake), start, end)
    found = dict(engine.each(partial(_proved, lake, exchange, *asked), symbols, dask))
    runs = [found[symbol] for symbol in symbols]
    for one in runs:
        proof.symbols += [span.proof for span in one.spans.values()]
        proof.not_compared += one.not_compared
        proof.deleted += one.deleted
    if horizon:
        first = min((one.first for one in runs if one.first), default=horizon)
        proof.days = [day for one in runs for day in one.all_days(first, start, horizon)]
    for trouble in sorted({one.trouble for one in runs if one.trouble} | {exchange.trouble} - {""}):
        proof.not_compared.insert(0, trouble)
    return proof


def _proved(
    lake: Lake,
    exchange: Exchange,
    intervals: Sequence[str],
    gone: Mapping[str, DeletedTrades],
    start: int | None,
    end: int | None,
    symbol: str,
) -> SymbolRun:
    run = SymbolRun(lake, exchange, symbol, intervals, gone.get(symbol))
    run.run(start, end)
    run.trouble = exchange.trouble
    return run


def newest_close(lake: Lake) -> int | None:
    """Return the end of the newest window in the lake, µs, from the table's log alone; None when it is empty."""
    newest = [at for _, at in lake.extent("candles").values()]
    return micros(max(newest)) + min(INTERVALS.values()) if newest else None
