"""Trades out of the lake: exact, an even share of each symbol and day, and no more read than is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data import trade_features
from ml.evaluation.fat_fingers import inject
from quantstream.core.decimals import UNIT, units_decimal
from quantstream.core.errors import Unavailable
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.lake.schemas import PRICE, TIME
from quantstream.lake.store import Lake
from quantstream.lake.trades import COLUMNS, StoredTrades, even_shares, trades_of

DAY = date(2024, 8, 9)
T0 = int(datetime(2024, 8, 9, tzinfo=UTC).timestamp()) * SECOND


def made(symbol: str, first: int, count: int, day: int = 0) -> list[Trade]:
    """Trades with ids from `first` on, ten a second."""
    at = T0 + day * 86_400 * SECOND
    return [
        Trade(symbol, n, n, n, UNIT * 100 + n, 1 + n % 9, at + n % 100_000 * SECOND // 10, n % 2 == 0)
        for n in range(first, first + count)
    ]


def rows_of(trades: list[Trade]) -> pa.Table:
    exact = {
        name: pa.array([units_decimal(getattr(one, name), PRICE.scale) for one in trades], PRICE)
        for name in ("price", "quantity")
    }
    plain = {name: [getattr(one, name) for one in trades] for name in COLUMNS if name not in (*exact, "traded_at")}
    at = pa.array([one.traded_at for one in trades], pa.int64()).cast(TIME)
    more = {"received_at": at, "origin": pa.array(["live"] * len(trades))}
    return pa.table({**plain, **exact, "traded_at": at, **more})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two symbols over three days in files of a hundred; the quiet one has few trades."""
    lake = Lake(str(tmp_path / "lake"))
    for day in range(3):
        for part in range(6):
            lake.append("trades", rows_of(made("BTCUSDT", 1_000_000 * day + 100 * part, 100, day)))
        lake.append("trades", rows_of(made("币安人生USDT", 40 * day, 30, day)))
    return lake


def stored(lake: Lake) -> StoredTrades:
    return StoredTrades(lake, ["BTCUSDT", "币安人生USDT"], DAY, DAY + timedelta(days=2))


def test_everything_comes_back_exactly_when_there_is_not_too_much(lake: Lake) -> None:
    found = stored(lake).sample(10_000, 1)
    wanted = [one for day in range(3) for one in made("BTCUSDT", 1_000_000 * day, 600, day)]
    assert [one for one in found if one.symbol == "BTCUSDT"] == wanted
    assert len(found) == 3 * 630
    assert found == sorted(found, key=lambda one: (one.traded_at, one.symbol, one.id))


def test_an_even_share_of_each_day_is_one_stretch_and_the_same_for_the_same_seed(lake: Lake) -> None:
    found = stored(lake).sample(450, 1)
    assert len(found) == 450
    for day in range(3):
        ids = [one.id - 1_000_000 * day for one in found if one.symbol == "BTCUSDT" and one.id // 1_000_000 == day]
        assert ids == list(range(ids[0], ids[0] + 120))
    assert stored(lake).sample(450, 1) == found
    assert stored(lake).sample(450, 2) != found


def test_no_file_is_read_that_nothing_is_kept_of(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    trades, read = stored(lake), []
    batches = trades._batches
    monkeypatch.setattr(trades, "_batches", lambda path: read.append(path) or batches(path))
    assert len(trades.sample(450, 1)) == 450
    assert len(read) <= 3 + 3 * 3  # of 18 files of the busy symbol: 120 rows lie in two or three


def test_digits_beyond_any_float_stay(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    odd = Trade("A1", 1, 1, 1, 123_456_789_012_345_678_901, 3, T0, True)
    huge = Trade("A1", 2, 2, 2, 1, 9_007_199_254_740_993, T0 + 1, True)
    lake.append("trades", rows_of([odd, huge]))
    assert StoredTrades(lake, ["A1"], DAY, DAY).sample(10, 0) == [odd, huge]
    assert list(trades_of(lake.read("trades", columns=COLUMNS))) == [odd, huge]


def test_a_file_that_is_gone_is_told_as_such(lake: Lake) -> None:
    trades = stored(lake)
    for path in Path(lake.url).rglob("*.parquet"):
        path.unlink()
    with pytest.raises(Unavailable, match="the lake table trades"):
        trades.sample(450, 1)


@given(st.dictionaries(st.tuples(st.text("AB", max_size=3), st.just(DAY)), st.integers(0, 500)), st.integers(0, 2_000))
def test_shares_are_even_and_nothing_is_left_that_somebody_has(counts: dict[tuple[str, date], int], most: int) -> None:
    shares = even_shares(counts, most)
    assert set(shares) == set(counts)
    assert all(0 <= shares[key] <= counts[key] for key in counts)
    assert sum(shares.values()) == min(most, sum(counts.values()))
    cut = [shares[key] for key in counts if shares[key] < counts[key]]
    assert not cut or max(shares.values(), default=0) <= min(cut) + 1


def test_features_of_a_stretch_know_nothing_of_the_one_before() -> None:
    first, second = made("A1", 0, 300), made("A1", 100_000, 300, 1)
    together = trade_features.rows([*first, *second])
    assert together[300:].tolist() == trade_features.rows(second).tolist()
    near = made("A1", 310, 300)  # ten are missing: what came before still tells
    assert trade_features.rows([*first, *near])[300:].tolist() != trade_features.rows(near).tolist()


def test_fat_fingers_are_put_into_each_stretch(lake: Lake) -> None:
    import numpy as np

    trades = stored(lake).sample(3_000, 1)
    _, places = inject(trades, np.random.default_rng(0))
    assert len(places) == 9  # every 200th of 600 a day; the quiet one has too few
