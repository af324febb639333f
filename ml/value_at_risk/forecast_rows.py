"""Forecasts of one symbol as rows of the lake's table `value_at_risk`, and the same computed anew from the candles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.value_at_risk.loss_tail import LEVELS
from ml.value_at_risk.observations import HORIZONS, Observations
from ml.value_at_risk.symbol_risk import LEAD, VERSION, Fitted, SymbolRisk, day_of, fit, risk_at
from quantstream import features
from quantstream.core.time import utc
from quantstream.features.history_digests import Digests, candle_digests, summed
from quantstream.lake.schemas import SCHEMAS, VALUE_AT_RISK

Row = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """When forecasts are made and what candles were known by (our clock)."""

    made_at: datetime
    known_by: datetime


def forecasts(
    symbol: str, candles: pd.DataFrame, seen: Observations, hours: Iterable[int], moment: Moment
) -> Iterator[Row]:
    """Yield the rows of the closes `hours` (µs, in order) of one symbol's candles, which reach back as `LEAD` says.

    `seen` is what is observed of the candles. An hour whose candle is missing has no row. Raises: DataRejected where the history
    is too short.
    """
    fitted: Fitted | None = None
    opened_at, digests = _digests(candles)
    for at in hours:
        if fitted is None or fitted.fitted_at != day_of(at):
            fitted = fit(symbol, seen, day_of(at))
        if seen.place(at) is not None:
            used = (opened_at >= day_of(at) - LEAD) & (opened_at < at)
            yield from _rows(risk_at(symbol, seen, fitted, at), moment, f"{summed(digests[used]):016x}")


def _digests(candles: pd.DataFrame) -> tuple[npt.NDArray[np.int64], Digests]:
    """When each candle opened (µs), and its digest."""
    series = features.series_of(candles)
    nothing = np.full(len(series), np.nan)
    return series.at, candle_digests(
        series.at, np.stack([series.columns.get(name, nothing) for name in features.COLUMNS])
    )


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Return rows as the lake takes them."""
    return pa.Table.from_pylist(rows, pa.schema([one for one in SCHEMAS[VALUE_AT_RISK] if one.name != "date"]))


def _rows(now: SymbolRisk, moment: Moment, digest: str) -> Iterator[Row]:
    for horizon in HORIZONS:
        sides = {"long": now.long(horizon.name), "short": now.short(horizon.name)}
        yield {
            "symbol": now.symbol,
            "horizon": horizon.name,
            "told_at": utc(now.at),
            **moment.__dict__,
            "version": VERSION,
            "close": now.close,
            "sigma": now.sigma[horizon.name],
            "levels": list(LEVELS),
            **{f"var_{side}": [found[level].value_at_risk for level in LEVELS] for side, found in sides.items()},
            **{f"es_{side}": [found[level].expected_shortfall for level in LEVELS] for side, found in sides.items()},
            "history_digest": digest,
        }
