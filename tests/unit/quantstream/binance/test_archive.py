"""Which files of the archive hold what."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance.archive import ONE_DAY, Series, files_between
from quantstream.core.errors import Misconfigured

KLINES = Series("BTCUSDT", "klines", "5m")


def test_whole_months_come_as_months_and_the_ends_as_days() -> None:
    names = [file.name for file in files_between(KLINES, date(2023, 12, 30), date(2024, 3, 2))]
    assert names == [
        "BTCUSDT-5m-2023-12-30.zip",
        "BTCUSDT-5m-2023-12-31.zip",
        "BTCUSDT-5m-2024-01.zip",
        "BTCUSDT-5m-2024-02.zip",
        "BTCUSDT-5m-2024-03-01.zip",
    ]


@pytest.mark.parametrize(
    ("series", "path"),
    [
        (KLINES, "data/spot/monthly/klines/BTCUSDT/5m/BTCUSDT-5m-2024-01.zip"),
        (Series("BTCUSDT", "aggTrades"), "data/spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01.zip"),
        (
            Series("BTCUSDT", "trades", market="futures/um"),
            "data/futures/um/monthly/trades/BTCUSDT/BTCUSDT-trades-2024-01.zip",
        ),
    ],
)
def test_paths_are_the_archives(series: Series, path: str) -> None:
    (file,) = files_between(series, date(2024, 1, 1), date(2024, 2, 1))
    assert file.path == path
    assert next(file.days()).path == path.replace("monthly", "daily").replace("2024-01", "2024-01-01")


@given(st.dates(date(2018, 1, 1), date(2026, 1, 1)), st.integers(1, 400))
def test_files_cover_each_day_once(first: date, days: int) -> None:
    files = list(files_between(KLINES, first, first + days * ONE_DAY))
    covered = [day.first for file in files for day in file.days()]
    assert covered == [first + number * ONE_DAY for number in range(days)]
    assert all(file.is_monthly == ((file.after - file.first).days > 1) for file in files)


@pytest.mark.parametrize(
    "given", [("btcusdt", "klines", "5m"), ("BTCUSDT", "klines", ""), ("BTCUSDT", "trades", "5m"), ("BTCUSDT", "book", ""),
              ("BTCUSDT", "klines", "7m"), ("../X", "klines", "5m")]
)  # fmt: skip
def test_what_the_archive_does_not_have_is_refused(given: tuple[str, str, str]) -> None:
    with pytest.raises(Misconfigured):
        Series(*given)
