"""Every feature by name: its formula in code and in words, where it is from, its unit, and how far back it looks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from quantstream.core import time
from quantstream.features import price, volatility
from quantstream.features.grid import DAY, HOUR, MONTH, WEEK
from quantstream.features.releases import KINDS
from quantstream.features.volatility import Formula

CORSI = "Corsi 2009 (HAR)"
PARKINSON = "Parkinson 1980"
DAY_US, HALF_DAY_US, WEEK_US = time.DAY, 12 * time.HOUR, time.WEEK


@dataclass(frozen=True)
class Definition:
    """One feature: version of its formula, how many candles before its own a row reads, the formula, and its words."""

    version: int
    back: int
    formula: Formula
    words: str  # the formula for a person; σ is the RMS return of the last day, r a log return, n candles
    unit: str
    source: str = "this project"


def _momentum(window: int, words: str) -> Definition:
    return Definition(
        1,
        max(window, DAY),
        price.momentum(window),
        f"log(close / close {words} ago) / (σ √n)",
        "σ",
        "Moskowitz et al. 2012",
    )


def _log_rms(window: int) -> Definition:
    return Definition(1, window, volatility.log_rms(window), "log √mean(r²)", "log", CORSI)


def _log_parkinson(window: int, version: int = 1) -> Definition:
    words = "log √mean(log(high/low)² / (4 log 2))"
    return Definition(version, window - 1, volatility.log_parkinson(window), words, "log", PARKINSON)


def _log_garman_klass(window: int) -> Definition:
    words = "log √mean(½ log(high/low)² − (2 log 2 − 1) log(close/open)²)"
    return Definition(2, window - 1, volatility.log_garman_klass(window), words, "log", "Garman & Klass 1980")


def _log_mean_move(window: int) -> Definition:
    return Definition(1, window, volatility.log_mean_move(window), "log mean|r|", "log", "Forsberg & Ghysels 2007")


def _log_bipower(window: int) -> Definition:
    words = "log √(π/2 · mean(|r| · |r one candle ago|))"
    source = "Barndorff-Nielsen & Shephard 2004"
    return Definition(1, window + 1, volatility.log_bipower(window), words, "log", source)


def _relative_volume(window: int) -> Definition:
    words = "log(mean volume / mean volume of the last day + 0.01)"
    return Definition(1, DAY - 1, price.relative_volume(window), words, "log")


def _imbalance(window: int) -> Definition:
    words = "Σ(2 taker buys − volume) / Σ volume; 0 without taker volume"
    return Definition(1, window - 1, price.imbalance(window), words, "share", "Chordia & Subrahmanyam 2004")


def _season(period_us: int, wave: str, words: str) -> Definition:
    chosen = np.sin if wave == "sin" else np.cos
    return Definition(1, 0, price.season(period_us, chosen), f"{wave}(2π · time at close / {words})", "−1 to 1")


def _local(period_us: int, wave: str, words: str) -> Definition:
    chosen = np.sin if wave == "sin" else np.cos
    return Definition(
        1, 0, price.local_season(period_us, chosen), f"{wave}(2π · New York's time at close / {words})", "−1 to 1"
    )


def _quantile(quantile: float) -> Definition:
    words = f"log of the {quantile:.0%} quantile of the one-hour √mean(r²)".replace("%", " %")
    return Definition(1, MONTH + HOUR - 1, volatility.log_quantile(quantile), words, "log")


def _unusual(window: int) -> Definition:
    words = "(log Parkinson volatility − its mean) / its standard deviation, 30 days less 5 h"
    return Definition(
        1, window - 1 + volatility.USUAL - 1, volatility.unusual_parkinson(window), words, "standard deviations"
    )


def _release(kind: str, source: str) -> dict[str, Definition]:
    of, beyond = KINDS[kind][0], "0 if none is, also where the calendar of releases ends"
    return {
        f"{kind}_next_1h": Definition(
            1, 0, price.release_next(kind), f"1 if {of} is scheduled within the coming hour; {beyond}", "0 or 1", source
        ),
        f"{kind}_past_1h": Definition(
            1, 0, price.release_past(kind), f"1 if {of} was scheduled within the last hour; {beyond}", "0 or 1", source
        ),
    }


# A definition that changes its values takes the next version, and with it the hash.
DEFINITIONS: dict[str, Definition] = {
    "momentum_5m": _momentum(1, "5 minutes"),
    "momentum_15m": _momentum(3, "15 minutes"),
    "momentum_1h": _momentum(HOUR, "an hour"),
    "momentum_4h": _momentum(4 * HOUR, "4 hours"),
    "momentum_24h": _momentum(DAY, "a day"),
    "log_rms_15m": _log_rms(3),
    "log_rms_30m": _log_rms(6),
    "log_rms_1h": _log_rms(HOUR),
    "log_rms_2h": _log_rms(2 * HOUR),
    "log_rms_6h": _log_rms(6 * HOUR),
    "log_rms_24h": _log_rms(DAY),
    "log_rms_7d": _log_rms(WEEK),
    "log_rms_30d": _log_rms(MONTH),
    "log_threshold_30d": Definition(
        1, MONTH + HOUR - 1, volatility.log_threshold, "log of the 90th percentile of the one-hour √mean(r²)", "log"
    ),
    "log_parkinson_5m": _log_parkinson(1),
    "log_parkinson_15m": _log_parkinson(3),
    "log_parkinson_30m": _log_parkinson(6),
    "log_parkinson_1h": _log_parkinson(HOUR),
    "log_parkinson_2h": _log_parkinson(2 * HOUR),
    "log_parkinson_6h": _log_parkinson(6 * HOUR),
    "log_parkinson_24h": _log_parkinson(DAY),
    "log_parkinson_7d": _log_parkinson(WEEK),
    "log_garman_klass_1h": _log_garman_klass(HOUR),
    "log_garman_klass_6h": _log_garman_klass(6 * HOUR),
    "log_rogers_satchell_6h": Definition(
        1,
        6 * HOUR - 1,
        volatility.log_rogers_satchell(6 * HOUR),
        "log √mean(log(h/c) log(h/o) + log(l/c) log(l/o))",
        "log",
        "Rogers & Satchell 1991",
    ),
    "log_yang_zhang_24h": Definition(
        1,
        DAY,
        volatility.log_yang_zhang(DAY),
        "log √(mean(log(open/close before)²) + k mean(log(close/open)²) + (1 − k) Rogers–Satchell)",
        "log",
        "Yang & Zhang 2000",
    ),
    "log_bipower_1h": _log_bipower(HOUR),
    "log_bipower_6h": _log_bipower(6 * HOUR),
    "log_bipower_24h": _log_bipower(DAY),
    "log_mean_move_1h": _log_mean_move(HOUR),
    "log_mean_move_6h": _log_mean_move(6 * HOUR),
    "log_mean_move_24h": _log_mean_move(DAY),
    "log_max_move_1h": Definition(1, HOUR, volatility.log_max_move(HOUR), "log max|r|", "log"),
    "log_max_move_24h": Definition(1, DAY, volatility.log_max_move(DAY), "log max|r|", "log"),
    "log_span_6h": Definition(
        1, 6 * HOUR - 1, volatility.log_span(6 * HOUR), "log log(highest high / lowest low)", "log", PARKINSON
    ),
    "log_span_24h": Definition(
        1, DAY - 1, volatility.log_span(DAY), "log log(highest high / lowest low)", "log", PARKINSON
    ),
    "log_range_5m": Definition(1, DAY, volatility.log_range, "log(1 + log(high/low) / σ)", "log"),
    "log_move_5m": Definition(1, DAY, volatility.log_move, "log(1 + |r| / σ)", "log"),
    "jump_share_1h": Definition(
        1,
        HOUR + 1,
        volatility.jump_share,
        "1 − bipower variation / realised variance, within 0 and 1",
        "share",
        "Barndorff-Nielsen & Shephard 2004",
    ),
    "down_share_6h": Definition(
        1, 6 * HOUR, volatility.down_share, "Σ r² of falls / Σ r²", "share", "Barndorff-Nielsen et al. 2010"
    ),
    "log_seasonal_rms_7d": Definition(
        1,
        WEEK,
        volatility.seasonal_rms,
        "log √mean(r²) of the coming hour of the day, 7 days",
        "log",
        "Andersen & Bollerslev 1997",
    ),
    "log_seasonal_range_28d": Definition(
        1,
        28 * DAY - 1,
        volatility.seasonal_range,
        "mean of the log hourly Parkinson volatility of the coming hour of the day, 28 days",
        "log",
        "Andersen & Bollerslev 1997",
    ),
    "seasonal_turn_28d": Definition(
        1,
        28 * DAY + HOUR - 1,
        volatility.seasonal_turn,
        "the former for the coming hour less the same for the hour just over",
        "log",
        "Andersen & Bollerslev 1997",
    ),
    "relative_volume_5m": _relative_volume(1),
    "relative_volume_15m": _relative_volume(3),
    "relative_volume_1h": _relative_volume(HOUR),
    "relative_volume_6h": _relative_volume(6 * HOUR),
    "seasonal_volume_14d": Definition(
        1,
        14 * DAY + HOUR - 1,
        price.seasonal_volume,
        "log(volume of the last hour / mean of this hour of the day, 14 days, + 0.01)",
        "log",
    ),
    "taker_imbalance_5m": _imbalance(1),
    "taker_imbalance_1h": _imbalance(HOUR),
    "vwap_distance_24h": Definition(1, DAY, price.vwap_distance, "log(close / VWAP of the day) / (σ √n)", "σ"),
    "bollinger_position": Definition(
        1,
        19,
        price.bollinger_position,
        "(log close − mean) / (2 standard deviations), 20 candles",
        "bands",
        "Bollinger 2001",
    ),
    "bollinger_width": Definition(
        1, DAY, price.bollinger_width, "log(standard deviation of 20 log closes / σ)", "log", "Bollinger 2001"
    ),
    "range_position_24h": Definition(
        1,
        DAY - 1,
        price.range_position,
        "(close − low of the day) / (high − low of the day)",
        "share",
        "Lane 1984 (%K)",
    ),
    "hour_sin": _season(DAY_US, "sin", "day"),
    "hour_cos": _season(DAY_US, "cos", "day"),
    "half_day_sin": _season(HALF_DAY_US, "sin", "half a day"),
    "half_day_cos": _season(HALF_DAY_US, "cos", "half a day"),
    "week_sin": _season(WEEK_US, "sin", "week"),
    "week_cos": _season(WEEK_US, "cos", "week"),
    "new_york_hour_sin": _local(DAY_US, "sin", "day"),
    "new_york_hour_cos": _local(DAY_US, "cos", "day"),
    "new_york_half_day_sin": _local(HALF_DAY_US, "sin", "half a day"),
    "new_york_half_day_cos": _local(HALF_DAY_US, "cos", "half a day"),
    "new_york_weekend_1h": Definition(
        1, 0, price.weekend, "1 if the middle of the coming hour is on a weekend in New York", "0 or 1"
    ),
    "log_seasonal_range_weekly_28d": Definition(
        1,
        28 * DAY - 1,
        volatility.weekly_range,
        "mean of the log hourly Parkinson volatility of the coming hour of the week, 4 weeks",
        "log",
        "Andersen & Bollerslev 1997",
    ),
    "log_rms_q50_30d": _quantile(0.5),
    "log_rms_q75_30d": _quantile(0.75),
    "log_rms_q97_30d": _quantile(0.97),
    "parkinson_15m_unusual_30d": _unusual(3),
    "parkinson_1h_unusual_30d": _unusual(HOUR),
    "parkinson_6h_unusual_30d": _unusual(6 * HOUR),
    **_release("fed_decision", "federalreserve.gov, FOMC calendars"),
    **_release("consumer_prices", "bls.gov, release calendar"),
    **_release("employment", "bls.gov, release calendar"),
}
NAMES = tuple(DEFINITIONS)
WARMUP = max(definition.back for definition in DEFINITIONS.values())  # rows before a row that all its features need
FEATURE_HASH = hashlib.sha256(
    ",".join(f"{name}:{definition.version}" for name, definition in DEFINITIONS.items()).encode()
).hexdigest()[:16]
