"""Every symbol at a glance: signal, risk and novelty; what the positions may lose; the flagged trades of all symbols."""

from __future__ import annotations

import time

import streamlit as st

from dashboard import charts, formats, overview_tables, panels
from dashboard.book.book_card import book_aside, book_body
from dashboard.sources import Sources

SHOWN = 100


def main(sources: Sources) -> None:
    """Draw the page; it renews itself every two seconds."""
    st.fragment(update, run_every=2.0)(sources)


def update(sources: Sources) -> None:
    """Draw everything that moves."""
    interval = sources.settings.intervals[0]
    lines = [line(sources, symbol, interval) for symbol in sources.symbols()]
    at = formats.stamp(sources.tail.latest_at())
    body = panels.card("Symbols", overview_tables.symbols(lines), f"market time {at} UTC", "symbols")
    st.html(panels.troubles(sources.troubles()) + body)
    newest = sources.tail.latest_at() or (time.time_ns() // 1000 if sources.settings.exchange == "binance" else 0)
    st.html(panels.card("Value at risk", book_body(sources.book, newest), book_aside(sources.book, newest), "book"))
    feed = panels.anomaly_feed(sources.tail.anomalies()[:SHOWN], with_symbol=True)
    st.html(panels.card("Flagged trades", feed, "all symbols, newest first", "anomalies"))


def line(sources: Sources, symbol: str, interval: str) -> overview_tables.SymbolLine:
    """Gather one symbol's row."""
    history = sources.history.candles(symbol, interval, sources.tail.latest_at(symbol))
    rows = charts.bars(history, *sources.tail.candles(symbol, interval))
    decimals = formats.decimals_of(rows["close"].tail(50).tolist()) if len(rows) else 2
    score = sources.tail.score(symbol, interval)
    return overview_tables.SymbolLine(symbol, charts.day(rows), decimals, score, len(sources.tail.anomalies(symbol)))


main(st.session_state["sources"])
