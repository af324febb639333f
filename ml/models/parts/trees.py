"""Gradient-boosted trees by XGBoost: fitted the same way every time, saved as UBJ, explained by their own contributions.

Rows that do not fit memory come in batches: XGBoost keeps the bins of their values on disk, a byte each, and reads them once a
tree (its external memory). The trees are those that it would have grown of all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xgboost

from quantstream.core.rolling import Floats

THREADS = 2
FIXED: dict[str, Any] = {
    "tree_method": "hist",
    "max_bin": 64,
    "subsample": 0.7,
    "colsample_bytree": 0.4,
    "min_child_weight": 50,  # five-minute rows overlap: a leaf of fewer learns one afternoon
    "reg_lambda": 20.0,
    "nthread": THREADS,
    "verbosity": 0,
}


@dataclass(frozen=True)
class Trees:
    """A booster over `names`."""

    booster: xgboost.Booster
    names: tuple[str, ...]

    def margins(self, columns: Floats) -> Floats:
        """Return the sum over the trees: (rows,) for one target or two classes, (rows, classes) for more."""
        return np.asarray(self.booster.inplace_predict(columns, predict_type="margin"), dtype=np.float64)

    def contributions(self, columns: Floats) -> Floats:
        """Return each feature's SHAP value on the margin, without the bias: (rows, names) or (rows, classes, names)."""
        matrix = xgboost.DMatrix(columns, nthread=1)
        return np.asarray(self.booster.predict(matrix, pred_contribs=True), dtype=np.float64)[..., :-1]

    def save(self, path: Path) -> None:
        """Write the booster."""
        self.booster.save_model(path)


def fit(
    columns: Floats,
    targets: Floats,
    names: tuple[str, ...],
    rounds: int,
    seed: int,
    base: Floats | None = None,
    **extra: Any,
) -> Trees:
    """Fit so many trees; the same rows give the same trees.

    With `base`, what somebody else says on the scale of the margins, they learn only what that leaves over; the margins are then
    theirs alone, to be added to it.
    """
    matrix = xgboost.DMatrix(columns, label=targets, nthread=THREADS)
    if base is not None:
        matrix.set_base_margin(base)
        extra["base_score"] = (
            0.5 if extra["objective"] == "binary:logistic" else 0.0
        )  # a margin of 0 where there is no base
    return Trees(xgboost.train({**FIXED, "seed": seed, **extra}, matrix, num_boost_round=rounds), names)


class _Batches(xgboost.DataIter):  # type: ignore[misc]  # the library has no types
    """Batches as XGBoost asks for them: from the first one, as often as it likes."""

    def __init__(self, batches: Callable[[], Iterator[tuple[Floats, Floats]]], cache: str) -> None:
        self._begin = batches
        self._rest = batches()
        super().__init__(cache_prefix=cache, release_data=True)

    def next(self, input_data: Any) -> bool:
        """Hand over the next one; return whether there was one."""
        for columns, targets in self._rest:
            input_data(data=columns, label=targets)
            return True
        return False

    def reset(self) -> None:
        """Begin anew."""
        self._rest = self._begin()


def fit_batches(
    batches: Callable[[], Iterator[tuple[Floats, Floats]]], names: tuple[str, ...], rounds: int, seed: int, **extra: Any
) -> Trees:
    """Fit so many trees on rows that come in batches of (rows, names) and their targets, the same each time they are begun."""
    settings = {**FIXED, "seed": seed, **extra}
    with TemporaryDirectory(prefix="quantstream-trees-") as folder:
        rows = _Batches(batches, f"{folder}/bins")
        matrix = xgboost.ExtMemQuantileDMatrix(rows, max_bin=settings["max_bin"], nthread=THREADS)
        booster = xgboost.train(settings, matrix, num_boost_round=rounds)
        del matrix, rows  # their files are closed before the folder goes
    return Trees(booster, names)


def load(path: Path, names: tuple[str, ...]) -> Trees:
    """Read a booster.

    Raises: ValueError when it is not one, or of another width.
    """
    booster = xgboost.Booster({"nthread": 1})  # a handful of rows: threads cost more than they bring
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as error:
        raise ValueError(f"{path.name} is not an XGBoost model") from error
    if booster.num_features() != len(names):
        raise ValueError(f"{path.name} reads {booster.num_features()} features, not {len(names)}")
    return Trees(booster, names)
