"""Custom expectations: the rules of this market under names that Great Expectations runs, reports and documents like its own.

A name says what is expected, `rule` decides it row by row, `bounds` are what a suite's JSON sets. `expectations/README.md` lists
them for people; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ml.validation.expected import candle_rules as rules
from ml.validation.expected import score_rules, trade_rules

Rule = Callable[..., rules.Truth]


@dataclass(frozen=True)
class Custom:
    """An expectation over some columns of a row and those before it."""

    name: str
    rule: Rule
    bounds: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """The name of its class, from which the library derives its own."""
        return "".join(word.capitalize() for word in self.name.split("_"))


CUSTOM = (
    Custom("expect_candle_vwap_within_range", rules.vwap_within_range),
    Custom("expect_candle_trade_ids_to_follow", rules.ids_follow),
    Custom("expect_candle_to_differ_from_the_one_before", rules.no_copy),
    Custom("expect_feed_not_to_be_stuck", rules.not_stuck, ("longest", "longest_silence", "quiet_share")),
    Custom("expect_price_jumps_to_be_the_markets", rules.jumps_shared, ("alone", "ever", "shared")),
    Custom("expect_prices_to_be_exact_decimals", rules.on_the_tick, ("finer", "share")),
    Custom("expect_day_to_be_whole", rules.day_is_whole),
    Custom("expect_day_to_keep_the_markets_clock", rules.keeps_the_clock),
    Custom("expect_volume_in_its_season", rules.in_season, ("farthest",)),
    Custom("expect_trade_ids_to_follow", trade_rules.ids_follow),
    Custom("expect_trades_in_order_of_time", trade_rules.in_order),
    Custom("expect_trade_price_near_the_one_before", trade_rules.near_before, ("farthest",)),
    Custom("expect_trades_to_vary", trade_rules.vary, ("longest",)),
    Custom("expect_quantiles_in_order", score_rules.quantiles_in_order),
    Custom("expect_shares_to_sum_to_one", score_rules.shares_sum_to_one, ("within",)),
    Custom("expect_score_or_reason", score_rules.score_or_reason),
    Custom("expect_no_infinite_numbers", score_rules.finite),
)
