"""Tables over all symbols, stages and models as HTML: pure functions of values; whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from dashboard import formats
from dashboard.charts import Day
from dashboard.panels import NOVEL, RISK_TONES, TONES
from dashboard.stage_status import Stage
from ml.metric_words import words
from quantstream.messages.models import registered_name
from quantstream.messages.payloads import DeadRecord, Score

DOTS = {"ready": "up", "not ready": "warn", "down": "down", "unasked": "flat"}
WORDS = {"unasked": "not known"}


@dataclass(frozen=True)
class SymbolLine:
    """What the overview says of one symbol."""

    symbol: str
    day: Day | None
    decimals: int
    score: Score | None
    anomalies: int


def table(head: Iterable[str], rows: Iterable[Sequence[str]], name: str) -> str:
    """Return a table of HTML cells; each row's first cell names it."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f'<tr data-testid="row">{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in rows)
    return f'<table class="qs-table qs-wide" data-testid="table-{name}"><tr>{top}</tr>{body}</table>'


def symbols(lines: Iterable[SymbolLine]) -> str:
    """Return one row for each symbol: price, signal, risk, novelty."""
    head = (
        "Symbol",
        "Last",
        "24h",
        "24h turnover",
        "Signal",
        "Buy",
        "Hold",
        "Sell",
        "Risk",
        "Novelty",
        "Flagged",
        "Candle",
    )
    return table(head, map(_symbol, lines), "symbols")


def _symbol(line: SymbolLine) -> list[str]:
    day, score = line.day, line.score
    tone = "" if day is None else "up" if day.change >= 0 else "down"
    return [
        f'<a href="?symbol={quote(line.symbol)}" target="_self"><b>{escape(line.symbol)}</b></a>',
        formats.price(day.last if day else None, line.decimals),
        f'<span class="{tone}">{formats.percent(day.change if day else None)}</span>',
        formats.compact(day.quote_volume if day else None),
        *_signal(score),
        _risk(score),
        _novelty(score),
        f'<span class="{"warn" if line.anomalies else "flat"}">{line.anomalies}</span>',
        formats.stamp(score.opened_at)[:16] if score else formats.MISSING,
    ]


def _signal(score: Score | None) -> list[str]:
    if score is None or score.signal is None:
        why = escape(score.abstained or "abstains") if score else "no score yet"
        return [f'<span class="flat">{why}</span>', *[formats.MISSING] * 3]
    signal = score.signal
    shares = [formats.percent(share, 0, signed=False) for share in (signal.buy, signal.hold, signal.sell)]
    stale = ' <span class="warn">stale</span>' if registered_name("signal") in score.stale else ""
    return [f'<b class="{TONES[signal.action]}">{signal.action}</b>{stale}', *shares]


def _risk(score: Score | None) -> str:
    if score is None or score.risk is None:
        return formats.MISSING
    word = formats.risk_word(score.risk)
    return f'<b class="{RISK_TONES[word]}">{score.risk:.0f}</b> {word}'


def _novelty(score: Score | None) -> str:
    if score is None or score.novelty is None:
        return formats.MISSING
    return f'<span class="{"warn" if score.novelty > NOVEL else ""}">{score.novelty:.2f}</span>'


def stages(found: Iterable[Stage]) -> str:
    """Return one row for each process: whether it is ready, what it handles, and how far behind it is."""
    head = ("Process", "State", "Records/s", "Delay", "Behind", "Dead letters", "It says")
    return table(head, map(_stage, found), "stages")


def _stage(stage: Stage) -> list[str]:
    return [
        f"<b>{escape(stage.name)}</b>",
        f'<span class="qs-dot bg-{DOTS[stage.state]}"></span>{WORDS.get(stage.state, stage.state)}',
        formats.rate(stage.rate("records_total")),
        formats.span(stage.mean_delay()),
        formats.compact(stage.value("lag_records")),
        formats.compact(stage.value("dead_letters_total")),
        escape(stage.reason) or formats.MISSING,
    ]


def dead(records: Iterable[DeadRecord]) -> str:
    """Return the records nobody could parse, newest first."""
    rows = [
        [formats.stamp(r.at), escape(r.source), escape(r.reason), f"<code>{escape(r.raw[:160])}</code>"]
        for r in records
    ]
    return table(("At (wall clock)", "From", "Why", "What"), rows, "dead")


def metrics(values: Mapping[str, float]) -> str:
    """Return a model's evaluation in words with units, figures of one kind together, as many side by side as fit."""
    cells = "".join(_metric(name, values[name]) for name in sorted(values))
    return f'<dl class="qs-metrics">{cells}</dl>'


def _metric(name: str, value: float) -> str:
    """Return one figure; which way it gets better, and its name in MLflow, are shown where one points at it."""
    metric = words(name)
    hint = "; ".join(part for part in (metric.better.value, f"{name} in MLflow") if part)
    return f'<div title="{escape(hint)}"><dt>{escape(metric.words)}</dt><dd>{escape(metric.value(value))}</dd></div>'
