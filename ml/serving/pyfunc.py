"""How MLflow serves our models: the loader module of the pyfunc flavor, so that `mlflow models serve` and any client work.

The live scorer does not come through here; it loads the same folder by `ml.serving.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.models import base
from quantstream.core.rolling import Floats


@dataclass(frozen=True)
class Served:
    """A model as MLflow calls it."""

    model: base.Model

    def predict(self, windows: Floats) -> Floats:
        """Return predictions from (rows, length, names) features, in the order the model's manifest names them."""
        return self.model.predict(np.asarray(windows, dtype=np.float64))


def _load_pyfunc(path: str) -> Served:
    return Served(base.load(Path(path)))
