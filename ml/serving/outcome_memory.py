"""What each live model predicted for each symbol's last candles and what the outcomes were.

This is the state of `ml.models.online_correction`, kept up and rebuilt. It follows from the candles alone. Kept in memory it
costs one new row a candle, and a few where candles were missed; after a start, a new model, a gap or an edit of the history (a
revision, an older candle) it is computed again from the history, as far as that reaches back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ml.data import labels
from ml.models.base import Model
from ml.models.online_correction import REACH, SIZE, UNKNOWN, Correction, Past
from ml.serving.feature_rows import Inputs
from ml.serving.loaded import LoadedModel
from quantstream import features
from quantstream.core.rolling import Floats

HISTORY = features.WARMUP + 1 + REACH  # candles from which everything can be rebuilt
OUTCOMES = tuple(labels.HORIZON)  # of all models
FEW = 24  # candles behind that a past is brought up to one by one: cheaper than to make it anew
MOVING = -1  # in the place of the time of a past that is being updated


@dataclass(frozen=True)
class _Outcomes:
    """Outcomes of a symbol's last candles, from the history of one call."""

    of: features.Series
    labels: Floats  # (UNKNOWN, OUTCOMES)


@dataclass
class _Kept:
    """One model on one symbol: the past up to the candle at `at`, as the history was after so many edits."""

    model: Model
    at: int
    edits: int
    past: Past

    def reaches(self, model: Model, series: features.Series, at: int) -> bool:
        """Tell whether it belongs to this model and this history, up to the candle at `at`."""
        return self.model is model and self.at == at and self.edits == series.edits


class Memory:
    """The pasts of all models and symbols, and the features that they read last."""

    def __init__(self, working: Callable[[], None] = lambda: None) -> None:
        """`working` is called after each past that had to be rebuilt: hundreds of them take minutes."""
        self._working = working
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._outcomes: dict[str, _Outcomes] = {}
        self.inputs = Inputs()

    def adapt(self, loaded: LoadedModel, histories: Mapping[str, features.Series], predicted: Floats) -> Floats:
        """Return a model's predictions for each symbol's newest candle, corrected by the outcomes of its last ones.

        `predicted` are its raw outputs, (symbols, …), in the order of `histories`; to be called once for each candle.
        """
        correction = loaded.model.correction
        if correction is None or not len(predicted):
            return predicted
        try:
            self._update(correction, loaded, histories, predicted)
            return correction.apply([self._kept[symbol, loaded.name].past for symbol in histories], predicted)
        except Exception:
            for symbol in histories:  # what was begun is not gone on with: the next candle has it rebuilt
                self._kept.pop((symbol, loaded.name), None)
            raise

    def _update(
        self, correction: Correction, loaded: LoadedModel, histories: Mapping[str, features.Series], predicted: Floats
    ) -> None:
        """Bring each past up to the newest candle, many at once where they go on."""
        model, going_on, newest = loaded.model, dict[str, Past](), []
        for (symbol, series), raw in zip(histories.items(), predicted, strict=True):
            at = int(series.at[-1])
            kept = self._kept.get((symbol, loaded.name))
            if kept is None or not _caught_up(kept, correction, model, series):
                self._kept[symbol, loaded.name] = _Kept(
                    model, at, series.edits, _rebuilt(correction, model, series, raw)
                )
                self._working()
                continue
            kept.at = MOVING
            going_on[symbol] = kept.past
            newest.append(raw)
        if going_on:
            correction.update(list(going_on.values()), np.array(newest), self._outcomes_of(model, going_on, histories))
            for symbol in going_on:
                self._kept[symbol, loaded.name].at = int(histories[symbol].at[-1])

    def is_ready(self, models: Iterable[LoadedModel], symbol: str, series: features.Series) -> bool:
        """Tell whether each of these models that learns from outcomes has its past up to the symbol's newest candle."""
        at = int(series.at[-1])
        found = [(one.model, self._kept.get((symbol, one.name))) for one in models if one.model.correction is not None]
        return all(kept is not None and kept.reaches(model, series, at) for model, kept in found)

    def goes_on(self, models: Iterable[LoadedModel], symbol: str, series: features.Series) -> bool:
        """Tell whether the symbol's newest candle costs no rebuilding of any of these models' pasts."""
        before = int(series.at[-1]) - features.STEP_US
        found = [(one.model, self._kept.get((symbol, one.name))) for one in models if one.model.correction is not None]
        return all(kept is not None and kept.reaches(model, series, before) for model, kept in found)

    def keep(self, models: Iterable[LoadedModel]) -> None:
        """Drop the pasts of all other models."""
        wanted = {id(one.model) for one in models}
        self._kept = {key: kept for key, kept in self._kept.items() if id(kept.model) in wanted}

    def copy(self, symbol: str, others: Mapping[str, features.Series]) -> None:
        """Let other symbols, with histories of their own, have the past of this one: for measurements, where all trade alike."""
        found = [(name, kept) for (whose, name), kept in self._kept.items() if whose == symbol]
        for other, series in others.items():
            for name, kept in found:
                self._kept[other, name] = _Kept(kept.model, kept.at, series.edits, kept.past.copy())

    def take_over(self, other: Memory, loaded: LoadedModel) -> None:
        """Have the pasts of a model that were made with another memory: what it would otherwise rebuild for each symbol.

        They are copies: the other one may go on at the same time, in its own thread; what moves meanwhile is not taken.
        """
        for (symbol, name), kept in list(other._kept.items()):
            at, past = kept.at, kept.past.copy()
            if name == loaded.name and kept.model is loaded.model and at == kept.at != MOVING:
                self._kept[symbol, name] = _Kept(kept.model, at, kept.edits, past)

    def _outcomes_of(self, model: Model, symbols: Iterable[str], histories: Mapping[str, features.Series]) -> Floats:
        """The outcomes of the last predictions, as far as they are known: (symbols, UNKNOWN, outcomes)."""
        self._look(symbols, histories)
        places = [OUTCOMES.index(name) for name in model.outcomes]
        return np.stack([self._outcomes[symbol].labels[:, places] for symbol in symbols])

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


def _caught_up(kept: _Kept, correction: Correction, model: Model, series: features.Series) -> bool:
    """Bring a past up to the candle before the newest where it is few behind; tell whether it belongs to this history at all."""
    missed = int(series.at[-1] - kept.at) // features.STEP_US - 1
    is_near = 0 <= missed <= FEW and missed + 2 <= len(series.at) and kept.at == series.at[-2 - missed]
    if not is_near or not kept.reaches(model, series, kept.at):
        return False
    if missed:
        rows = features.newest([series], missed + model.length, model.names)[0]
        predicted = _predicted(model, rows, missed + 1, kept.past.predicted.shape[1:])[:-1]
        outcomes = labels.newest([series], missed + UNKNOWN, model.outcomes)[0]
        kept.at = MOVING
        for i, raw in enumerate(predicted):
            correction.update([kept.past], raw[None], outcomes[None, i : i + UNKNOWN])
    return True


def _rebuilt(correction: Correction, model: Model, series: features.Series, newest: Floats) -> Past:
    """Return what the model would have predicted for the candles before the newest, and the outcomes."""
    rows = features.newest([series], SIZE + model.length - 1, model.names)[0]
    predicted = _predicted(model, rows, SIZE, newest.shape)
    predicted[-1] = newest
    return correction.begin(predicted, labels.newest([series], SIZE, model.outcomes)[0])


def _predicted(model: Model, rows: Floats, count: int, shape: tuple[int, ...]) -> Floats:
    """Return what a model says of the last `count` rows, (count, …): NaN where one that it reads is not known."""
    predicted = np.full((count, *shape), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(rows, model.length, axis=0).transpose(0, 2, 1)
    able = np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)))
    if len(able):
        predicted[able] = model.predict(np.ascontiguousarray(windows[able]))
    return predicted
