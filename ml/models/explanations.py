"""A model's reasons in words: each feature's name for a person, and the strongest contributions as sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantstream.core.rolling import Floats

WORDS = {
    "momentum_5m": "move of the last 5 minutes",
    "momentum_15m": "move of the last 15 minutes",
    "momentum_1h": "move of the last hour",
    "momentum_4h": "move of the last 4 hours",
    "momentum_24h": "move of the last day",
    "log_rms_15m": "volatility of the last 15 minutes",
    "log_rms_30m": "volatility of the last half hour",
    "log_rms_1h": "volatility of the last hour",
    "log_rms_2h": "volatility of the last 2 hours",
    "log_rms_6h": "volatility of the last 6 hours",
    "log_rms_24h": "volatility of the last day",
    "log_rms_7d": "volatility of the last week",
    "log_rms_30d": "volatility of the last month",
    "log_threshold_30d": "month's 90th percentile of volatility",
    "log_parkinson_5m": "high-low range of the last candle",
    "log_parkinson_15m": "high-low range of the last 15 minutes",
    "log_parkinson_30m": "high-low range of the last half hour",
    "log_parkinson_1h": "high-low range of the last hour",
    "log_parkinson_2h": "high-low range of the last 2 hours",
    "log_parkinson_6h": "high-low range of the last 6 hours",
    "log_parkinson_24h": "high-low range of the last day",
    "log_parkinson_7d": "high-low range of the last week",
    "log_garman_klass_1h": "range and body of the last hour's candles",
    "log_garman_klass_6h": "range and body of the last 6 hours' candles",
    "log_rogers_satchell_6h": "range of the last 6 hours, trend aside",
    "log_yang_zhang_24h": "range of the last day, trend and gaps included",
    "log_bipower_1h": "volatility of the last hour, jumps aside",
    "log_bipower_6h": "volatility of the last 6 hours, jumps aside",
    "log_bipower_24h": "volatility of the last day, jumps aside",
    "log_mean_move_1h": "usual move of a candle in the last hour",
    "log_mean_move_6h": "usual move of a candle in the last 6 hours",
    "log_mean_move_24h": "usual move of a candle in the last day",
    "log_max_move_1h": "largest move of a candle in the last hour",
    "log_max_move_24h": "largest move of a candle in the last day",
    "log_span_6h": "way from low to high of the last 6 hours",
    "log_span_24h": "way from low to high of the last day",
    "log_range_5m": "range of the last candle",
    "log_move_5m": "size of the last move",
    "jump_share_1h": "share of jumps in the last hour",
    "down_share_6h": "share of falls in the last 6 hours",
    "log_seasonal_rms_7d": "usual volatility of the coming hour of the day",
    "log_seasonal_range_28d": "usual range of the coming hour of the day",
    "seasonal_turn_28d": "how much louder the coming hour of the day usually is",
    "relative_volume_5m": "volume of the last candle",
    "relative_volume_15m": "volume of the last 15 minutes",
    "relative_volume_1h": "volume of the last hour",
    "relative_volume_6h": "volume of the last 6 hours",
    "seasonal_volume_14d": "volume of the last hour against its usual",
    "taker_imbalance_5m": "takers' buying in the last candle",
    "taker_imbalance_1h": "takers' buying in the last hour",
    "vwap_distance_24h": "distance from the day's VWAP",
    "bollinger_position": "place in the Bollinger Bands",
    "bollinger_width": "width of the Bollinger Bands",
    "range_position_24h": "place in the day's range",
    "hour_sin": "hour of the day",
    "hour_cos": "hour of the day",
    "half_day_sin": "hour of the half day",
    "half_day_cos": "hour of the half day",
    "week_sin": "day of the week",
    "week_cos": "day of the week",
    "new_york_hour_sin": "hour of the day in New York",
    "new_york_hour_cos": "hour of the day in New York",
    "new_york_half_day_sin": "hour of the half day in New York",
    "new_york_half_day_cos": "hour of the half day in New York",
    "new_york_weekend_1h": "weekend in New York",
    "log_seasonal_range_weekly_28d": "usual range of the coming hour of the week",
    "log_rms_q50_30d": "month's median volatility",
    "log_rms_q75_30d": "month's upper quartile of volatility",
    "log_rms_q97_30d": "month's 97th percentile of volatility",
    "parkinson_15m_unusual_30d": "range of the last 15 minutes against the month's",
    "parkinson_1h_unusual_30d": "range of the last hour against the month's",
    "parkinson_6h_unusual_30d": "range of the last 6 hours against the month's",
    "fed_decision_next_1h": "Federal Reserve's decision within the hour",
    "fed_decision_past_1h": "Federal Reserve's decision just over",
    "consumer_prices_next_1h": "U.S. consumer prices within the hour",
    "consumer_prices_past_1h": "U.S. consumer prices just out",
    "employment_next_1h": "U.S. employment report within the hour",
    "employment_past_1h": "U.S. employment report just out",
}
MOST = 3  # reasons a person reads


def strongest(names: Sequence[str], values: Floats, contributions: Floats, towards: str) -> list[str]:
    """Return sentences on the features that speak most for `towards`: `values` and `contributions` are (names,)."""
    order = np.argsort(-contributions, kind="stable")[:MOST]
    return [
        f"{WORDS.get(names[i], names[i])} ({values[i]:+.2f}) speaks for {towards}"
        for i in order
        if contributions[i] > 0
    ]
