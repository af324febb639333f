"""From the lake to a judged, registered version: what the training pipeline runs for each kind of model.

Every version is registered with its evidence, promoted or not; only the alias `champion` decides what serves.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pandas as pd

from ml.calendar.stored import take_up
from ml.data import dataset, trade_features
from ml.data.dataset import Dataset, Split
from ml.data.feature_table.build import Built, build
from ml.data.feature_table.columns import TABLE
from ml.data.feature_table.reading import Lineage, load
from ml.data.instrument_look import first_look
from ml.data.universe import flattery, survivorship
from ml.evaluation import evaluate, evaluation_report
from ml.models import anomaly, base, forecast, risk, signal
from ml.promotion.announcements import moves_of
from ml.promotion.gate import Outcome
from ml.promotion.moves import Moves
from ml.promotion.turns import TRAINING, Turn, turn
from ml.serving.registry import CHAMPION, TAG_LENGTH, Registry
from ml.training import own_words
from ml.training.code_version import code_version
from ml.training.evidence import evaluation_of
from ml.training.examination import Examined, Subject, examine
from ml.training.held_out import record_training
from ml.training.rivals import candles_of, keep_reference, rivals_of
from ml.validation.pipeline import before_training
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.trade import Trade
from quantstream.lake.instruments import history
from quantstream.lake.store import Lake
from quantstream.lake.trades import StoredTrades
from quantstream.messages.models import MODEL_KINDS, registered_name
from quantstream.setting_groups import ROUND_TRIP
from quantstream.settings import Settings

log = logging.getLogger(__name__)
FEWEST_TRADES = 2_000  # below this a forest has not seen an ordinary hour
MOST_TRADES = 200_000  # an even share of each symbol and day, each a block of its own
TRADES_SEED = 11
TRADES_BACK = timedelta(days=7)
MOST_JUDGED = 500_000  # rows: more symbols say nothing more of a model, for what bounds say goes by days
WHY_LENGTH = 2_000  # characters of a decision's reasons; the evidence has them all
SCRATCH = "scratch"  # folder in the state's: what does not fit memory lies there while it is learnt from
JUDGED_SHARE = 0.2  # of the trades: the newest, kept from the fit


@dataclass(frozen=True)
class Options:
    """How much each model learns."""

    forecast: forecast.ForecastOptions = field(default_factory=forecast.ForecastOptions)
    signal: signal.SignalOptions = field(default_factory=signal.SignalOptions)
    risk: risk.RiskOptions = field(default_factory=risk.RiskOptions)
    trailing: int = features.MONTH  # candles of the abnormal move's threshold; fewer only where history is shorter


@dataclass(frozen=True)
class TrainResult:
    """The result of a training."""

    name: str
    version: str
    promoted: bool
    reasons: list[str]
    metrics: dict[str, float]
    outcome: str  # promoted, challenger, refused


@dataclass(frozen=True)
class Task:
    """What one kind learns from: rows that are usable for it, split by time."""

    kind: str
    data: Dataset
    split: Split
    trades: Sequence[Trade] = ()  # in order of time; only the anomaly model's


def train(
    kind: str,
    settings: Settings,
    options: Options = Options(),
    features_version: int | None = None,
    by: str = "a training by hand",
) -> TrainResult:
    """Train, judge and register one model on the lake's features, days in quarantine left out; promote it if it earned it.

    Without `features_version` the table is first brought up to the newest candles of the symbols that may be used; with one,
    what is read is that version, and nothing else is looked at but, for the anomaly model, trades. `by` says who trains, for the
    table `decisions`. Raises: Misconfigured for an
    unknown kind or version, DataRejected for too little data, UnderWay while another training of the kind is, Unavailable when
    the registry or the lake does not answer.
    """
    check_kind(kind)
    lake, registry = Lake(settings.lake_url), Registry(settings.mlflow_url)
    take_up(lake)
    if features_version is None:
        before_training(settings)
        features_version = build_features(settings, options.trailing).version
    data, lineage = load(lake, settings.state.absolute() / SCRATCH, features_version, options.trailing)
    trades = read_trades(lake, data.symbols, data) if kind == "anomaly" else ()
    task = prepare(kind, data, trades)
    moves = moves_of(settings, by, registry)
    with turn(registry, registered_name(kind), by) as held:
        for left in moves.refuse_interrupted(
            registered_name(kind)
        ):  # no other training is under way: they are nobody's
            log.warning("%s", left)
        return _trained(task, lineage, lake, moves, settings, options, held)


def _trained(
    task: Task, lineage: Lineage, lake: Lake, moves: Moves, settings: Settings, options: Options, held: Turn
) -> TrainResult:
    """Fit, register, examine and conclude, while nobody else trains the kind."""
    registry, data, kind = moves.registry, task.data, task.kind
    listings = history(lake)
    universe = survivorship(data.symbols, int(data.opened_at.min()), int(data.opened_at.max()), listings)
    universe += flattery(data, listings)
    began = time.monotonic()
    model = fit(task, options)
    seconds = time.monotonic() - began
    params = {**_params(kind, options), "rows": len(task.split.fit), "symbols": len(data.symbols)}
    tags = {
        **lineage.tags(),
        **own_words.told(task.data, task.split, len(parts_of_trades(task.trades)[0])),
        "code": code_version(),
        "held_days": _held_days(lake),
        TRAINING: held.id,
    }
    name = registered_name(kind)
    number = registry.register(model, {"fit_seconds": seconds}, {"lineage": lineage.fields()}, params, tags)
    subject = Subject(
        kind=kind,
        fitted=model,
        load=lambda: registry.load(name, number),
        data=data,
        rows=task.split.judge,
        judge=lambda one: judge(task, one, settings.costs.round_trip),
        candles=partial(candles_of, lake, lineage, options.trailing),
    )
    examined = _examined(subject, registry, name, settings)
    held.check()
    by = moves.by
    counted = record_training(lake, name, number, examined, task.data, task.split.judge, params, lineage.version, by)
    notes = [*own_words.judged(task.data, task.split), *counted.notes, universe]
    return _concluded(moves, name, number, examined, notes, seconds, counted.fields)


def _examined(subject: Subject, registry: Registry, name: str, settings: Settings) -> Examined:
    """Hold a version against the champion, and once more where another one has come to serve meanwhile."""
    while True:
        champion = registry.alias_version(name, CHAMPION)
        examined = examine(subject, rivals_of(registry, name), settings.gate, settings.shadow_candles > 0)
        if registry.alias_version(name, CHAMPION) == champion:
            return examined
        log.info("another champion serves by now: the version is held against that one", extra={"model": name})


def _concluded(
    moves: Moves,
    name: str,
    number: str,
    examined: Examined,
    notes: Sequence[str],
    seconds: float,
    looks: Mapping[str, Any],
) -> TrainResult:
    """Write the evidence to the version, and do what was decided, on the record."""
    verdict, registry = examined.verdict, moves.registry
    metrics = {**(examined.report.metrics if examined.report is not None else {}), "fit_seconds": seconds}
    reasons = [*verdict.reasons, *examined.notes, *notes]
    evidence = {**evaluation_of(name, number, examined, notes), **looks}
    registry.record(name, number, metrics, evidence, evaluation_report.page(evidence))
    registry.explain(name, number, reasons, verdict.outcome is Outcome.PROMOTED)
    registry.tag(name, number, "notes", own_words.sentences(evidence["notes"])[:TAG_LENGTH])
    acts = {Outcome.PROMOTED: moves.promote, Outcome.CHALLENGER: moves.challenge, Outcome.REFUSED: moves.refuse}
    acts[verdict.outcome](
        name, number, " ".join(verdict.reasons)[:WHY_LENGTH], {"checks": evidence["checks"], "notes": evidence["notes"]}
    )
    keep_reference(moves, name, number, examined)  # last: who dies before leaves no reference that was never decided on
    log.info("model judged", extra={"model": name, "version": number, "outcome": verdict.outcome.value, "why": reasons})
    return TrainResult(name, number, verdict.outcome is Outcome.PROMOTED, reasons, metrics, verdict.outcome.value)


def build_features(settings: Settings, trailing: int = features.MONTH) -> Built:
    """Bring the lake's table `features` up to the candles of the symbols that may be used, where QUANTSTREAM_DASK says.

    Who is listed is looked up first if nobody ever did. Raises: DataRejected when there are no candles, Unavailable.
    """
    lake = Lake(settings.lake_url)
    if lake.has("candles") and (sentence := first_look(settings, time.time_ns() // 1000)):
        log.info("%s", sentence)
    return build(lake, settings.symbols, trailing, settings.dask)


def check_kind(kind: str) -> None:
    """Refuse a kind that is not one of ours.

    Raises: Misconfigured.
    """
    if kind not in MODEL_KINDS:
        raise Misconfigured(f"there is no model {kind!r}; choose one of {', '.join(MODEL_KINDS)}")


def prepare(kind: str, data: Dataset, trades: Sequence[Trade] = ()) -> Task:
    """Return the rows one kind can learn from, split by time.

    Raises: DataRejected when they are too few.
    """
    rows, label = usable_rows(kind, data)
    parts = dataset.split(data, rows, label)
    judged = dataset.some_symbols(data, parts.judge, MOST_JUDGED)
    return Task(kind, data, replace(parts, judge=judged), trades)


def usable_rows(kind: str, data: Dataset) -> tuple[dataset.Rows, str]:
    """Return the rows whose features and labels one kind can use, and its label that reaches furthest ahead."""
    names, needed, length, label = {
        "forecast": (forecast.NAMES, (*forecast.LABELS, forecast.SIZE), forecast.LENGTH, forecast.LABELS[-1]),
        "signal": (signal.NAMES, (signal.LABEL,), 1, signal.LABEL),
        "risk": (risk.NAMES, (risk.LABEL, risk.SIZE), 1, risk.LABEL),
        "anomaly": (anomaly.NAMES, (), 1, forecast.LABELS[0]),
    }[kind]
    return data.usable(names, needed, length), label


def fit(task: Task, options: Options = Options()) -> base.Model:
    """Fit one kind on the early part of its data.

    Raises: DataRejected.
    """
    if task.kind == "forecast":
        return forecast.fit(task.data, task.split, options.forecast)
    if task.kind == "signal":
        return signal.fit(task.data, task.split, options.signal)
    if task.kind == "risk":
        return risk.fit(task.data, task.split, options.risk)
    early, _ = parts_of_trades(task.trades)
    rows = dataset.thin(task.split.fit, anomaly.MOST_ROWS, anomaly.SEED)
    return anomaly.fit(trade_features.rows(early), task.data.matrix(rows, anomaly.NAMES))


def judge(task: Task, model: base.Model, cost: float = ROUND_TRIP) -> evaluate.Report:
    """Judge a model on the late part of its data; `cost` of entering and leaving, a share of the price, is the signal's alone."""
    if task.kind == "anomaly":
        return evaluate.judge_anomaly(model, task.data, task.split, parts_of_trades(task.trades)[1])
    if task.kind == "signal":
        return evaluate.judge_signal(model, task.data, task.split, cost)
    judges = {"forecast": evaluate.judge_forecast, "risk": evaluate.judge_risk}
    return judges[task.kind](model, task.data, task.split)


def parts_of_trades(trades: Sequence[Trade]) -> tuple[list[Trade], list[Trade]]:
    """Return the early trades to fit on and the late ones to judge on, cut at one instant for all symbols."""
    ordered = sorted(trades, key=lambda trade: (trade.traded_at, trade.symbol, trade.id))
    cut = int(len(ordered) * (1 - JUDGED_SHARE))
    return ordered[:cut], ordered[cut:]


def read_trades(lake: Lake, symbols: Sequence[str], data: Dataset) -> list[Trade]:
    """Return trades of the lake's newest days, at most `MOST_TRADES`: a block of each symbol's day, and no more is read.

    Raises: DataRejected when there are fewer than `FEWEST_TRADES`, Unavailable when the lake cannot be read.
    """
    newest = pd.Timestamp(int(data.opened_at.max()), unit="us", tz="UTC").date()
    stored = StoredTrades(lake, symbols, newest - TRADES_BACK, date.max)
    count = sum(day.count for day in stored.days)
    if count < FEWEST_TRADES:
        raise DataRejected(
            f"the lake holds {count} recent trades, the anomaly model needs {FEWEST_TRADES}; let the market run on"
        )
    return stored.sample(MOST_TRADES, TRADES_SEED)


def _held_days(lake: Lake) -> str:
    """Return which days were left out, for whoever repeats the training: a digest of them all, and how many there are."""
    held = sorted(f"{symbol} {day}" for symbol, day in lake.held("candles"))
    held += sorted(f"{TABLE} {symbol} {day}" for symbol, day in lake.held(TABLE))
    return f"{len(held)} {hashlib.sha256(chr(10).join(held).encode()).hexdigest()[:12]}"


def _params(kind: str, options: Options) -> dict[str, Any]:
    chosen = getattr(options, kind, None)
    return {**(asdict(chosen) if chosen is not None else {}), "trailing": options.trailing}
