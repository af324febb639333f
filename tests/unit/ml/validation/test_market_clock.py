"""Whether a day's moves come when the market's come: quiet days are never taken for shifted ones, shifted ones are found."""

from __future__ import annotations

import numpy as np
import pytest

from ml.validation.candle_frames import LENGTH, _clock_lags
from ml.validation.market import Market, market_of
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, MINUTE

DAYS, SYMBOLS = 120, 9
ROWS = DAY // LENGTH
AT = np.arange(DAYS * ROWS) * LENGTH
ZONE = 8 * 60  # minutes


def closes(share: float, seed: int) -> list[Floats]:
    """Prices of symbols that move together, wildly and in clusters, each traded in a share of the windows."""
    rng = np.random.default_rng(seed)
    common, found = rng.standard_t(3, len(AT)), []
    for _ in range(SYMBOLS):
        waves = np.convolve(rng.normal(0, 0.3, len(AT) + 60), 0.97 ** np.arange(60), "valid")[: len(AT)]
        path = np.cumsum((0.8 * common + 0.6 * rng.standard_t(3, len(AT))) * 0.0006 * np.exp(waves))
        is_traded = rng.random(len(AT)) < share
        found.append(100 * np.exp(path[np.maximum.accumulate(np.where(is_traded, np.arange(len(AT)), 0))]))
    return found


def market(found: list[Floats]) -> Market:
    return market_of({f"S{i}": (AT, close) for i, close in enumerate(found)}, LENGTH)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.6, 1.0])
def test_a_day_of_few_moves_is_not_taken_for_one_of_another_time_zone(share: float) -> None:
    found = closes(share, 1)
    together = market(found)
    late = [int((_clock_lags(close, together.moves(f"S{i}", AT)) != 0).sum()) for i, close in enumerate(found)]
    assert late == [0] * SYMBOLS


def test_a_day_of_another_time_zone_is_found_also_where_single_moves_are_huge() -> None:
    found = closes(1.0, 2)
    together = market(found)
    shifted = np.roll(found[0], ZONE * MINUTE // LENGTH)
    lags = _clock_lags(shifted, together.moves("S0", AT))
    assert set(lags) <= {0.0, float(ZONE)}
    assert (lags == ZONE).mean() > 0.9
