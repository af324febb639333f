"""Forecast: an LSTM's quantiles of the forward log return at 5 minutes, 15 minutes and an hour.

It predicts in units of the volatility that boosted trees expect of the coming hour, so that one network serves every
symbol and starts where a good simple model ends. The median and the widths around it are its outputs; widths are positive by
construction, so quantiles never cross. On later data the median is shrunk as far as it proves useless and the widths are
stretched until they hold what they promise. What the network says is then averaged with the quantiles that returns had in these
units on later data: a network adds noise to a shape that hardly changes, and half of it is noise less. The trees are fitted anew
on all data; live, `ml.models.online_correction` goes on stretching as outcomes arrive.

TensorFlow takes seconds to import: it is imported when a forecast is fitted, not when one is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml.data import labels
from ml.data.dataset import Dataset, Rows, Split, thin
from ml.models.base import Model
from ml.models.online_correction import Correction, Stretch
from ml.models.parts import network, plain_network, trees
from ml.models.parts.network import LEVELS, quantiles
from ml.models.parts.plain_network import PlainNetwork
from ml.models.parts.relative import relative
from quantstream.core.rolling import Floats
from quantstream.messages.models import HORIZONS

NAMES = (
    "momentum_5m",
    "momentum_15m",
    "momentum_1h",
    "momentum_4h",
    "momentum_24h",
    "log_rms_1h",
    "log_rms_6h",
    "log_rms_24h",
    "log_rms_7d",
    "log_parkinson_5m",
    "log_parkinson_15m",
    "log_parkinson_30m",
    "log_parkinson_1h",
    "log_parkinson_2h",
    "log_parkinson_6h",
    "log_parkinson_24h",
    "log_bipower_1h",
    "log_mean_move_6h",
    "log_mean_move_24h",
    "log_seasonal_rms_7d",
    "log_seasonal_range_28d",
    "seasonal_turn_28d",
    "relative_volume_5m",
    "relative_volume_15m",
    "relative_volume_1h",
    "seasonal_volume_14d",
    "taker_imbalance_5m",
    "bollinger_position",
    "range_position_24h",
    "hour_sin",
    "hour_cos",
    "week_sin",
    "week_cos",
    "log_seasonal_range_weekly_28d",
    "new_york_weekend_1h",
    "fed_decision_next_1h",
    "fed_decision_past_1h",
    "consumer_prices_next_1h",
    "consumer_prices_past_1h",
    "employment_next_1h",
    "employment_past_1h",
)
UNIT = "log_rms_24h"
SIZE = "log_rms_next_1h"
LENGTH = 16  # candles the network sees: the memory of volatility beyond them comes in as features
LABELS = tuple(f"return_{horizon}" for horizon in HORIZONS)
LIMIT = 8.0  # targets and inputs beyond so many units teach no more than that they are extreme
FEWEST = 0.1  # of the median that always stays: its sign may be worth something where its size is not
SIZE_LIMIT = 3.0  # of the log volatility against the day's: farther off is far
BULK = 4096  # rows of one call: more do not fit a core's cache
SEED = 5
FILE = "network.keras"
ARRAYS = "network.npz"
SIZES = "size.ubj"
PARTS = ("mean", "scale", "shrink", "stretch", "usual")
SHARE = 0.5  # of the network in the mean with the usual quantiles


@dataclass(frozen=True)
class ForecastOptions:
    """How much to learn: the first path must train in well under a minute on two cores."""

    units: int = 24
    epochs: int = 4
    most_rows: int = 40_000
    rounds: int = 200  # of the trees that expect the volatility
    size_rows: int = 150_000  # that those learn from
    batch: int = 512
    learning_rate: float = 3e-3


@dataclass
class ForecastModel(Model):
    """A Keras network, the scaler of its inputs, and the corrections of its quantiles."""

    kind: ClassVar[str] = "forecast"
    outcomes: ClassVar[tuple[str, ...]] = LABELS
    correction: ClassVar[Correction | None] = Stretch(tuple(LEVELS.tolist()), tuple(labels.RETURNS.values()))
    network: Any  # keras.Model as trained, PlainNetwork as loaded
    mean: Floats  # (names,)
    scale: Floats  # (names,)
    size: trees.Trees  # the coming hour's log volatility less the last day's
    shrink: Floats  # (horizons,): of the median, 0 to 1
    stretch: Floats  # (horizons, levels): of the widths
    usual: Floats | None = None  # (horizons, levels): quantiles of returns in their units; older models have none
    length: int = LENGTH
    names: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        is_plain = isinstance(self.network, PlainNetwork)
        self._call = self.network if is_plain else plain_network.taken(self.network, self.length, len(self.names))

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, horizons, levels): quantiles of the forward log return, rising over the levels."""
        raw = self.raw(windows)
        median = raw[:, :, 2:3]
        corrected = median * self.shrink[None, :, None] + (raw - median) * self.stretch[None]
        if self.usual is not None:
            corrected = SHARE * corrected + (1 - SHARE) * self.usual
        return np.sort(corrected, axis=2) * self.unit(windows)[:, None, None] * _spread()[None, :, None]

    def inputs(self, windows: Floats) -> Floats:
        """Return what the network reads, (rows, length, names): volatilities relative to the last day's, standardised."""
        return _standard(windows, self.mean, self.scale)

    def unit(self, windows: Floats) -> Floats:
        """Return the RMS return that the trees expect of the coming hour: (rows,)."""
        return _unit(windows, self.size)

    def raw(self, windows: Floats) -> Floats:
        """Return the network's own quantiles, in units of the volatility expected over each horizon."""
        inputs = self.inputs(windows).astype(np.float32)
        parts = [self._call(inputs[start : start + BULK]) for start in range(0, len(inputs), BULK)]
        if not parts:
            return np.zeros((0, len(HORIZONS), len(LEVELS)))
        return quantiles(np.concatenate(parts).astype(np.float64))

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "keras", "tensorflow", "xgboost")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the network, as Keras keeps it and as plain arrays.

        Raises: TypeError for a model that was loaded: it is plain arrays only, copy its files instead.
        """
        if isinstance(self.network, PlainNetwork):
            raise TypeError("a loaded forecast has no Keras network to save; copy its files")
        self.network.save(folder / FILE)
        plain_network.write(self._call, folder / ARRAYS, self.length)
        self.size.save(folder / SIZES)
        parts = {name: getattr(self, name) for name in PARTS}
        return {name: part.tolist() for name, part in parts.items() if part is not None}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> ForecastModel:
        """Read the plain arrays: they run no code, and need no TensorFlow."""
        loaded = plain_network.read(folder / ARRAYS)
        parts: dict[str, Any] = {
            name: np.array(state[name], dtype=np.float64) for name in PARTS if name != "usual" or name in state
        }
        return cls(network=loaded, size=trees.load(folder / SIZES, NAMES), **parts)


def _spread() -> Floats:
    """How much wider than one candle's each horizon's return is, were returns independent."""
    return np.sqrt(np.array([labels.RETURNS[label] for label in LABELS], dtype=np.float64))


def fit(data: Dataset, split: Split, options: ForecastOptions = ForecastOptions()) -> ForecastModel:
    """Fit on the split's first part, correct on its second. The same rows give the same model."""
    keras = network.import_keras()
    keras.utils.set_random_seed(SEED)
    rows = thin(split.fit, options.most_rows, SEED)
    windows = data.sequences(rows, NAMES, LENGTH)
    newest = relative(windows[:, -1], NAMES, UNIT)
    mean, scale = newest.mean(axis=0), newest.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    inputs = _standard(windows, mean, scale)
    size = _size(data, split.fit, options)
    built = network.build(keras, options.units, LENGTH, len(NAMES))
    steps = max(options.epochs * len(rows) // options.batch, 1)
    schedule = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps)
    built.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0), loss=network.pinball(keras))
    built.fit(
        inputs.astype(np.float32),
        _targets(data, rows, _unit(windows, size)).astype(np.float32),
        batch_size=options.batch,
        epochs=options.epochs,
        verbose=0,
    )
    even = np.ones((len(HORIZONS), len(LEVELS)))
    plain = ForecastModel(built, mean, scale, size, even[:, 0], even)
    held = thin(split.calibrate, options.most_rows, SEED)
    windows = data.sequences(held, NAMES, LENGTH)
    actual = _targets(data, held, plain.unit(windows))
    shrink, stretch = corrections(plain.raw(windows), actual)
    newest_too = _size(data, np.concatenate([split.fit, split.calibrate]), options)
    return replace(plain, size=newest_too, shrink=shrink, stretch=stretch, usual=np.quantile(actual, LEVELS, axis=0).T)


def _standard(windows: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.clip((relative(windows, NAMES, UNIT) - mean) / scale, -LIMIT, LIMIT)


def _size(data: Dataset, among: Rows, options: ForecastOptions) -> trees.Trees:
    """Trees on the coming hour's log volatility relative to the day's."""
    rows = thin(np.sort(among), options.size_rows, SEED)
    table = data.matrix(rows, NAMES)
    target = np.clip(data.labels[SIZE][rows] - table[:, NAMES.index(UNIT)], -SIZE_LIMIT, SIZE_LIMIT)
    settings: dict[str, Any] = {"objective": "reg:squarederror", "max_depth": 4, "eta": 0.05, "min_child_weight": 300}
    return trees.fit(relative(table, NAMES, UNIT), target, NAMES, options.rounds, SEED, **settings)


def _unit(windows: Floats, size: trees.Trees) -> Floats:
    newest = windows[:, -1]
    expected: Floats = np.exp(newest[:, NAMES.index(UNIT)] + size.margins(relative(newest, NAMES, UNIT)))
    return expected


def _targets(data: Dataset, rows: Any, unit: Floats) -> Floats:
    """Forward returns (rows, horizons) in units of the volatility expected over each horizon."""
    actual = np.stack([data.labels[label][rows] for label in LABELS], axis=1)
    return np.clip(actual / unit[:, None] / _spread(), -LIMIT, LIMIT)


def corrections(raw: Floats, actual: Floats) -> tuple[Floats, Floats]:
    """Return how far to shrink each horizon's median and to stretch each width so that quantiles hold on these rows."""
    shrink, stretch = np.ones(len(HORIZONS)), np.ones((len(HORIZONS), len(LEVELS)))
    for h in range(len(HORIZONS)):
        median = raw[:, h, 2]
        factors = np.linspace(FEWEST, 1, 10)
        errors = [float(np.abs(actual[:, h] - factor * median).mean()) for factor in factors]
        shrink[h] = factors[int(np.argmin(errors))]
        rest = actual[:, h] - shrink[h] * median
        for level in (0, 1, 3, 4):
            width = raw[:, h, level] - median
            stretch[h, level] = np.quantile(rest / width, max(LEVELS[level], 1 - LEVELS[level]))
    return shrink, np.clip(stretch, 0.2, 5.0)
