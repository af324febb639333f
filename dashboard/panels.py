"""The cards beside and below the chart as HTML: pure functions of values; whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dashboard import formats
from quantstream.core.decimals import UNIT
from quantstream.messages.models import HORIZONS, registered_name
from quantstream.messages.payloads import GRAVE, Anomaly, Event, Forecast, Score, Signal

TONES = {"Buy": "up", "Hold": "flat", "Sell": "down"}
RISK_TONES = {"calm": "up", "elevated": "warn", "high": "down"}
NOVEL = 0.5  # above it a candle is unlike those the model has learned from
SHOWN_REASONS = 4


@dataclass(frozen=True)
class Tile:
    """One number of a strip. `tone` colours it: up, down, warn, flat or nothing."""

    label: str
    value: str
    tone: str = ""
    hint: str = ""
    detail: str = ""


def strip(tiles: Sequence[Tile], name: str) -> str:
    """Return numbers side by side."""
    cells = "".join(
        f'<div class="qs-tile" title="{escape(tile.hint)}" data-testid="tile-{_slug(tile.label)}">'
        f'<span class="qs-label">{escape(tile.label)}</span>'
        f'<span class="qs-value {tile.tone}">{escape(tile.value)}</span>'
        + (f'<span class="qs-detail {tile.tone}">{escape(tile.detail)}</span>' if tile.detail else "")
        + "</div>"
        for tile in tiles
    )
    return f'<div class="qs-strip qs-{name}">{cells}</div>'


def troubles(sentences: Sequence[str]) -> str:
    """Return what is wrong, a line each, always in one element: one more would move the chart and draw it anew."""
    lines = "".join(f'<div class="qs-trouble" role="status" data-testid="trouble">{escape(s)}</div>' for s in sentences)
    return f'<div class="qs-troubles">{lines}</div>'


def card(title: str, body: str, aside: str = "", name: str = "") -> str:
    """Return a titled card around HTML."""
    return (
        f'<section class="qs-card" data-testid="card-{name or _slug(title)}"><header><h4>{escape(title)}</h4>'
        f"<span>{escape(aside)}</span></header>{body}</section>"
    )


def signal_card(score: Score | None) -> str:
    """Return Buy, Hold or Sell with its probabilities, which way the hour and its tails lean, and the reasons."""
    if score is None:
        return card("Signal", _nothing("no score yet: scores come with the next closed candle"), name="signal")
    aside = f"candle {formats.clock(score.opened_at)[:5]} UTC"
    if score.signal is None:
        return card("Signal", _nothing(score.abstained or "the signal model abstains"), aside, "signal")
    body = _signal(score.signal) + _direction(score, score.signal) + _stale(score, "signal") + _reasons(score.reasons)
    return card("Signal", body, aside, "signal")


def _stale(score: Score, kind: str) -> str:
    """Return what is to be known of advice whose model is past its age limit, empty where it is not."""
    if registered_name(kind) not in score.stale:
        return ""
    text = f"stale: the {kind} model is past its age limit, and no newer one has earned its place"
    return f'<div class="qs-trouble" data-testid="stale-{kind}">{text}</div>'


def _signal(signal: Signal) -> str:
    parts = (("Sell", signal.sell), ("Hold", signal.hold), ("Buy", signal.buy))
    bar = "".join(f'<i class="bg-{TONES[name]}" style="width:{share * 100:.2f}%"></i>' for name, share in parts)
    legend = "".join(
        f'<span class="{TONES[name]}">{name} <b>{formats.percent(share, 1, signed=False)}</b></span>'
        for name, share in parts
    )
    tone = TONES[signal.action]
    return (
        f'<div class="qs-action {tone}" data-testid="action">{signal.action.upper()}</div>'
        f'<div class="qs-bar">{bar}</div><div class="qs-split">{legend}</div>'
    )


def _direction(score: Score, signal: Signal) -> str:
    """Return what usually happens, what the tails lean to and what buying is worth, a line each; of scores of before nothing."""
    if signal.tail_lean is None:
        return ""
    lines = [("usually", "Usually", *_usually(score, signal)), ("tails", "Tails", *_tails(signal.tail_lean))]
    if signal.expected_return is not None and signal.round_trip_cost is not None:
        cost = formats.basis_points(signal.round_trip_cost).removeprefix("+")
        hint = "log return of buying now, over all outcomes, before costs; entering and leaving costs what is set"
        lines.append(
            ("worth", "Buying", f"expected {formats.basis_points(signal.expected_return)} before costs of {cost}", hint)
        )
    rows = "".join(
        f'<div title="{escape(hint)}" data-testid="direction-{key}">'
        f'<span class="qs-label">{label}</span><span>{said}</span></div>'
        for key, label, said, hint in lines
    )
    return f'<div class="qs-direction">{rows}</div>'


def _usually(score: Score, signal: Signal) -> tuple[str, str]:
    """What mostly happens in the hour: the signal's own chance, else the forecast's median, as HTML; and what that means."""
    if signal.usually_up is not None:
        up = round(100 * signal.usually_up)
        hint = (
            "how often who buys now ends higher (up) or lower (down): at the barrier touched first, or after the hour"
        )
        return f"{_way(up - 50)}, {max(up, 100 - up)} of 100 hours", hint
    hour = next((one for one in score.forecasts if one.horizon == HORIZONS[-1]), None)
    if hour is None:
        return "not known: this version of the signal does not say, and there is no forecast", "train the signal anew"
    median = hour.log_returns[len(hour.log_returns) // 2]
    told = f"{_way(median)}, median {formats.basis_points(median)} (forecast)"
    return told, "the forecast's median of the next hour: this version of the signal does not say"


def _tails(lean: float) -> tuple[str, str]:
    points = round(100 * lean, 1)
    hint = (
        "probability of a rise to the barrier less that of a fall to it, in percentage points; most hours reach neither"
    )
    if not points:
        return f"{_way(points)}, far moves as likely either way", hint
    return f"{_way(points)}, far {'rises' if points > 0 else 'falls'} likelier by {abs(points):.1f} points", hint


def _way(value: float) -> str:
    word, tone = ("up", "up") if value > 0 else ("down", "down") if value < 0 else ("even", "flat")
    return f'<b class="{tone}">{word}</b>'


def _reasons(reasons: Sequence[str]) -> str:
    return (
        f'<ul class="qs-reasons">{"".join(f"<li>{escape(reason)}</li>" for reason in reasons[:SHOWN_REASONS])}</ul>'
        if reasons
        else ""
    )


def forecast_card(score: Score | None, decimals: int) -> str:
    """Return the price targets of each horizon: the middle one and the range it should keep with."""
    if score is None or not score.forecasts:
        reason = "no forecast yet" if score is None else score.abstained or "the forecast model abstains"
        return card("Forecast", _nothing(reason), name="forecast")
    levels = score.forecasts[0].levels
    rows = "".join(_target(forecast, score.close, decimals) for forecast in score.forecasts)
    low, high = (formats.percent(level, 0, signed=False) for level in (levels[0], levels[-1]))
    head = f"<tr><th></th><th>median</th><th>change</th><th>{low}</th><th>{high}</th></tr>"
    aside = f"from {formats.price(score.close, decimals)}"
    body = f'<table class="qs-table">{head}{rows}</table>{_stale(score, "forecast")}'
    return card("Forecast", body, aside, "forecast")


def _target(forecast: Forecast, close: float, decimals: int) -> str:
    middle = forecast.targets[len(forecast.targets) // 2]
    change = middle / close - 1.0
    tone = "flat" if abs(change) < 0.5e-4 else "up" if change > 0 else "down"  # as printed: zero has no direction
    cells = (formats.price(value, decimals) for value in (middle, forecast.targets[0], forecast.targets[-1]))
    median, low, high = cells
    return (
        f'<tr data-testid="target-{escape(forecast.horizon)}"><th>{escape(forecast.horizon)}</th><td><b>{median}</b></td>'
        f'<td class="{tone}">{formats.percent(change)}</td><td>{low}</td><td>{high}</td></tr>'
    )


def risk_card(score: Score | None) -> str:
    """Return the risk score as a gauge with its word, and the candle's novelty."""
    if score is None or score.risk is None:
        reason = "no risk score yet" if score is None else score.abstained or "the risk model abstains"
        return card("Risk, next hour", _nothing(reason) + _novelty(score), name="risk")
    word = formats.risk_word(score.risk)
    body = (
        f'<div class="qs-gauge">{_gauge(score.risk)}<div class="qs-gauge-text"><b data-testid="risk">{score.risk:.0f}</b>'
        f'<span class="{RISK_TONES[word]}">{word}</span></div></div>{_novelty(score)}{_stale(score, "risk")}'
    )
    hint = "probability of an abnormal move, ×100"
    return card("Risk, next hour", body, hint, "risk")


def _gauge(score: float) -> str:
    """Return a half circle with its three zones (drawn by the style sheet) and a needle."""
    turned = min(max(score, 0.0), 100.0) * 1.8 - 90
    needle = f'<i style="transform:rotate({turned:.1f}deg)"></i>'
    return f'<div class="qs-dial" role="img" aria-label="risk {score:.0f} of 100">{needle}</div>'


def _novelty(score: Score | None) -> str:
    if score is None or score.novelty is None:
        return ""
    is_novel = score.novelty > NOVEL
    word, tone = ("novel: unlike what the models know", "warn") if is_novel else ("familiar", "up")
    return (
        f'<div class="qs-novelty" data-testid="novelty"><span class="qs-label">Novelty</span><div class="qs-bar thin">'
        f'<i class="bg-{tone}" style="width:{min(max(score.novelty, 0), 1) * 100:.1f}%"></i></div>'
        f'<span>{score.novelty:.2f} <em class="{tone}">{word}</em></span></div>'
    )


def anomaly_feed(anomalies: Sequence[Anomaly], with_symbol: bool = False) -> str:
    """Return flagged trades, newest first, each with why."""
    if not anomalies:
        return _nothing("no flagged trades")
    return "".join(_anomaly(anomaly, with_symbol) for anomaly in anomalies)


def _anomaly(anomaly: Anomaly, with_symbol: bool) -> str:
    side, tone = ("sell", "down") if anomaly.buyer_is_maker else ("buy", "up")
    symbol = f"<b>{escape(anomaly.symbol)}</b> " if with_symbol else ""
    price = anomaly.price / UNIT
    stale = ' <span class="warn" title="its model is past its age limit">stale</span>' if anomaly.stale else ""
    return (
        f'<div class="qs-item" data-testid="anomaly"><time>{formats.stamp(anomaly.traded_at)}</time>'
        f'<div>{symbol}<span class="{tone}">{side}</span> {formats.quantity(anomaly.quantity / UNIT)} @ '
        f"<b>{formats.price(price, formats.decimals_of([price]))}</b> "
        f'<span class="qs-badge warn">{anomaly.score:.2f}</span>{stale}'
        f"<p>{escape('; '.join(anomaly.reasons) or 'unlike the trades before it')}</p></div></div>"
    )


def event_feed(events: Sequence[Event]) -> str:
    """Return operational events, newest first."""
    if not events:
        return _nothing("nothing to report")
    return "".join(
        f'<div class="qs-item" data-testid="event"><time>{formats.stamp(event.at)}</time><div>'
        f'<span class="qs-badge {"warn" if event.kind in GRAVE else "flat"}">{escape(event.kind.replace("_", " "))}</span> '
        f"<b>{escape(event.symbol or event.source)}</b><p>{escape(event.text)}</p></div></div>"
        for event in events
    )


def _nothing(text: str) -> str:
    return f'<p class="qs-nothing">{escape(text)}</p>'


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())
