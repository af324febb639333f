"""A version of a model in memory, as the live stages hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from ml.models.anomaly import AnomalyModel
from ml.models.base import Model
from quantstream.core.errors import ModelRejected
from quantstream.core.rolling import Floats


@dataclass(frozen=True)
class LoadedModel:
    """A registered model's version, checked and ready."""

    name: str
    version: str
    feature_hash: str
    model: Model
    size_bytes: int = 0  # of all its files
    registered_at: int = 0  # µs, the registry's clock; 0 where it is not known

    def is_stale(self, now_us: int, limit_us: int) -> bool:
        """Tell whether it is older than it should be; of one whose age is not known nothing is said."""
        return 0 < self.registered_at < now_us - limit_us

    def warm(self) -> None:
        """Predict once on made-up input.

        Raises: ModelRejected when it cannot.
        """
        try:
            self.model.warm()
        except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            raise ModelRejected(f"{self.name} {self.version} does not predict: {error}") from error

    @property
    def threshold(self) -> float:
        """The score at which a trade is an anomaly."""
        return self._anomaly.threshold

    def score_trades(self, rows: Floats) -> Floats:
        """Return (rows,) in 0..1 for rows of `trade_features.NAMES`; only of the anomaly model."""
        return self._anomaly.score_trades(rows)

    def explain(self, row: npt.ArrayLike) -> list[str]:
        """Return what is strange about one trade; only of the anomaly model."""
        return self._anomaly.explain(row)

    @property
    def _anomaly(self) -> AnomalyModel:
        if not isinstance(self.model, AnomalyModel):
            raise TypeError(f"{self.name} does not judge trades")
        return self.model
