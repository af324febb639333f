"""What detect sees of a batch is what it would see trade by trade."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.trade_features import NAMES
from quantstream.binance.wire import parse_record, trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.errors import BadRecord
from quantstream.core.rolling import Floats
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from streaming.detect.detector import Detector
from tests.unit.quantstream.decode.test_runs import market
from tests.unit.quantstream.decode.test_trade_id_index import parsed

T0 = 1_754_006_400 * SECOND


class Deviations:
    """A model that flags what is three deviations off."""

    name, version, threshold = "rule", "1", 3.0

    def score_trades(self, rows: Floats) -> Floats:
        return np.asarray(np.abs(rows[:, 0]))

    def explain(self, row: object) -> list[str]:
        return [str(row)]


class Delicate(Deviations):
    """It bears no number that is none."""

    def score_trades(self, rows: Floats) -> Floats:
        if np.isnan(rows).any():
            raise ValueError("Input contains NaN")
        return super().score_trades(rows)


def never(symbol: str, rows: object, reason: str) -> None:
    raise AssertionError(f"{symbol} was not judged: {reason}")


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_features_of_a_batch_are_those_of_its_trades_bit_for_bit(seed: int) -> None:
    rng = random.Random(seed)
    log = market(rng)
    single, expected = Detector(), []
    for _, symbol, raw in log:
        try:
            item = parse_record(raw, symbol)
        except BadRecord:
            continue
        row = single.push(item) if isinstance(item, Trade) else None
        expected += [row] if row else []
    batched, cut, found = Detector(), rng.randint(0, len(log)), np.zeros((0, len(NAMES)))
    for part in (log[:cut], log[cut:]):
        if part:
            found = np.concatenate([found, batched.rows(parsed(batched.parser, part))[1]])
    assert np.array_equal(found, np.array(expected).reshape(-1, len(NAMES)))


def test_a_flagged_trade_of_a_batch_is_told_with_all_that_it_was() -> None:
    trades = [Trade("A", n, n, n, 100 * UNIT + n % 3, UNIT, T0 + n, False) for n in range(1, 200)]
    odd = Trade("A", 200, 200, 200, 150 * UNIT, 3 * UNIT, T0 + 200, True)
    detector = Detector()
    columns = parsed(detector.parser, [(0, "A", trade_event(trade)) for trade in [*trades, odd]])
    (anomaly,) = detector.judge(Deviations(), columns, *detector.rows(columns), 7, never)  # type: ignore[arg-type]
    assert (anomaly.symbol, anomaly.trade_id, anomaly.price, anomaly.quantity) == ("A", 200, odd.price, odd.quantity)
    assert (anomaly.traded_at, anomaly.buyer_is_maker, anomaly.model) == (odd.traded_at, True, "rule/1")
    assert (anomaly.detected_at, anomaly.score > 3) == (7, True)


def test_a_score_at_the_threshold_is_no_anomaly_and_the_least_beyond_it_is_one() -> None:
    trades = [Trade("A", n, n, n, 100 * UNIT + n % 3, UNIT, T0 + n, False) for n in range(1, 4)]
    detector = Detector()
    columns = parsed(detector.parser, [(0, "A", trade_event(trade)) for trade in trades])
    new, features = detector.rows(columns)
    features[:, 0] = np.nextafter(3.0, 0.0), 3.0, np.nextafter(3.0, 4.0)
    found = detector.judge(Deviations(), columns, new, features, 7, never)  # type: ignore[arg-type]
    assert [anomaly.trade_id for anomaly in found] == [3]


def test_a_symbol_that_the_model_cannot_judge_is_told_and_the_others_are_judged() -> None:
    def trades(symbol: str) -> list[Trade]:
        plain = [Trade(symbol, n, n, n, 100 * UNIT + n % 3, UNIT, T0 + n, False) for n in range(1, 200)]
        return [*plain, Trade(symbol, 200, 200, 200, 150 * UNIT, 3 * UNIT, T0 + 200, True)]

    detector, told = Detector(), list[tuple[str, int, str]]()
    columns = parsed(detector.parser, [(0, s, trade_event(trade)) for s in ("A", "B", "C") for trade in trades(s)])
    new, features = detector.rows(columns)
    features[200:400] = np.nan  # of B
    model, at = Delicate(), 7
    found = detector.judge(model, columns, new, features, at, lambda *odd: told.append((odd[0], len(odd[1]), odd[2])))  # type: ignore[arg-type]
    assert [(anomaly.symbol, anomaly.trade_id) for anomaly in found] == [("A", 200), ("C", 200)]
    assert told == [("B", 200, "ValueError: Input contains NaN")]


def test_a_partition_that_left_is_forgotten_and_begins_anew() -> None:
    detector = Detector()
    log = [(1, "A", trade_event(Trade("A", n, n, n, UNIT, UNIT, T0 + n * 1000, False))) for n in range(1, 100)]
    detector.rows(parsed(detector.parser, log))
    detector.forget(1)
    new, features = detector.rows(parsed(detector.parser, log))
    assert len(new) == 99
    assert not features[:64].any()
