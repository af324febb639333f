"""One symbol as it trades: its chart, the models' predictions, and how fresh they are."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, component, formats, panels
from dashboard.panels import Tile
from dashboard.sources import Champions, Sources
from quantstream.core.candle import Candle
from quantstream.core.time import INTERVALS, SECOND
from quantstream.messages.payloads import Score

OVERLAYS = ("VWAP", "VWAP 24h", "Bollinger", "Forecast", "Anomalies")
SHOWN_ANOMALIES = 30
SHOWN_EVENTS = 30
LATE = 2.0  # seconds of delay that deserve attention


def main(sources: Sources) -> None:
    """Draw the page; everything that changes is in `update`, once a second."""
    asked = str(st.query_params.get("symbol", ""))
    symbols = sources.symbols()
    if asked and asked not in symbols:
        st.toast(f"{asked} is not followed here; showing {symbols[0]}.")
    component.load_library()
    left, middle, right = st.columns([1.2, 4, 4], vertical_alignment="bottom")
    symbol = left.selectbox("Symbol", symbols, key="symbol", bind="query-params")
    intervals = list(sources.settings.intervals)
    interval = intervals[0]
    if len(intervals) > 1:
        interval = middle.segmented_control("Interval", intervals, default=interval, required=True, key="interval")
    place = right if len(intervals) > 1 else middle
    overlays = place.pills("Shown", OVERLAYS, selection_mode="multi", default=_default_overlays(), key="overlays")
    begin_chart(symbol, interval)
    st.fragment(update, run_every=1.0)(sources, symbol, interval, list(overlays))


def begin_chart(symbol: str, interval: str) -> None:
    """Begin a new life of the chart's data: the next message holds every row."""
    life = st.session_state["life"] = st.session_state.get("life", 0) + 1
    st.session_state["ledger"] = charts.Ledger(f"{symbol}/{interval}#{life}")


def _default_overlays() -> list[str]:
    return [name for name in OVERLAYS if name != "VWAP 24h"]


def update(sources: Sources, symbol: str, interval: str, overlays: list[str]) -> None:
    """Draw everything that moves."""
    closed, building = sources.tail.candles(symbol, interval)
    score = sources.tail.score(symbol, interval)
    anomalies = sources.tail.anomalies(symbol)
    history = sources.history.candles(symbol, interval, sources.tail.latest_at(symbol))
    rows = charts.bars(history, closed, building)
    decimals = formats.decimals_of(rows["close"].tail(50).tolist()) if len(rows) else 2
    st.html(panels.troubles(sources.troubles()) + quote_strip(charts.day(rows), symbol, decimals))
    st.html(pipeline_strip(sources, symbol, closed))
    hero, side = st.columns([3.4, 1.15], gap="small")
    with hero:
        drawn = charts.chart_rows(rows, interval, decimals)
        since = int(drawn[0][0] or 0) if drawn else 0
        message = st.session_state["ledger"].step(drawn) | {
            "symbol": symbol,
            "interval": interval,
            "step": INTERVALS[interval] // SECOND,
            "decimals": decimals,
            "overlays": overlays,
            "fan": charts.fan(score) if score else [],
            "markers": charts.markers(anomalies, interval, since),
        }
        if component.draw(message, key="chart"):
            begin_chart(symbol, interval)
    with side:
        st.html(panels.signal_card(score) + panels.forecast_card(score, decimals) + panels.risk_card(score))
    st.html(model_strip(sources.champions, score))
    wide, narrow = st.columns([1.6, 1], gap="small")
    feed = panels.anomaly_feed(anomalies[:SHOWN_ANOMALIES])
    wide.html(panels.card("Flagged trades", f'<div class="qs-feed" tabindex="0">{feed}</div>', symbol, "anomalies"))
    events = [event for event in sources.tail.events() if event.symbol in ("", symbol)]
    feed = panels.event_feed(events[:SHOWN_EVENTS])
    narrow.html(panels.card("Operations", f'<div class="qs-feed" tabindex="0">{feed}</div>', "wall clock", "events"))


def quote_strip(day: charts.Day | None, symbol: str, decimals: int) -> str:
    """Return price and 24-hour figures."""
    if day is None:
        return panels.strip([Tile(symbol, formats.MISSING, detail="waiting for the first candle")], "quote")
    tone = "up" if day.direction > 0 else "down"
    change = "up" if day.change >= 0 else "down"
    return panels.strip(
        [
            Tile(symbol, formats.price(day.last, decimals), tone),
            Tile("24h change", formats.percent(day.change), change),
            Tile("24h high", formats.price(day.high, decimals)),
            Tile("24h low", formats.price(day.low, decimals)),
            Tile("24h volume", formats.compact(day.volume), hint="in the base asset"),
            Tile("24h turnover", formats.compact(day.quote_volume), hint="in the quote asset"),
        ],
        "quote",
    )


def pipeline_strip(sources: Sources, symbol: str, closed: list[Candle]) -> str:
    """Return how fresh and whole the data is. Ages are by the exchange's clock, which need not be this machine's."""
    stages, market_at = sources.stages, sources.tail.latest_at(symbol)
    trades, delay, lag = stages.trades_per_second(), stages.get("aggregate").mean_delay(), stages.lag()
    gaps = stages.get("ingest").value("open_gaps")
    age = (market_at - closed[-1].closed_at) / SECOND if closed else None
    dead = sources.tail.dead_total
    return panels.strip(
        [
            Tile(
                "Market time (UTC)", formats.stamp(market_at), hint="the exchange's clock; it may run faster than yours"
            ),
            Tile("Trades/s", formats.rate(trades), hint="new trades into the log, last 10 s"),
            Tile("Feed delay", formats.span(delay), "warn" if delay and delay > LATE else "", "received to aggregated"),
            Tile("Consumer lag", formats.compact(lag), "warn" if lag and lag > 5000 else "", "records, all stages"),
            Tile("Last candle age", formats.span(age), hint="since it closed, exchange time"),
            Tile("Open gaps", formats.compact(gaps), "warn" if gaps else "", "missing trade ids not yet repaired"),
            Tile("Dead letters", formats.compact(dead), "warn" if dead else "", "records nobody could parse"),
        ],
        "pipeline",
    )


def model_strip(champions: Champions, score: Score | None) -> str:
    """Return which versions serve, under which alias and since when; the score's own versions when the registry is silent."""
    tiles = [
        Tile(
            _short(model.name),
            f"v{model.version} · {model.alias}",
            detail=f"since {formats.stamp(model.since)[:16]}",
        )
        for model in champions.all()
        if model.alias == "champion"
    ]
    if not tiles and score and score.models:
        named = sorted(score.models.items())
        tiles = [Tile(_short(name), f"v{version}", detail="made this score") for name, version in named]
    if champions.trouble:
        tiles.append(Tile("Registry", champions.word, "warn" if champions.has_turned else "", champions.trouble))
    return panels.strip(tiles or [Tile("Models", "none in service yet", "flat")], "models")


def _short(name: str) -> str:
    return name.removeprefix("quantstream-").capitalize()


main(st.session_state["sources"])
