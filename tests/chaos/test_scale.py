"""The run with thousands of symbols, tried with dozens: it finds nothing wrong, and what would be wrong makes it fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quantstream.core.trade import is_symbol
from quantstream.settings import DEFAULT_SYMBOLS
from tests.chaos import judge as judging
from tests.chaos import scale
from tests.chaos.judge import Verdict
from tests.chaos.scale import Report, names
from tests.chaos.test_chaos import CANDLES, END, TRADES, Market, complete, lake_of


def test_two_thousand_symbols_have_names_of_their_own_the_known_ones_among_them() -> None:
    found = names(2_000)
    assert len(set(found)) == 2_000
    assert set(DEFAULT_SYMBOLS) < set(found)
    assert all(map(is_symbol, found))


CALM = {"lag_first": 10, "lag_last": 900, "lag_longest": 2_000, "restarts": 0}
RIGHT = Report(
    2_000,
    10,
    4,
    trades_per_s=500.0,
    flat=3,
    stages={"sink": CALM, "exchange": CALM | {"lag_first": None, "lag_last": None}},
    verify={"exit_code": 0, "equal": 9, "seconds": 1.0},
    verdict=Verdict(trades=9, candles=9, scored_once=9),
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": {"sink": CALM | {"lag_last": 5_000}}},
        {"stages": {"sink": CALM | {"restarts": 1}}},
        {"unbalanced": ["sink: 1 symbols do not add up"]},
        {"verify": {"exit_code": 1}},
        {"verdict": Verdict(trades=9, candles=9, scored_once=9, scored_twice=1)},
        {"verdict": Verdict()},
        {"flat": 0},
    ],
    ids=["lag", "restart", "balance", "verify", "verdict", "nothing judged", "no quiet symbol"],
)
def test_a_run_is_right_only_if_all_of_it_is(wrong: dict[str, Any]) -> None:
    assert RIGHT.is_right
    assert not replace(RIGHT, **wrong).is_right


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes minutes to come to rest
def test_dozens_of_symbols_come_through_the_whole_path_and_equal_the_exchange(tmp_path: Path) -> None:
    output: list[str] = []
    report = scale.run(tmp_path / "state", 60, minutes=0.3, speed=40, busiest=1.5, seed=2, say=output.append)
    assert report.is_right, "\n".join(report.lines())
    assert report.verdict.candles >= 100
    assert report.closed["count"] == report.scored["count"] == report.verdict.candles


def test_of_a_log_that_begins_the_first_window_may_be_incomplete_and_the_unseen_must_not_have_traded(
    tmp_path: Path,
) -> None:
    half = [msgspec.structs.replace(candle, is_complete=False) for candle in CANDLES]
    lake, market = lake_of(tmp_path, TRADES, half), Market(TRADES, complete(CANDLES))

    def wrong(begin: int, symbol: str = "AUSDT") -> dict[str, int]:
        verdict, stored = Verdict(), judging.ReadOnce(lake)
        truth = judging._judge_trades(verdict, stored, market, symbol, END, begin)  # type: ignore[arg-type]
        judging._judge_candles(verdict, stored, market, symbol, "5m", truth, END, begin)  # type: ignore[arg-type]
        return verdict.wrong

    second = CANDLES[1].opened_at // 1000
    assert [wrong(begin) for begin in (0, second, END)] == [{"candles_incomplete": 2}, {"candles_incomplete": 1}, {}]
    assert [wrong(begin, "UNSEEN") for begin in (0, END)] == [{"trades_missing": len(TRADES)}, {}]
