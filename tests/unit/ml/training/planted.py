"""Bad challengers, planted: each is a real small model with one thing wrong with it, and a shelf that stands for the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.data.dataset import Dataset
from ml.models import base
from ml.models.risk import RiskModel, RiskOptions
from ml.serving.loaded import LoadedModel
from ml.training import train
from ml.training.examination import Subject
from quantstream import features
from quantstream.core.errors import ModelRejected
from quantstream.core.rolling import Floats

QUICK = train.Options(risk=RiskOptions(lines_from=0, trees_from=10**9))  # lines of both views: fitted in a moment
NAME = "quantstream-risk"
LEAKY = "momentum_1h"


@dataclass
class Shelf:
    """Versions as folders of files, with the digest that each was registered with: what a registry keeps of them."""

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    wrapped: dict[str, Callable[[base.Model], base.Model]] = field(default_factory=dict)

    def put(self, model: RiskModel, wrap: Callable[[base.Model], base.Model] | None = None) -> str:
        """Register a model and return its version; `wrap` is what its files become when they are loaded."""
        version = str(len(self.digests) + 1)
        base.save(model, self.folder / version)
        self.digests[version] = base.digest(self.folder / version)
        self.wrapped[version] = wrap or (lambda one: one)
        return version

    def get(self, version: str) -> LoadedModel:
        """Load a version as `ml.serving.registry.Registry.load` does."""
        files = self.folder / version
        if base.digest(files) != self.digests[version]:
            raise ModelRejected(f"the files of {NAME} {version} are not those that were registered")
        return LoadedModel(NAME, version, features.FEATURE_HASH, self.wrapped[version](base.load(files)), 1000)


class Changed(RiskModel):
    """A risk model whose answer is changed by a function."""

    def __init__(self, of: base.Model, change: Callable[[Floats], Any]) -> None:
        assert isinstance(of, RiskModel)
        super().__init__(of.mixes, of.calibrator, of.names)
        self.change = change

    def predict(self, windows: Floats) -> Floats:
        """Return what the change makes of the answer."""
        return np.asarray(self.change(super().predict(windows)), dtype=np.float64)


class Slow(RiskModel):
    """A risk model that does everything ten times."""

    def predict(self, windows: Floats) -> Floats:
        """Return the tenth answer."""
        return [RiskModel.predict(self, windows) for _ in range(10)][-1]


def overconfident(probability: Floats) -> Floats:
    """Shift the logit so far that most hours are called abnormal."""
    return 1 / (1 + np.exp(-(np.log(probability / (1 - probability)) + 4)))


def now_and_then_nothing(probability: Floats) -> Floats:
    """Answer NaN where the risk is highest."""
    return np.where(probability >= np.quantile(probability, 0.99), np.nan, probability)


def twofold(probability: Floats) -> Floats:
    """Answer with both classes' probabilities, as a library would."""
    return np.stack([1 - probability, probability], axis=1)


def leaky(data: Dataset) -> Dataset:
    """Return a table in which one feature looks an hour ahead: what a careless join makes."""
    values = np.asarray(data.features).copy()
    ahead = np.full(len(values), np.nan)
    ahead[: -features.HOUR] = values[features.HOUR :, features.NAMES.index(LEAKY)]
    values[:, features.NAMES.index(LEAKY)] = np.where(np.isfinite(ahead), ahead, values[:, features.NAMES.index(LEAKY)])
    return replace(data, features=values)


def subject(
    shelf: Shelf, version: str, fitted: base.Model, task: train.Task, candles: dict[str, pd.DataFrame]
) -> Subject:
    """Return what is examined of a version on the shelf."""
    return Subject(
        "risk",
        fitted,
        lambda: shelf.get(version),
        task.data,
        task.split.judge,
        lambda model: train.judge(task, model),
        lambda symbols: {symbol: candles[symbol] for symbol in symbols},
    )
