"""What models read of each symbol: the features of its last candles, kept, so that a new candle costs one row.

The rows before it are computed again where the history was changed elsewhere than at its end, or does not go on from them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """The rows of one symbol: the newest is that of the candle at `at`."""

    at: int
    edits: int
    rows: Floats  # (length, names)


class Inputs:
    """The newest rows of features of all symbols."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def of(self, histories: Mapping[str, features.Series], length: int) -> dict[str, Floats | DataRejected]:
        """Return each symbol's last rows, (length, `features.NAMES`), NaN where unknown, or why there are none.

        All symbols are computed together; none of them is empty.
        """
        going_on = [symbol for symbol, series in histories.items() if self._goes_on(symbol, series, length)]
        begun = [symbol for symbol in histories if symbol not in set(going_on)]
        found = _computed(histories, begun, length)
        for symbol, newest in _computed(histories, going_on, 1).items():
            found[symbol] = newest
            if not isinstance(newest, DataRejected):
                found[symbol] = np.concatenate([self._kept[symbol].rows[1:], newest])
        for symbol, rows in found.items():
            if isinstance(rows, DataRejected):
                self._kept.pop(symbol, None)
            else:
                self._kept[symbol] = _Kept(int(histories[symbol].at[-1]), histories[symbol].edits, rows)
        return found

    def _goes_on(self, symbol: str, series: features.Series, length: int) -> bool:
        kept = self._kept.get(symbol)
        if kept is None or kept.edits != series.edits or len(kept.rows) != length:
            return False
        return kept.at + features.STEP_US == int(series.at[-1])


def _computed(
    histories: Mapping[str, features.Series], symbols: Sequence[str], rows: int
) -> dict[str, Floats | DataRejected]:
    """The last rows of some symbols; where one of them is odd, each by itself."""
    if not symbols:
        return {}
    try:
        return dict(zip(symbols, features.newest([histories[symbol] for symbol in symbols], rows), strict=True))
    except DataRejected as error:
        if len(symbols) == 1:
            return {symbols[0]: error}
    except Exception as error:
        log.exception("features failed", extra={"symbols": len(symbols)})
        if len(symbols) == 1:
            return {symbols[0]: DataRejected(f"its features failed: {type(error).__name__}: {error}")}
    found: dict[str, Floats | DataRejected] = {}
    for symbol in symbols:
        found |= _computed(histories, [symbol], rows)
    return found
