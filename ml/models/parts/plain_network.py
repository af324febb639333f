"""The forecast's network as plain arrays: what Keras trained, without TensorFlow's half gigabyte, ten seconds and call overhead.

The arrays are taken from the Keras network once it is fitted, and must say of probes what Keras says; from then on they alone are
judged and served, so that what serves is what was judged. The Keras file stays beside them for whoever goes on training.

Equations: Hochreiter and Schmidhuber 1997, Gers et al. 2000; gates in Keras' order (input, forget, cell, output).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
PARTS = ("kernel", "recurrent", "bias", "out", "out_bias")  # in the order of the Keras network's weights
PROBES = 16
CLOSE = 1e-4  # singles have seven digits; a step of the memory loses a little


@dataclass(frozen=True)
class PlainNetwork:
    """An LSTM over the candles, and a line from its last state and the newest candle to the outputs."""

    kernel: Singles  # (names, 4 × units)
    recurrent: Singles  # (units, 4 × units)
    bias: Singles  # (4 × units,)
    out: Singles  # (units + names, outputs)
    out_bias: Singles  # (outputs,)

    def __call__(self, windows: Singles) -> Singles:
        """Return (rows, outputs) of (rows, length, names).

        Each row is multiplied by itself (the axis of one), for a product of many rows at once rounds each by where it stands
        among them: a symbol's score would depend on who else closed a candle.
        """
        rows, length, _ = windows.shape
        units = len(self.recurrent)
        hidden, cell = np.zeros((2, rows, 1, units), np.float32)
        seen = windows @ self.kernel + self.bias
        for step in range(length):
            gates = seen[:, step : step + 1] + hidden @ self.recurrent
            opened = _sigmoid(gates)
            cell = opened[..., units : 2 * units] * cell
            cell += opened[..., :units] * np.tanh(gates[..., 2 * units : 3 * units])
            hidden = opened[..., 3 * units :] * np.tanh(cell)
        outputs: Singles = np.concatenate([hidden, windows[:, -1:]], axis=2) @ self.out + self.out_bias
        return outputs[:, 0]


def taken(trained: Any, length: int, width: int) -> PlainNetwork:
    """Return a Keras network's arrays.

    Raises: ValueError when they do not say the same: the network is then of another shape than is known here.
    """
    network = PlainNetwork(*(np.asarray(part, np.float32) for part in trained.get_weights()))
    probes = _probes(length, width)
    return _checked(network, probes, np.asarray(trained(probes, training=False), np.float32))


def write(network: PlainNetwork, path: Path, length: int) -> None:
    """Write the arrays, and their predictions of probes, as an `npz` file."""
    probes = _probes(length, network.kernel.shape[0])
    arrays = {name: getattr(network, name) for name in PARTS} | {"probes": probes, "said": network(probes)}
    np.savez(path, **arrays)


def read(path: Path) -> PlainNetwork:
    """Return the network that `write` wrote.

    Raises: ValueError, KeyError or OSError when it is damaged or does not say here what it said where it was written.
    """
    with np.load(path, allow_pickle=False) as found:
        network = PlainNetwork(*(found[name] for name in PARTS))
        return _checked(network, found["probes"], found["said"])


def _checked(network: PlainNetwork, probes: Singles, predicted: Singles) -> PlainNetwork:
    if not np.allclose(network(probes), predicted, rtol=CLOSE, atol=CLOSE):
        raise ValueError("the network's arrays do not say what they should of the probes")
    return network


def _probes(length: int, width: int) -> Singles:
    return np.random.default_rng(0).normal(0, 1.5, (PROBES, length, width)).astype(np.float32)


def _sigmoid(values: Singles) -> Singles:
    half = np.float32(0.5)
    opened: Singles = half * np.tanh(half * values) + half  # never overflows
    return opened
