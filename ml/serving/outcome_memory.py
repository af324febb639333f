"""What each live model predicted for each symbol's last candles and what the outcomes were.

This is the state of `ml.models.online_correction`, kept up and rebuilt. It follows from the candles alone. Kept in memory it
costs one new row a candle; after a start, a new model, a gap or an edit of the history (a revision, an older candle) it is
computed again from the history, as far as that reaches back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ml.data import labels
from ml.models import online_correction
from ml.models.base import Model
from ml.serving.feature_rows import Inputs
from ml.serving.loaded import LoadedModel
from quantstream import features
from quantstream.core.rolling import Floats

HISTORY = features.WARMUP + 1 + online_correction.REACH  # candles from which everything can be rebuilt
SIZE = online_correction.REACH + 1  # candles whose outcomes a correction goes by, the newest included
UNKNOWN = max(labels.HORIZON.values()) + 1  # of the newest rows whose outcomes may still come
OUTCOMES = tuple(labels.HORIZON)  # of all models
ROOM = 512  # candles to append before the evidence is moved back to its start
TOGETHER = 16  # symbols corrected at once


@dataclass(frozen=True)
class _Outcomes:
    """Outcomes of a symbol's last candles, from the history of one call."""

    of: features.Series
    labels: Floats  # (UNKNOWN, OUTCOMES)


class _Past:
    """One model on one symbol: the newest row is that of the candle at `at`."""

    def __init__(self, model: Model, at: int, edits: int, predicted: Floats, evidence: Floats) -> None:
        """`predicted` and `evidence` are of the last `SIZE` candles, as the history was after so many `edits`."""
        self.model, self.at, self.edits, self.predicted = model, at, edits, predicted[-UNKNOWN:].copy()
        self._evidence = np.empty((*evidence.shape[:-1], SIZE + ROOM))
        self._evidence[..., :SIZE] = evidence
        self._end = SIZE

    def reaches(self, model: Model, series: features.Series, at: int) -> bool:
        """Tell whether it belongs to this model and this history, up to the candle at `at`."""
        return self.model is model and self.at == at and self.edits == series.edits

    @property
    def evidence(self) -> Floats:
        """(…, SIZE): what outcomes say of the model's last predictions."""
        return self._evidence[..., self._end - SIZE : self._end]

    def go_on(self, at: int, predicted: Floats) -> None:
        """Add the model's prediction of the next candle; the evidence of the newest rows is then computed anew."""
        self.at = at
        self.predicted[:-1] = self.predicted[1:]
        self.predicted[-1] = predicted
        if self._end == self._evidence.shape[-1]:
            self._evidence[..., :SIZE] = self.evidence.copy()
            self._end = SIZE
        self._end += 1


class Memory:
    """The pasts of all models and symbols, and the features that they read last."""

    def __init__(self, working: Callable[[], None] = lambda: None) -> None:
        """`working` is called after each past that had to be rebuilt: hundreds of them take minutes."""
        self._working = working
        self._pasts: dict[tuple[str, str], _Past] = {}
        self._outcomes: dict[str, _Outcomes] = {}
        self.inputs = Inputs()

    def adapt(self, loaded: LoadedModel, histories: Mapping[str, features.Series], predicted: Floats) -> Floats:
        """Return a model's predictions for each symbol's newest candle, corrected by the outcomes of its last ones.

        `predicted` are its raw outputs, (symbols, …), in the order of `histories`; to be called once for each candle.
        """
        if not loaded.model.outcomes or not len(predicted):
            return predicted
        try:
            return self._adapt(loaded, histories, predicted)
        except Exception:
            for symbol in histories:  # what was begun is not gone on with: the next candle has it rebuilt
                self._pasts.pop((symbol, loaded.name), None)
            raise

    def _adapt(self, loaded: LoadedModel, histories: Mapping[str, features.Series], predicted: Floats) -> Floats:
        model, pasts, going_on = loaded.model, [], {}
        for (symbol, series), newest in zip(histories.items(), predicted, strict=True):
            at = int(series.at[-1])
            past = self._pasts.get((symbol, loaded.name))
            if past is None or not past.reaches(model, series, at - features.STEP_US):
                past = self._pasts[symbol, loaded.name] = _rebuilt(model, series, newest)
                self._working()
            else:
                past.go_on(at, newest)
                going_on[symbol] = past
            pasts.append(past)
        self._learn(model, going_on, histories)
        starts = range(0, len(pasts), TOGETHER)
        some = [(pasts[start : start + TOGETHER], predicted[start : start + TOGETHER]) for start in starts]
        return np.concatenate([model.adapt_newest(part, [past.evidence for past in those]) for those, part in some])

    def is_ready(self, models: Iterable[LoadedModel], symbol: str, series: features.Series) -> bool:
        """Tell whether each of these models that learns from outcomes has its past up to the symbol's newest candle."""
        at = int(series.at[-1])
        pasts = [(one.model, self._pasts.get((symbol, one.name))) for one in models if one.model.outcomes]
        return all(past is not None and past.reaches(model, series, at) for model, past in pasts)

    def goes_on(self, models: Iterable[LoadedModel], symbol: str, series: features.Series) -> bool:
        """Tell whether the symbol's newest candle costs no rebuilding of any of these models' pasts."""
        before = int(series.at[-1]) - features.STEP_US
        pasts = [(one.model, self._pasts.get((symbol, one.name))) for one in models if one.model.outcomes]
        return all(past is not None and past.reaches(model, series, before) for model, past in pasts)

    def keep(self, models: Iterable[LoadedModel]) -> None:
        """Drop the pasts of all other models."""
        kept = {id(one.model) for one in models}
        self._pasts = {key: past for key, past in self._pasts.items() if id(past.model) in kept}

    def copy(self, symbol: str, others: Mapping[str, features.Series]) -> None:
        """Let other symbols, with histories of their own, have the past of this one: for measurements, where all trade alike."""
        pasts = [(name, past) for (whose, name), past in self._pasts.items() if whose == symbol]
        for other, series in others.items():
            for name, past in pasts:
                self._pasts[other, name] = _Past(past.model, past.at, series.edits, past.predicted, past.evidence)

    def take_over(self, other: Memory, loaded: LoadedModel) -> None:
        """Have the pasts of a model that were made with another memory: what it would otherwise rebuild for each symbol.

        They are copies: the other one may go on at the same time, in its own thread.
        """
        for (symbol, name), past in list(other._pasts.items()):
            if name == loaded.name and past.model is loaded.model:
                self._pasts[symbol, name] = _Past(past.model, past.at, past.edits, past.predicted, past.evidence)

    def _learn(self, model: Model, pasts: Mapping[str, _Past], histories: Mapping[str, features.Series]) -> None:
        """Add the outcomes of the last predictions, of many symbols at once."""
        if not pasts:
            return
        self._look(pasts, histories)
        places = [OUTCOMES.index(name) for name in model.outcomes]
        outcomes = np.concatenate([self._outcomes[symbol].labels[:, places] for symbol in pasts])
        found = model.evidence(np.concatenate([past.predicted for past in pasts.values()]), outcomes)
        for i, past in enumerate(pasts.values()):
            past.evidence[..., -UNKNOWN:] = found[..., i * UNKNOWN : (i + 1) * UNKNOWN]

    def _look(self, symbols: Iterable[str], histories: Mapping[str, features.Series]) -> None:
        """Read the outcomes of the last candles, once for all models."""
        new = [
            symbol
            for symbol in symbols
            if symbol not in self._outcomes or self._outcomes[symbol].of is not histories[symbol]
        ]
        for symbol, found in zip(
            new, labels.newest([histories[symbol] for symbol in new], UNKNOWN, OUTCOMES), strict=True
        ):
            self._outcomes[symbol] = _Outcomes(histories[symbol], found)


def _rebuilt(model: Model, series: features.Series, newest: Floats) -> _Past:
    """Return what the model would have predicted for the candles before the newest, and the outcomes."""
    predicted = np.full((SIZE, *newest.shape), np.nan)
    rows = features.newest([series], SIZE + model.length - 1, model.names)[0]
    windows = np.lib.stride_tricks.sliding_window_view(rows, model.length, axis=0).transpose(0, 2, 1)
    able = np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)))
    if len(able):
        predicted[able] = model.predict(np.ascontiguousarray(windows[able]))
    predicted[-1] = newest
    outcomes = labels.newest([series], SIZE, model.outcomes)[0]
    return _Past(model, int(series.at[-1]), series.edits, predicted, model.evidence(predicted, outcomes))
