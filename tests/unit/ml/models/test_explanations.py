"""Reasons in words: the strongest contributions first, every feature by a name that a person reads."""

from __future__ import annotations

import numpy as np

from ml.models.explanations import WORDS, strongest
from quantstream import features


def test_every_feature_has_a_name_for_a_person_and_no_name_is_left_over() -> None:
    assert set(WORDS) == set(features.NAMES)


def test_the_strongest_three_that_speak_for_it_are_told_in_order() -> None:
    names = ("momentum_1h", "hour_sin", "log_rms_24h", "bollinger_width", "week_cos")
    values, contributions = np.array([1.0, -0.5, -7.25, 2.0, 0.0]), np.array([0.1, 0.3, 0.2, -0.4, 0.05])
    assert strongest(names, values, contributions, "Buy") == [
        "hour of the day (-0.50) speaks for Buy",
        "volatility of the last day (-7.25) speaks for Buy",
        "move of the last hour (+1.00) speaks for Buy",
    ]


def test_nothing_is_told_where_nothing_speaks_for_it() -> None:
    assert strongest(("hour_sin",), np.array([0.5]), np.array([-0.1]), "Sell") == []
