"""The forecast's network in Keras: an LSTM over the last candles beside the newest one, its quantiles and its loss.

TensorFlow takes seconds to import: it is imported when a network is built or loaded, not before.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from quantstream.core.rolling import Floats
from quantstream.messages.models import HORIZONS
from quantstream.messages.models import LEVELS as QUANTILES

LEVELS = np.array(QUANTILES)
NORMAL_WIDTHS = (0.971, 0.674)  # from the 75 % to the 95 % quantile of a normal, and from the median to the 75 %


def import_keras() -> ModuleType:
    """Import Keras on TensorFlow: quietly, on the CPU, with two threads."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same sums on every machine
    return import_module("keras")


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


def pinball(keras: ModuleType) -> Any:
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


def build(keras: ModuleType, units: int, length: int, width: int) -> Any:
    """Return an untrained network that reads (rows, length, width) and starts as a normal distribution."""
    wide, narrow = (float(np.log(np.expm1(width))) for width in NORMAL_WIDTHS)
    bias = np.tile([wide, narrow, 0.0, narrow, wide], len(HORIZONS))
    inputs = keras.Input((length, width))
    memory = keras.layers.LSTM(units)(inputs)
    newest = keras.layers.Flatten()(keras.layers.Cropping1D((length - 1, 0))(inputs))
    outputs = keras.layers.Dense(
        len(bias), kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.0)
    )
    joined = outputs(keras.layers.Concatenate()([memory, newest]))
    network = keras.Model(inputs, joined)
    outputs.set_weights([outputs.get_weights()[0], bias.astype(np.float32)])  # it starts as a normal distribution
    return network
