"""The consequences of a candle unlike any that the models know: wider intervals, no trade.

The forest of the anomaly model says how novel a candle is. On those that it calls novel the forecast's intervals held less
often than they promised, so they are widened; a signal learned from ordinary candles is not acted on.
"""

from __future__ import annotations

from ml.models.anomaly import FLAGGED
from quantstream.core.rolling import Floats

WIDER = 1.1  # of the distance to the median: what cost least on such candles of the development part
WHY = "the candle is unlike those the models know: no trade"


def is_novel(novelty: float | None) -> bool:
    """Return whether a candle's novelty says that it is like none before; without an anomaly model nothing is novel."""
    return novelty is not None and novelty >= FLAGGED


def widened(quantiles: Floats, novelty: float | None) -> Floats:
    """Return quantiles (horizons, levels), farther from their median where the candle is novel."""
    if not is_novel(novelty):
        return quantiles
    median = quantiles[:, quantiles.shape[1] // 2, None]
    result: Floats = median + WIDER * (quantiles - median)
    return result
