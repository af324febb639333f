"""Trade features: a finite memory, exact, and fat fingers that stand out."""

from __future__ import annotations

from math import exp, log

import msgspec
import numpy as np
import pytest

from ml.data import trade_features
from ml.evaluation import fat_fingers
from quantstream.core.trade import Trade
from tests.unit.ml import markets

TRADES = markets.trades(3000)
ROWS = trade_features.rows(TRADES)


def test_nothing_is_strange_before_enough_trades_are_known() -> None:
    assert not ROWS[: trade_features.FEWEST].any()
    assert ROWS[trade_features.FEWEST :].any()


def test_only_the_last_trades_count_so_a_restart_goes_on_exactly() -> None:
    # a deviation is taken from a memory, and so are the caps of what is remembered
    start = 2500 - trade_features.REACH - 1
    assert np.array_equal(trade_features.rows(TRADES[start:])[-500:], ROWS[2500:])


def test_symbols_do_not_disturb_each_other() -> None:
    other = markets.trades(3000, "ETHUSDT", seed=9)
    mixed = [trade for pair in zip(TRADES, other, strict=True) for trade in pair]
    rows = trade_features.rows(mixed)
    assert np.array_equal(rows[::2], ROWS)
    assert np.array_equal(rows[1::2], trade_features.rows(other))


def test_features_are_what_their_names_say() -> None:
    last = TRADES[2500]
    past = TRADES[2500 - trade_features.MEMORY : 2500]
    vwap = sum(t.price * t.quantity for t in past) / sum(t.quantity for t in past)
    sizes = np.mean([log(t.quantity) for t in past])
    moves = [abs(log(b.price / a.price)) for a, b in zip(TRADES[1987:2499], past, strict=True)]
    deviation, move, size, _, run = ROWS[2500]
    assert np.sign(deviation) == np.sign(last.price - vwap)
    unit = 1.2533 * max(float(np.mean(moves)), trade_features.FLOOR / trade_features.SCALE)
    assert move == pytest.approx(log(last.price / past[-1].price) / unit, rel=1e-6)
    assert size == pytest.approx(log(last.quantity) - sizes, abs=1e-6)
    same_side = 1
    while TRADES[2500 - same_side].buyer_is_maker == last.buyer_is_maker:
        same_side += 1
    assert exp(run) - 1 == pytest.approx(same_side)


def test_the_price_unit_does_not_matter() -> None:
    dearer = [msgspec.structs.replace(trade, price=trade.price * 10) for trade in TRADES]
    np.testing.assert_allclose(trade_features.rows(dearer), ROWS, atol=1e-6)


def test_a_fat_finger_stands_out_and_hardly_moves_what_follows() -> None:
    spoilt = list(TRADES)
    spoilt[2000] = msgspec.structs.replace(TRADES[2000], price=int(TRADES[2000].price * 1.01))
    rows = trade_features.rows(spoilt)
    assert rows[2000, 0] > 8
    assert rows[2000, 1] > 8
    assert np.abs(rows[2002:, :2]).max() < 8


def test_trades_at_one_price_and_one_instant_are_ordinary() -> None:
    still = [Trade("X", i, i, i, 100, 0, 1_700_000_000_000_000, True) for i in range(200)]
    rows = trade_features.rows(still)
    assert np.isfinite(rows).all()
    assert not rows[:, :4].any()


def test_injected_fat_fingers_are_where_the_truth_says() -> None:
    spoilt, places = fat_fingers.inject(TRADES, np.random.default_rng(0))
    changed = [i for i, (a, b) in enumerate(zip(TRADES, spoilt, strict=True)) if a != b]
    assert changed == places == list(range(199, 3000, 200))
    assert (np.abs(trade_features.rows(spoilt)[places, 0]) >= 0.8 * fat_fingers.SMALLEST).all()


def test_many_fat_fingers_do_not_hide_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fat_fingers, "EVERY", 50)
    spoilt, places = fat_fingers.inject(TRADES, np.random.default_rng(0))
    late = [place for place in places if place >= trade_features.FEWEST]
    rows = np.abs(trade_features.rows(spoilt))
    assert len(late) == 59
    assert (rows[late, 0] >= 6).mean() > 0.95
    assert (rows[late, 1] >= 6).all()
    ordinary = np.setdiff1d(np.arange(trade_features.FEWEST, 3000), places)
    assert not ((rows[ordinary, 0] >= 6) & (rows[ordinary, 1] >= 6)).any()
