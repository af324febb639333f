"""Anomaly: isolation forests that say how strange a trade (a fat finger?) and a candle (a novelty?) are.

A trade is flagged only if a person could be told why: its price is far off, or its size is huge and moved the price. The
forest then says whether such a trade is unusual in this market. So nearly all trades cost a few comparisons, not a forest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ml.data import trade_features
from ml.models.base import Model
from ml.models.parts.flat_forest import FlatForest
from quantstream.core.rolling import Floats

NAMES = (
    "momentum_5m",
    "log_range_5m",
    "log_move_5m",
    "relative_volume_5m",
    "taker_imbalance_5m",
    "jump_share_1h",
    "bollinger_width",
    "vwap_distance_24h",
)
DEVIATION, MOVE, SIZE = 0, 1, 2  # places in trade_features.NAMES
FAR = 6.0  # σ from the rolling VWAP, and against the last trade, that no ordinary trade shows
MOVED = 3.0  # σ from the VWAP that a huge trade leaves the price at
HUGE = float(np.log(50))  # times the usual size
TRADE_QUANTILE = 0.99  # of the forest's strangeness over ordinary trades: rarer is strange
CANDLE_QUANTILE = 0.99
FLAGGED = 0.5
SEED = 3
TREES = 60
SAMPLES = 512
MOST_ROWS = 100_000
TRUSTED = (
    "sklearn.ensemble._iforest.IsolationForest",
    "sklearn.tree._classes.ExtraTreeRegressor",
    "sklearn.tree._tree.Tree",
)


@dataclass(frozen=True)
class Forest:
    """An isolation forest whose strangeness is scaled so that 0.5 is the chosen quantile of ordinary rows."""

    flat: FlatForest
    middle: float
    width: float
    fitted: Any = None  # the sklearn.ensemble.IsolationForest it was made of, where it was just fitted

    def score(self, rows: Floats) -> Floats:
        """Return (rows,) in 0..1; above 0.5 is strange."""
        if not len(rows):
            return np.zeros(0)
        strangeness = -self.flat.score_samples(_squeeze(rows))
        return np.asarray(1 / (1 + np.exp(-(strangeness - self.middle) / self.width)), dtype=np.float64)


@dataclass
class AnomalyModel(Model):
    """One forest for trades, one for candles."""

    kind: ClassVar[str] = "anomaly"
    trades: Forest
    candles: Forest
    names: tuple[str, ...] = NAMES
    threshold: float = FLAGGED

    def predict(self, windows: Floats) -> Floats:
        """Return (rows,): novelty of each candle, above 0.5 is novel."""
        return self.candles.score(windows[:, -1])

    def score_trades(self, rows: Floats) -> Floats:
        """Return (rows,) in 0..1 for rows of `trade_features.NAMES`; at `threshold` and above it is an anomaly."""
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, len(trade_features.NAMES))
        size = np.abs(rows)
        scores = FLAGGED * 0.98 * np.minimum(size[:, DEVIATION] / FAR, 1.0)
        suspects = np.flatnonzero(suspicious(rows))
        if len(suspects):
            strange = np.maximum(self.trades.score(rows[suspects]), scores[suspects])
            # far beyond anything ordinary the forest tells nothing more apart: its outermost leaf is as far as it sees
            deviation, move = size[suspects, DEVIATION], size[suspects, MOVE]
            beyond = 1 - FAR / (2 * np.maximum(deviation, FAR))
            is_beyond = (deviation >= 2 * FAR) | ((deviation >= FAR) & (move >= 2 * FAR))
            scores[suspects] = np.where(is_beyond, np.maximum(strange, beyond), strange)
        return scores

    def explain(self, row: npt.ArrayLike) -> list[str]:
        """Return what is strange about one trade, as sentences; empty when nothing is."""
        deviation, move, size, gap, run = np.asarray(row, dtype=np.float64)
        found = []
        if abs(deviation) >= MOVED:
            found.append(f"price {abs(deviation):.1f} σ {'above' if deviation > 0 else 'below'} the rolling VWAP")
        if abs(move) >= MOVED:
            found.append(f"{abs(move):.1f} σ {'up' if move > 0 else 'down'} from the trade before")
        if size >= np.log(10):
            found.append(f"{np.exp(min(size, 50.0)):.0f} times the usual size")
        if run >= np.log1p(50):
            found.append(f"{np.expm1(run):.0f} trades in a row on the same side")
        if gap >= np.log(100):
            found.append("after an unusually long silence")
        return found

    def warm(self) -> None:
        """Judge once a candle and a trade that both forests must look at."""
        super().warm()
        self.trades.score(np.zeros((1, len(trade_features.NAMES))))

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "scikit-learn", "skops")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the forests: the arrays that serve, and beside them the library's own, for whoever wants to look into it."""
        import skops.io

        parts = {"trades": self.trades, "candles": self.candles}
        for name, part in parts.items():
            part.flat.write(folder / f"{name}.npz")
            if part.fitted is not None:
                skops.io.dump(part.fitted, folder / f"{name}.skops")
        return {name: {"middle": part.middle, "width": part.width} for name, part in parts.items()}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> AnomalyModel:
        """Read the forests; a file that holds anything but numbers is refused."""
        flat = {name: _read_forest(folder, name) for name in ("trades", "candles")}
        return cls(Forest(flat["trades"], **state["trades"]), Forest(flat["candles"], **state["candles"]))


def _read_forest(folder: Path, name: str) -> FlatForest:
    if (file := folder / f"{name}.npz").exists():
        return FlatForest.read(file)
    import skops.io  # a version that was registered before arrays were kept
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return FlatForest.of(skops.io.load(folder / f"{name}.skops", trusted=list(TRUSTED)))
    except UntrustedTypesFoundException as error:
        raise ValueError(str(error)) from error


def suspicious(rows: Floats) -> npt.NDArray[np.bool_]:
    """Return which trades are far off in price, or huge and moving the price."""
    deviation, move, size = np.abs(rows[:, DEVIATION]), np.abs(rows[:, MOVE]), rows[:, SIZE]
    far = (deviation >= FAR) & (move >= FAR)
    huge = (size >= HUGE) & (move >= FAR) & (deviation >= MOVED)
    return np.asarray(far | huge, dtype=np.bool_)


def fit(trades: Floats, candles: Floats) -> AnomalyModel:
    """Fit on rows of `trade_features.NAMES` and rows of candle features `NAMES`, taken as mostly ordinary."""
    return AnomalyModel(_forest(trades, TRADE_QUANTILE), _forest(candles, CANDLE_QUANTILE))


def _forest(rows: Floats, quantile: float) -> Forest:
    from sklearn.ensemble import IsolationForest

    if len(rows) > MOST_ROWS:
        rows = rows[np.sort(np.random.default_rng(SEED).choice(len(rows), MOST_ROWS, replace=False))]
    forest = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, len(rows)), random_state=SEED, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        forest.fit(_squeeze(rows))
    strangeness = -forest.score_samples(_squeeze(rows))
    width = max(float(strangeness.std()) / 2, 1e-6)
    return Forest(FlatForest.of(forest), float(np.quantile(strangeness, quantile)), width, forest)


def _squeeze(rows: Floats) -> Floats:
    """Bring heavy tails within reach of random cuts."""
    return np.asarray(np.arcsinh(np.clip(rows, -1e6, 1e6)), dtype=np.float64)
