"""Makers of the values that the page's tests are about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE
from quantstream.messages.payloads import Anomaly, Forecast, Score, Signal

STEP = 5 * MINUTE
MIDNIGHT = 1_768_521_600_000_000  # 2026-01-16 00:00 UTC


@pytest.fixture
def candle() -> Callable[..., Candle]:
    """A candle opened `index` steps after midnight that closes at `close` and trades `volume` at that price."""

    def make(index: int, close: float = 100.0, volume: float = 2.0, **changes: object) -> Candle:
        price, amount = round(close * UNIT), round(volume * UNIT)
        fields = {
            "symbol": "BTCUSDT", "interval": "5m", "opened_at": MIDNIGHT + index * STEP, "open": price, "high": price,
            "low": price, "close": price, "volume": amount, "quote_volume": price * amount, "trade_count": 1,
            "taker_buy_volume": 0, "taker_buy_quote_volume": 0, "first_trade_id": 1, "last_trade_id": 1, "is_complete": True,
        }  # fmt: skip
        return Candle(**(fields | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def score() -> Callable[..., Score]:
    """A whole score of the candle at midnight."""

    def make(**changes: object) -> Score:
        forecasts = [
            Forecast("5m", [0.1, 0.5, 0.9], [-0.01, 0.0, 0.01], [99.0, 100.0, 101.0]),
            Forecast("15m", [0.1, 0.5, 0.9], [-0.03, 0.0, 0.03], [97.0, 100.0, 103.0]),
        ]
        fields = {
            "symbol": "BTCUSDT", "interval": "5m", "opened_at": MIDNIGHT, "revision": 0, "close": 100.0, "scored_at": MIDNIGHT,
            "feature_hash": "ab", "forecasts": forecasts, "signal": Signal("Buy", 0.58, 0.29, 0.13), "risk": 41.0,
            "novelty": 0.31, "reasons": ["momentum is <high>"], "models": {"quantstream-risk": "2"},
        }  # fmt: skip
        return Score(**(fields | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def anomaly() -> Callable[..., Anomaly]:
    """A flagged trade `seconds` after midnight."""

    def make(seconds: int = 10, **changes: object) -> Anomaly:
        fields = {
            "symbol": "BTCUSDT", "trade_id": seconds, "traded_at": MIDNIGHT + seconds * 1_000_000, "price": 105 * UNIT,
            "quantity": UNIT // 2, "buyer_is_maker": False, "score": 0.93, "reasons": ["price <far> away"],
            "model": "quantstream-anomaly/1", "detected_at": MIDNIGHT,
        }  # fmt: skip
        return Anomaly(**(fields | changes))  # type: ignore[arg-type]

    return make
