"""Files of klines as columns: the same candles as the parser of REST's klines gives row by row, and an account of every row."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.klines import parse_kline
from quantstream.core.errors import BadRecord
from quantstream.core.time import DAY, MINUTE, SECOND
from quantstream.lake.schemas import candle_rows
from streaming.backfill.kline_files import KlineFile, read_klines

DAY0 = 1_704_067_200 * SECOND  # 2024-01-01
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def row(number: int, unit: int = 1000, **changed: str) -> str:
    """Return a line of a file: the kline that opens `number` windows after midnight."""
    at = DAY0 + number * 5 * MINUTE
    cells = {
        "opened_at": str(at // unit),
        "open": "100.50000000",
        "high": "101.00000000",
        "low": "99.00000001",
        "close": "100.1",
        "volume": "12.5",
        "closed_at": str((at + 5 * MINUTE) // unit - 1),
        "quote": "1252.12345678",
        "count": "17",
        "taker": "6.25",
        "taker_quote": "626.1",
        "ignore": "0",
    }
    return ",".join((cells | changed).values())


def packed(folder: Path, text: str) -> Path:
    """Return an archive's file that holds the text."""
    path = folder / "BTCUSDT-5m-2024-01-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-5m-2024-01-01.csv", text)
    return path


def read(folder: Path, text: str) -> KlineFile:
    """Return what a file with this text holds."""
    found = read_klines(packed(folder, text), "BTCUSDT", "5m", DAY0, DAY0 + DAY)
    assert found.rows == found.candles.num_rows + found.duplicates + found.refused
    return found


@pytest.mark.parametrize("head", ["", HEADER + "\n", "\ufeff" + HEADER + "\n"])
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_with_or_without_a_header_in_milliseconds_or_microseconds(
    tmp_path: Path, head: str, unit: int, end: str
) -> None:
    found = read(tmp_path, head + "\n".join(row(number, unit) for number in range(288)) + end)
    exact = [parse_kline("BTCUSDT", kline(row(number))) for number in range(288)]
    assert found.candles.equals(candle_rows(exact))
    assert (found.rows, found.reasons) == (288, [])


def kline(line: str) -> list[object]:
    """Return a line as REST answers it."""
    cells = line.split(",")
    return [int(cells[0]), *cells[1:8], int(cells[8]), *cells[9:]]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (row(1, high="99.5"), "between low and high"),
        (row(1, low="-1"), "plain non-negative decimal"),
        (row(1, open="0", low="0"), "between low and high"),
        (row(1, taker="13"), "taker buys must lie between"),
        (row(1, opened_at="1704067260000"), "does not open on a 5m boundary"),
        (row(1, opened_at="1704153600000"), "another time than the file's"),
        (row(1, opened_at="1704067500000.0"), "no whole number"),
        (row(1, volume="nan"), "plain non-negative decimal"),
        (row(1, close="100.123456789"), "more than 8 decimals"),
        (row(1, count="many"), "no whole number"),
        (row(1) + ",1", "13 cells instead of 12"),
        ("1704067500000,1,2", "3 cells instead of 12"),
        (row(1, open="\xff\xfe"), "plain non-negative decimal"),
    ],
)
def test_one_odd_row_is_named_and_is_no_bar_to_the_others(tmp_path: Path, odd: str, reason: str) -> None:
    found = read(tmp_path, "\n".join([row(0), odd, row(2)]))
    assert (found.candles.num_rows, found.refused) == (2, 1)
    assert reason in found.reasons[0]


def test_rows_that_are_written_otherwise_but_mean_the_same_count(tmp_path: Path) -> None:
    found = read(tmp_path, "\n".join([row(0), row(1, open=" 100.5000000000 "), row(2)]))
    assert (found.candles.num_rows, found.refused) == (3, 0)


def test_repeated_rows_count_once_and_those_that_contradict_each_other_not_at_all(tmp_path: Path) -> None:
    found = read(tmp_path, "\n".join([row(2), row(0), row(0), row(1), row(1, close="100.2"), row(3)]))
    at = (found.candles["opened_at"].cast(pa.int64()).to_numpy() - DAY0) // (5 * MINUTE)
    assert (at.tolist(), found.duplicates, found.refused) == ([0, 2, 3], 1, 2)
    assert "contradict each other" in found.reasons[0]


@pytest.mark.parametrize("cut", [10, 100, 300, -30])
def test_a_damaged_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = packed(tmp_path, "\n".join(row(number) for number in range(288)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadRecord, match=r"damaged"):
        read_klines(path, "BTCUSDT", "5m", DAY0, DAY0 + DAY)


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "").rows == read(tmp_path, HEADER + "\n").rows == 0


cells = st.one_of(
    st.decimals(0, 10**12, places=8).map(lambda value: f"{value:f}"),
    st.text("0123456789.-+eE xnaif", max_size=12),
    st.integers(0, 10**18).map(str),
)


@settings(max_examples=300)
@given(lines=st.lists(st.lists(cells, min_size=11, max_size=13), min_size=1, max_size=5))
def test_every_row_is_a_candle_a_duplicate_or_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]
) -> None:
    text = "\n".join([row(0), *(",".join(line) for line in lines), row(1)])
    found = read(tmp_path_factory.getbasetemp(), text)
    assert found.candles.num_rows >= 2 or "contradict" in " ".join(found.reasons)


def test_of_coin_margined_contracts_volumes_are_coins_and_their_worth(tmp_path: Path) -> None:
    """A row of COIN-M: 1,250 contracts of 10 USD, which were 124.9 coins."""
    odd = row(0, volume="1250", quote="124.9", taker="500", taker_quote="49.95")
    path = packed(tmp_path, "\n".join([odd, row(1)]))
    found = read_klines(path, "BNBUSD_PERP", "5m", DAY0, DAY0 + DAY).candles.slice(0, 1).to_pylist()[0]
    names = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    assert [float(found[name]) for name in names] == [124.9, 12_500, 49.95, 5_000]
    assert float(found["low"]) <= float(found["quote_volume"] / found["volume"]) <= float(found["high"])
    large = read_klines(path, "BTCUSD_250328", "5m", DAY0, DAY0 + DAY).candles
    assert float(large["quote_volume"][0].as_py()) == 125_000
