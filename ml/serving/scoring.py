"""What the champions say of the newest closed candle of each symbol: all symbols in one call per model.

Odd data never raises: a part that cannot be known is left out and `abstained` says why, so that one symbol's trouble is
nobody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from ml.models.signal import Action, SignalModel
from ml.serving import novelty
from ml.serving.feature_rows import Inputs
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import Memory
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED
from quantstream.messages import payloads
from quantstream.messages.models import HORIZONS, LEVELS, MODEL_KINDS
from quantstream.setting_groups import ROUND_TRIP

log = logging.getLogger(__name__)
NEVER = 1 << 62  # µs: no model grows so old


@dataclass(frozen=True)
class ModelSet:
    """The champions of one moment; None where there is none yet."""

    forecast: LoadedModel | None = None
    signal: LoadedModel | None = None
    risk: LoadedModel | None = None
    anomaly: LoadedModel | None = None

    def __iter__(self) -> Iterator[tuple[str, LoadedModel | None]]:
        """Yield each kind and its model."""
        return iter([(kind, getattr(self, kind)) for kind in MODEL_KINDS])

    def stale(self, now_us: int, limit_us: int) -> list[str]:
        """Return the registered names of the models past their age limit: they serve on, and what they say is marked."""
        return [one.name for _, one in self if one is not None and one.is_stale(now_us, limit_us)]

    @property
    def length(self) -> int:
        """How many of the last rows of features any of them reads."""
        return max((loaded.model.length for _, loaded in self if loaded is not None), default=1)


class Watcher:
    """Sees the models at work: which one judges, and what it cannot judge though it has all it reads. This one looks away."""

    def judges(self, loaded: LoadedModel | None) -> None:
        """A model begins, and the one before has ended; None after the last."""

    def failed(self, loaded: LoadedModel, reason: str) -> None:
        """A model raised, or gave something that is not a number."""


NOBODY = Watcher()


class Advice(NamedTuple):
    """What a signal says of one candle beside its probabilities."""

    action: Action
    reasons: list[str]
    usually_up: float | None
    expected: float | None


@dataclass(frozen=True)
class _Asking:
    """What a model of a kind is asked with."""

    kind: str
    memory: Memory | None
    watcher: Watcher
    cost: float


@dataclass
class _Draft:
    """A score in the making."""

    symbol: str
    series: features.Series
    window: Floats  # (length, len(features.NAMES)), NaN where unknown
    why_not: list[str] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


def score(
    models: ModelSet,
    histories: Mapping[str, features.Series | pd.DataFrame],
    now_us: int,
    memory: Memory | None = None,
    kinds: Collection[str] = MODEL_KINDS,
    watcher: Watcher = NOBODY,
    limit_us: int = NEVER,
    cost: float = ROUND_TRIP,
) -> list[payloads.Score]:
    """Return one score for the newest candle of each history: closed five-minute candles in time order, or a frame of them.

    `features.WARMUP + 1` candles are enough for every part; fewer give the parts that can be known. An empty history gives
    no score, for there is no candle to judge. With a memory each output is corrected by the outcomes of the last ones. Kinds that
    are not named are neither judged nor missed. What models older than `limit_us` say is marked as stale. Actions are those
    that pay where entering and leaving cost `cost`, a share of the price.
    """
    drafts = _drafts(histories, models.length, memory.inputs if memory is not None else Inputs())
    for kind, loaded in models:
        if kind not in kinds:
            continue
        if loaded is None:
            for draft in drafts:
                draft.why_not.append(f"no {kind} model yet")
            continue
        watcher.judges(loaded)
        _judge(loaded, drafts, _Asking(kind, memory, watcher, cost))
    watcher.judges(None)
    stale = models.stale(now_us, limit_us)
    return [_score(draft, now_us, stale, cost) for draft in drafts]


def _drafts(histories: Mapping[str, features.Series | pd.DataFrame], length: int, inputs: Inputs) -> list[_Draft]:
    unknown = np.full((length, len(features.NAMES)), np.nan)
    drafts: dict[str, _Draft] = {}
    for symbol, given in histories.items():
        if not len(given):
            continue
        if isinstance(given, features.Series):
            drafts[symbol] = _Draft(symbol, given, unknown)
            continue
        try:
            drafts[symbol] = _Draft(symbol, features.series_of(given), unknown)
        except DataRejected as error:
            drafts[symbol] = _Draft(symbol, _what_there_is(given), unknown, [str(error)])
    sound = {symbol: draft.series for symbol, draft in drafts.items() if not draft.why_not}
    for symbol, found in inputs.of(sound, length).items():
        if isinstance(found, DataRejected):
            drafts[symbol].why_not.append(str(found))
        else:
            drafts[symbol].window = found
    return list(drafts.values())


def _what_there_is(frame: pd.DataFrame) -> features.Series:
    """The newest time and close of a frame that lacks columns."""
    newest = frame.iloc[-1:]
    at = features.opened_at_us(newest) if "opened_at" in frame.columns else np.zeros(1, dtype=np.int64)
    close = newest["close"].to_numpy(dtype=np.float64) if "close" in frame.columns else np.full(1, np.nan)
    return features.Series(at, {"close": close}, int(newest["revision"].iloc[0]) if "revision" in frame.columns else 0)


def _judge(loaded: LoadedModel, drafts: list[_Draft], asking: _Asking) -> None:
    """Add one model's part to the drafts whose features it can read, all in one call."""
    if not drafts:
        return
    model = loaded.model
    places = [features.NAMES.index(name) for name in model.names]
    windows = np.stack([draft.window[-model.length :] for draft in drafts])[..., places]
    known = np.all(np.isfinite(windows), axis=1)  # (drafts, names)
    able = [draft for draft, columns in zip(drafts, known, strict=True) if columns.all()]
    for draft, columns in zip(drafts, known, strict=True):
        if not columns.all():
            lacking = model.names[int(np.argmin(columns))]
            draft.why_not.append(f"{asking.kind}: the history is too short or has gaps for {lacking}")
    if able:
        _judge_able(loaded, able, np.ascontiguousarray(windows[np.all(known, axis=1)]), asking)


def _judge_able(loaded: LoadedModel, able: list[_Draft], windows: Floats, asking: _Asking) -> None:
    """Judge all at once; where that raises, each by itself, so that only the one it raises for abstains."""
    kind, watcher = asking.kind, asking.watcher
    try:
        outputs, advice = _outputs(loaded, able, windows, asking)
    except Exception as error:
        log.exception("a model failed", extra={"model": loaded.name, "version": loaded.version, "symbols": len(able)})
        if len(able) == 1:
            watcher.failed(loaded, f"{type(error).__name__}: {error}")
            able[0].why_not.append(f"{kind}: {loaded.name} {loaded.version} failed: {type(error).__name__}: {error}")
            return
        for i, draft in enumerate(able):
            _judge_able(loaded, [draft], windows[i : i + 1], asking)
        return
    for i, draft in enumerate(able):
        if not np.isfinite(outputs[i]).all():
            draft.why_not.append(f"{kind}: the model's output is not a number")
            watcher.failed(loaded, "its output is not a number")
            continue
        draft.parts[kind] = outputs[i]
        draft.parts[f"{kind}_advice"] = advice[i]
        draft.models[loaded.name] = loaded.version


def _outputs(
    loaded: LoadedModel, able: list[_Draft], windows: Floats, asking: _Asking
) -> tuple[Floats, list[Advice | None]]:
    """What the model says of each, corrected, and what follows."""
    outputs = loaded.model.predict(windows)
    if asking.memory is not None:
        outputs = asking.memory.adapt(loaded, {draft.symbol: draft.series for draft in able}, outputs)
    if not isinstance(loaded.model, SignalModel):
        return outputs, [None] * len(windows)
    return outputs, list(_advice(loaded.model, windows, outputs, asking.cost))


def _advice(model: SignalModel, windows: Floats, outputs: Floats, cost: float) -> Iterator[Advice]:
    actions = model.actions(windows, outputs, cost)
    up, gain = model.usually_up(windows, outputs), model.expected(windows, outputs)
    for i, why in enumerate(model.reasons(windows, actions)):
        yield Advice(actions[i], why, None if up is None else float(up[i]), None if gain is None else float(gain[i]))


def _score(draft: _Draft, now_us: int, stale: list[str], cost: float) -> payloads.Score:
    parts, digest = draft.parts, draft.series.digest
    advice = parts.get("signal_advice")
    close = float(draft.series.columns["close"][-1])
    plain = payloads.Score(
        symbol=draft.symbol,
        interval=SCORED,
        opened_at=int(draft.series.at[-1]),
        revision=draft.series.revision,
        close=close,
        scored_at=now_us,
        feature_hash=features.FEATURE_HASH,
        forecasts=_forecasts(parts["forecast"], close) if "forecast" in parts else [],
        signal=_signal(advice, parts["signal"], cost) if advice is not None else None,
        risk=100 * float(parts["risk"]) if "risk" in parts else None,
        reasons=list(advice.reasons) if advice is not None else [],
        models=draft.models,
        abstained="; ".join(draft.why_not),
        stale=[name for name in stale if name in draft.models],
        history_from=0 if digest is None else int(draft.series.at[0]),
        history_digest="" if digest is None else f"{digest:016x}",
    )
    return with_novelty(plain, float(parts["anomaly"]) if "anomaly" in parts else None)


def with_novelty(score: payloads.Score, found: float | None) -> payloads.Score:
    """Return a score that knows no novelty with that of its candle, and what follows from it: wider intervals, no trade."""
    signal, reasons, forecasts = score.signal, score.reasons, score.forecasts
    if novelty.is_novel(found):
        if signal is not None and signal.action != "Hold":
            signal, reasons = msgspec.structs.replace(signal, action="Hold"), [novelty.WHY]
        if forecasts:
            quantiles = np.array([forecast.log_returns for forecast in forecasts])
            forecasts = _forecasts(novelty.widened(quantiles, found), score.close)
    return msgspec.structs.replace(score, novelty=found, signal=signal, reasons=reasons, forecasts=forecasts)


def _forecasts(quantiles: Floats, close: float) -> list[payloads.Forecast]:
    return [
        payloads.Forecast(horizon, list(LEVELS), row.tolist(), (close * np.exp(row)).tolist())
        for horizon, row in zip(HORIZONS, quantiles, strict=True)
    ]


def _signal(advice: Advice, probabilities: Floats, cost: float) -> payloads.Signal:
    sell, hold, buy = (float(share) for share in probabilities)
    return payloads.Signal(advice.action, buy, hold, sell, advice.usually_up, buy - sell, advice.expected, cost)
