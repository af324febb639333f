"""Forecast: an LSTM's quantiles of the forward log return at 5 minutes, 15 minutes and an hour.

It predicts in units of the last day's volatility, so that one network serves every symbol. The median and the widths around
it are its outputs; widths are positive by construction, so quantiles never cross. On later data the median is shrunk as far
as it proves useless and the widths are stretched until they hold what they promise.

TensorFlow takes seconds to import: it is imported when a forecast is fitted or loaded, not before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ml import labels
from ml.dataset import Dataset, Split, thin
from ml.models.base import Model
from quantstream.windows import Floats

NAMES = (
    "momentum_5m",
    "momentum_1h",
    "momentum_24h",
    "log_range_5m",
    "log_rms_1h",
    "log_rms_6h",
    "log_rms_24h",
    "relative_volume_5m",
    "taker_imbalance_5m",
    "bollinger_position",
    "range_position_24h",
    "hour_sin",
    "hour_cos",
)
LENGTH = 32  # candles the network sees: the memory of volatility beyond them comes in as features
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
HORIZONS = ("5m", "15m", "1h")
LABELS = tuple(f"return_{horizon}" for horizon in HORIZONS)
NORMAL_WIDTHS = (0.971, 0.674)  # from the 75 % to the 95 % quantile of a normal, and from the median to the 75 %
LIMIT = 8.0  # targets beyond so many units teach no more than that they are extreme
CHUNK = 16  # rows of one compiled call: a fixed shape is traced once
BULK = 4096
SEED = 5
FILE = "network.keras"


@dataclass(frozen=True)
class ForecastOptions:
    """How much to learn: the first path must train in well under a minute on two cores."""

    units: int = 32
    epochs: int = 4
    most_rows: int = 20_000
    batch: int = 512
    learning_rate: float = 3e-3


@dataclass
class ForecastModel(Model):
    """A Keras network, the scaler of its inputs, and the corrections of its quantiles."""

    kind: ClassVar[str] = "forecast"
    network: Any  # keras.Model
    mean: Floats  # (names,)
    scale: Floats  # (names,)
    shrink: Floats  # (horizons,): of the median, 0 to 1
    stretch: Floats  # (horizons, levels): of the widths
    names: tuple[str, ...] = NAMES
    length: int = LENGTH

    def __post_init__(self) -> None:
        self._call = _compile(self.network, self.length, len(self.names))

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, horizons, levels): quantiles of the forward log return, rising over the levels."""
        raw = self.raw(windows)
        median = raw[:, :, 2:3]
        corrected = median * self.shrink[None, :, None] + (raw - median) * self.stretch[None]
        unit = np.exp(windows[:, -1, self.names.index("log_rms_24h")])
        return np.sort(corrected, axis=2) * unit[:, None, None] * _spread()[None, :, None]

    def raw(self, windows: Floats) -> Floats:
        """Return the network's own quantiles, in units of the last day's volatility over each horizon."""
        inputs = ((windows - self.mean) / self.scale).astype(np.float32)
        size = CHUNK if len(inputs) <= CHUNK else BULK
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            padded = np.zeros((size, *inputs.shape[1:]), dtype=np.float32)
            padded[: len(part)] = part
            parts.append(np.asarray(self._call(padded), dtype=np.float64)[: len(part)])
        return quantiles(np.concatenate(parts)) if parts else np.zeros((0, len(HORIZONS), len(LEVELS)))

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "keras", "tensorflow")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the network."""
        self.network.save(folder / FILE)
        return {name: getattr(self, name).tolist() for name in ("mean", "scale", "shrink", "stretch")}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> ForecastModel:
        """Read the network in safe mode: a file that would run code is refused."""
        network = import_keras().saving.load_model(folder / FILE, compile=False, safe_mode=True)
        mean, scale, shrink, stretch = (np.array(state[name]) for name in ("mean", "scale", "shrink", "stretch"))
        return cls(network, mean, scale, shrink, stretch)


def _spread() -> Floats:
    """How much wider than one candle's each horizon's return is, were returns independent."""
    return np.sqrt(np.array([labels.RETURNS[label] for label in LABELS], dtype=np.float64))


def import_keras() -> ModuleType:
    """Import Keras on TensorFlow: quietly, on the CPU, with two threads."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same sums on every machine
    return import_module("keras")


def _compile(network: Any, length: int, width: int) -> Any:
    import tensorflow as tf

    spec = tf.TensorSpec((None, length, width), tf.float32)
    return tf.function(lambda inputs: network(inputs, training=False), input_signature=[spec])


def quantiles(outputs: Floats) -> Floats:
    """Return (rows, horizons, levels) from the network's outputs: median in the middle, positive steps around it."""
    raw = outputs.reshape(-1, len(HORIZONS), len(LEVELS))
    step = np.logaddexp(0.0, raw)  # softplus
    median = raw[..., 2]
    return np.stack(
        [
            median - step[..., 1] - step[..., 0],
            median - step[..., 1],
            median,
            median + step[..., 3],
            median + step[..., 3] + step[..., 4],
        ],
        axis=-1,
    )


def _pinball(keras: ModuleType) -> Any:
    """Quantile loss on the network's outputs, the same shape as `quantiles`."""
    ops = keras.ops
    levels = ops.convert_to_tensor(LEVELS.astype(np.float32))

    def loss(actual: Any, outputs: Any) -> Any:
        raw = ops.reshape(outputs, (-1, len(HORIZONS), len(LEVELS)))
        step, median = ops.softplus(raw), raw[..., 2]
        low, high = median - step[..., 1], median + step[..., 3]
        predicted = ops.stack([low - step[..., 0], low, median, high, high + step[..., 4]], axis=-1)
        gap = actual[..., None] - predicted
        return ops.mean(ops.maximum(levels * gap, (levels - 1) * gap), axis=(1, 2))

    return loss


def _network(keras: ModuleType, units: int) -> Any:
    wide, narrow = (float(np.log(np.expm1(width))) for width in NORMAL_WIDTHS)
    bias = np.tile([wide, narrow, 0.0, narrow, wide], len(HORIZONS))
    inputs = keras.Input((LENGTH, len(NAMES)))
    memory = keras.layers.LSTM(units)(inputs)
    newest = keras.layers.Flatten()(keras.layers.Cropping1D((LENGTH - 1, 0))(inputs))
    outputs = keras.layers.Dense(
        len(bias), kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.0)
    )
    joined = outputs(keras.layers.Concatenate()([memory, newest]))
    network = keras.Model(inputs, joined)
    outputs.set_weights([outputs.get_weights()[0], bias.astype(np.float32)])  # it starts as a normal distribution
    return network


def fit(data: Dataset, split: Split, options: ForecastOptions = ForecastOptions()) -> ForecastModel:
    """Fit on the split's first part, correct on its second. The same rows give the same model."""
    keras = import_keras()
    keras.utils.set_random_seed(SEED)
    rows = thin(split.fit, options.most_rows, SEED)
    windows = data.sequences(rows, NAMES, LENGTH)
    mean, scale = windows[:, -1].mean(axis=0), windows[:, -1].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    network = _network(keras, options.units)
    steps = max(options.epochs * len(rows) // options.batch, 1)
    schedule = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps)
    network.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0), loss=_pinball(keras))
    network.fit(
        ((windows - mean) / scale).astype(np.float32),
        _targets(data, rows, windows).astype(np.float32),
        batch_size=options.batch,
        epochs=options.epochs,
        verbose=0,
    )
    plain = ForecastModel(network, mean, scale, np.ones(len(HORIZONS)), np.ones((len(HORIZONS), len(LEVELS))))
    held = thin(split.calibrate, options.most_rows, SEED)
    windows = data.sequences(held, NAMES, LENGTH)
    shrink, stretch = corrections(plain.raw(windows), _targets(data, held, windows))
    return ForecastModel(network, mean, scale, shrink, stretch)


def _targets(data: Dataset, rows: Any, windows: Floats) -> Floats:
    """Forward returns (rows, horizons) in units of the last day's volatility over each horizon."""
    unit = np.exp(windows[:, -1, NAMES.index("log_rms_24h")])
    actual = np.stack([data.labels[label][rows] for label in LABELS], axis=1)
    return np.clip(actual / unit[:, None] / _spread(), -LIMIT, LIMIT)


def corrections(raw: Floats, actual: Floats) -> tuple[Floats, Floats]:
    """Return how far to shrink each horizon's median and to stretch each width so that quantiles hold on these rows."""
    shrink, stretch = np.ones(len(HORIZONS)), np.ones((len(HORIZONS), len(LEVELS)))
    for h in range(len(HORIZONS)):
        median = raw[:, h, 2]
        factors = np.linspace(0, 1, 11)
        errors = [float(np.abs(actual[:, h] - factor * median).mean()) for factor in factors]
        shrink[h] = factors[int(np.argmin(errors))]
        rest = actual[:, h] - shrink[h] * median
        for level in (0, 1, 3, 4):
            width = raw[:, h, level] - median
            stretch[h, level] = np.quantile(rest / width, max(LEVELS[level], 1 - LEVELS[level]))
    return shrink, np.clip(stretch, 0.2, 5.0)
