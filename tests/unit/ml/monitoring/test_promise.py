"""What a day as promised may come to: seldom exceeded in a simulated market that stays as it is, whatever its volatility does."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ml.monitoring.outcomes import of_forecast
from ml.monitoring.promise import Promise
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, SECOND
from streaming.exchange.market.market_klines import klines, windows_between
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from tests.unit.ml.monitoring.watched import SteadyForecast

BEGINS_AT = 1_759_795_200 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT")
DAYS, CANDLES = 40, 288


@cache
def losses(seed: int) -> Floats:
    """The mean loss at each candle of a forecast that never learns, over forty days."""
    end = BEGINS_AT + DAYS * DAY
    market = SyntheticMarket(MarketSeed(seed, end, DAYS, 0.3), list(SYMBOLS))
    windows = windows_between("5m", BEGINS_AT, end - 1, 20_000)
    found = []
    for symbol in SYMBOLS:
        closes = np.log([kline.close for kline in klines(market, symbol, "5m", windows, end)])
        came = np.stack([closes[ahead : len(closes) - 12 + ahead] - closes[:-12] for ahead in (1, 3, 12)], axis=1)
        found.append(of_forecast(SteadyForecast(0.0015).predict(np.zeros((len(came), 1, 1))), came)[1])
    return np.mean(found, axis=0)


def promised(loss: Floats, days: int) -> Promise:
    quarters = [float(loss[start : start + 72].mean()) for start in range(0, days * CANDLES, 72)]
    return Promise(1, list(SYMBOLS), days * CANDLES, quarters, [])


@pytest.mark.parametrize("judged", [3, 9])  # days that a version was judged on
def test_hardly_a_day_of_a_market_that_stays_as_it_is_exceeds_what_was_promised(judged: int) -> None:
    days, worse = 0, 0
    for seed in range(6):
        loss = losses(seed)
        bound = promised(loss, judged).bound
        later = [loss[start : start + CANDLES] for start in range((judged + 1) * CANDLES, len(loss) - CANDLES, CANDLES)]
        worse += sum(bool(day.mean() > bound) for day in later)
        days += len(later)
    assert worse <= 0.01 * days, (worse, days)


def test_a_loss_that_trebles_exceeds_it() -> None:
    found = promised(losses(0), 9)
    assert 3 * found.loss > found.bound > found.loss


def test_of_too_few_quarters_nothing_is_promised() -> None:
    assert np.isnan(promised(losses(0), 2).bound)
