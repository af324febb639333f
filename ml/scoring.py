"""What the champions say of the newest closed candle of each symbol: all symbols in one call per model.

Odd data never raises: a part that cannot be known is left out and `abstained` says why, so that one symbol's trouble is
nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.loaded import LoadedModel
from ml.memory import Memory
from ml.models.signal import SignalModel
from quantstream import features, topics
from quantstream.errors import DataRejected
from quantstream.windows import Floats

INTERVAL = "5m"
KINDS = ("forecast", "signal", "risk", "anomaly")
HORIZONS = ("5m", "15m", "1h")  # as ml.models.forecast, which is imported only with a forecast model
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class ModelSet:
    """The champions of one moment; None where there is none yet."""

    forecast: LoadedModel | None = None
    signal: LoadedModel | None = None
    risk: LoadedModel | None = None
    anomaly: LoadedModel | None = None

    def __iter__(self) -> Iterator[tuple[str, LoadedModel | None]]:
        """Yield each kind and its model."""
        return iter([(kind, getattr(self, kind)) for kind in KINDS])

    @property
    def length(self) -> int:
        """How many of the last rows of features any of them reads."""
        return max((loaded.model.length for _, loaded in self if loaded is not None), default=1)


@dataclass
class _Draft:
    """A score in the making."""

    symbol: str
    window: Floats  # (length, len(features.NAMES)), NaN where unknown
    opened_at: int
    close: float
    revision: int
    why_not: list[str] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


def score(
    models: ModelSet, histories: Mapping[str, pd.DataFrame], now_us: int, memory: Memory | None = None
) -> list[topics.Score]:
    """Return one score for the newest candle of each history: float frames of closed five-minute candles in time order.

    `features.WARMUP + 1` candles are enough for every part; fewer give the parts that can be known. An empty history gives
    no score, for there is no candle to judge. With a memory each output is corrected by what came of the last ones.
    """
    drafts = [_draft(symbol, frame, models.length) for symbol, frame in histories.items() if len(frame)]
    for kind, loaded in models:
        if loaded is None:
            for draft in drafts:
                draft.why_not.append(f"no {kind} model yet")
            continue
        _judge(kind, loaded, drafts, memory, histories)
    return [_score(draft, now_us) for draft in drafts]


def _draft(symbol: str, frame: pd.DataFrame, length: int) -> _Draft:
    window = np.full((length, len(features.NAMES)), np.nan)
    why_not = []
    try:
        computed = features.compute(frame, rows=length)
        at = features.opened_at_us(frame)[-len(computed) :]
        joined = np.flatnonzero(np.diff(at) != features.STEP_US)  # no window across a hole
        computed = computed.iloc[int(joined[-1]) + 1 if len(joined) else 0 :]
        window[length - len(computed) :] = computed.to_numpy()
    except DataRejected as error:
        why_not.append(str(error))
    close = frame["close"].iloc[-1] if "close" in frame.columns else float("nan")
    revision = frame["revision"].iloc[-1] if "revision" in frame.columns else 0
    opened_at = int(features.opened_at_us(frame.iloc[-1:])[0]) if "opened_at" in frame.columns else 0
    return _Draft(symbol, window, opened_at, float(close), int(revision), why_not)


def _judge(
    kind: str,
    loaded: LoadedModel,
    drafts: list[_Draft],
    memory: Memory | None,
    histories: Mapping[str, pd.DataFrame],
) -> None:
    """Add one model's part to the drafts whose features it can read, all in one call."""
    model = loaded.model
    places = [features.NAMES.index(name) for name in model.names]
    able = []
    for draft in drafts:
        part = draft.window[-model.length :, places]
        unknown = [name for name, column in zip(model.names, part.T, strict=True) if not np.isfinite(column).all()]
        if unknown:
            draft.why_not.append(f"{kind}: the history is too short or has holes for {unknown[0]}")
        else:
            able.append((draft, part))
    if not able:
        return
    windows = np.stack([part for _, part in able])
    outputs = model.predict(windows)
    if memory is not None:
        said = [memory.adapt(one.symbol, loaded, histories[one.symbol], outputs[i]) for i, (one, _) in enumerate(able)]
        outputs = np.stack(said)
    why = _reasons(loaded, windows, outputs)
    for i, (draft, _) in enumerate(able):
        if not np.isfinite(outputs[i]).all():
            draft.why_not.append(f"{kind}: the model's output is not a number")
            continue
        draft.parts[kind] = outputs[i]
        draft.parts[f"{kind}_reasons"] = why[i]
        draft.models[loaded.name] = loaded.version


def _reasons(loaded: LoadedModel, windows: Floats, outputs: Floats) -> list[Any]:
    """Return per row what explains a model's output: the signal's action and its reasons; nothing for the others."""
    model = loaded.model
    if not isinstance(model, SignalModel):
        return [None] * len(windows)
    actions = model.actions(windows, outputs)
    return list(zip(actions, model.reasons(windows, actions), strict=True))


def _score(draft: _Draft, now_us: int) -> topics.Score:
    parts = draft.parts
    return topics.Score(
        symbol=draft.symbol,
        interval=INTERVAL,
        opened_at=draft.opened_at,
        revision=draft.revision,
        close=draft.close,
        scored_at=now_us,
        feature_hash=features.FEATURE_HASH,
        forecasts=_forecasts(parts["forecast"], draft.close) if "forecast" in parts else [],
        signal=_signal(parts["signal_reasons"][0], parts["signal"]) if "signal" in parts else None,
        risk=100 * float(parts["risk"]) if "risk" in parts else None,
        novelty=float(parts["anomaly"]) if "anomaly" in parts else None,
        reasons=list(parts["signal_reasons"][1]) if "signal" in parts else [],
        models=draft.models,
        abstained="; ".join(draft.why_not),
    )


def _forecasts(quantiles: Floats, close: float) -> list[topics.Forecast]:
    return [
        topics.Forecast(horizon, list(LEVELS), row.tolist(), (close * np.exp(row)).tolist())
        for horizon, row in zip(HORIZONS, quantiles, strict=True)
    ]


def _signal(action: Literal["Buy", "Hold", "Sell"], probabilities: Floats) -> topics.Signal:
    sell, hold, buy = (float(share) for share in probabilities)
    return topics.Signal(action, buy=buy, hold=hold, sell=sell)
