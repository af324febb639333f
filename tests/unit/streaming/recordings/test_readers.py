"""Recorded trades in every known shape, and broken ones."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow.feather
import pyarrow.parquet
import pytest

from quantstream.core.decimals import UNIT
from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.trade import Trade
from streaming.offline.candles import write_candles
from streaming.recordings.readers import read_trades

AT = 1_723_161_255_342_000
ROW = "3735683259,61837.63000000,0.02000000,1236.75260000,1723161255342,True,True\n"
EXPECTED = Trade("BTCUSDT", 3735683259, 3735683259, 3735683259, 6_183_763_000_000, 2_000_000, AT, True)
FRAME = (
    b'1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}\n'
)


@pytest.mark.parametrize(
    "text",
    [
        ROW,
        "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n" + ROW,
        ROW.replace("1723161255342", "1723161255342000"),
        "3735683259,61837.63000000,0.02000000,3735683259,3735683259,1723161255342,true,True\n",
    ],
)
def test_archive_rows_with_and_without_header_in_ms_and_microseconds(tmp_path: Path, text: str) -> None:
    file = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    file.write_text(text)
    assert list(read_trades(file)) == [EXPECTED]


def test_a_zip_with_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-trades-2024-08-08.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2024-08-08.csv", ROW)
    sums = tmp_path / (file.name + ".CHECKSUM")
    sums.write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
    assert list(read_trades(file)) == [EXPECTED]
    sums.write_text(f"{'0' * 64}  {file.name}\n")
    with pytest.raises(BadRecord, match="does not match its checksum"):
        list(read_trades(file))


def test_frames_of_other_streams_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "frames"
    file.write_bytes(b'1 {"stream":"btcusdt@bookTicker","data":{"u":1}}\n' + FRAME)
    assert list(read_trades(file)) == [EXPECTED]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("frames", FRAME + FRAME[:90] + b"\n", "line 2: not a combined-stream frame"),
        ("frames", FRAME + b"garbage\n", "line 2: not `<receive_ns> {frame}`"),
        ("BTCUSDT-trades.csv", (ROW + ROW[:30]).encode(), "line 2: not a row of trades"),
        ("BTCUSDT.json", b"[[1,2", "is not valid JSON"),
        ("frames.gz", gzip.compress(FRAME * 500)[:150], "is damaged or cut off"),
        ("x.zip", b"PK\x03\x04nonsense", "is damaged or cut off"),
        ("empty", b"", "is empty"),
    ],
)
def test_a_broken_file_is_said_to_be_broken_at_its_place(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BadRecord, match=sentence):
        list(read_trades(file))


def test_what_is_missing_or_no_recording_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no file"):
        list(read_trades(tmp_path / "nothing.gz"))
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam\n")
    with pytest.raises(Misconfigured, match="no recording of trades"):
        list(read_trades(tmp_path / "letter.txt"))
    (tmp_path / "trades.csv").write_text(ROW)
    with pytest.raises(Misconfigured, match="cannot tell whose trades"):
        list(read_trades(tmp_path / "trades.csv"))


def test_a_file_of_which_nothing_can_be_read_writes_no_candles(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(b"garbage {\n")
    with pytest.raises(BadRecord, match=r"no trades to make candles of: .*line 1"):
        write_candles([tmp_path / "frames"], tmp_path / "out.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames"]


@pytest.mark.data
def test_real_frames_give_the_exchanges_own_candle(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "candles.parquet"
    files = [data / "ws_frames" / f"spot_{name}_20240808.gz" for name in ("btcusdt", "ethusdt")]
    summary = write_candles(files, out)
    assert summary.gaps == {"BTCUSDT": [], "ETHUSDT": []}
    candles = pyarrow.parquet.read_table(out).to_pandas().set_index(["symbol", "opened_at"])
    found = candles.loc["BTCUSDT", pd.Timestamp("2024-08-08 23:55", tz="UTC")]
    klines = pd.read_parquet(data / "klines_5m" / "BTCUSDT_5m.parquet").set_index("open_time")
    kline = klines.loc[pd.Timestamp("2024-08-08 23:55")]
    assert found["is_complete"]
    for name in ("open", "high", "low", "close", "volume"):
        assert found[name] == Decimal(str(kline[name]))


@pytest.mark.data
def test_the_archive_gives_the_same_trades_as_the_frames(data: Path) -> None:
    frames = list(read_trades(data / "ws_frames" / "spot_btcusdt_20240808.gz"))
    assert list(read_trades(data / "trades" / "BTCUSDT-trades-2024-08-08_2354-2400.csv.gz")) == frames


@pytest.mark.data
def test_59_hours_of_a_quiet_symbol_equal_another_tools_candles(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "candles.parquet"
    write_candles([data / "trades" / "XRPETH-aggTrades-2019-10-11_13.ccxt.json.gz"], out)
    found = pyarrow.parquet.read_table(out).to_pandas()
    other = pyarrow.feather.read_feather(data / "klines_5m" / "XRPETH_5m_2019-10-11_13_freqtrade-derived.feather")
    traded = found[found["trade_count"] > 0].reset_index(drop=True)
    assert len(traded) == len(other) == 706
    assert len(found) > 706
    for name in ("open", "high", "low", "close", "volume"):
        assert (traded[name] == other[name].map(lambda number: Decimal(str(number)))).all()


@pytest.mark.data
def test_real_gaps_are_reported_by_their_ids(data: Path, tmp_path: Path) -> None:
    summary = write_candles([data / "trades" / "rest_trades_with_id_gap_2026-05-29.jsonl"], tmp_path / "candles.csv")
    assert {symbol: [gap.missing for gap in gaps] for symbol, gaps in summary.gaps.items()} == {
        "BTCUSDT": [16_649],
        "ETHUSDT": [17_415],
        "BNBUSDT": [3_998],
    }


def test_units_of_a_candle_file_are_exact_text_in_csv(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-trades.csv").write_text(ROW)
    write_candles([tmp_path / "BTCUSDT-trades.csv"], tmp_path / "candles.csv")
    header, row = (tmp_path / "candles.csv").read_text().splitlines()
    assert header.replace('"', "").startswith("symbol,opened_at,open,high,low,close,volume,quote_volume,trade_count")
    assert "61837.63000000" in row
    assert EXPECTED.price == 61_837_63 * UNIT // 100


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_archive_is_unpacked_however_it_was_packed(method: int, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.zip"
    rows = [f"{number},61120.01000000,0.00010000,6.1,1723161600000,True,True\n" for number in range(5_000)]
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("BTCUSDT-trades-2024-08-08.csv", "".join(rows))
    assert [trade.id for trade in read_trades(path)] == list(range(5_000))


@pytest.mark.parametrize("place", ["data", "checksum"])
def test_a_flipped_byte_in_an_archive_is_noticed(place: str, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.zip"
    rows = [f"{number},61120.01000000,0.00010000,6.1,1723161600000,True,True\n" for number in range(5_000)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("BTCUSDT-trades-2024-08-08.csv", "".join(rows))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 16 if place == "checksum" else 2_000] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(BadRecord, match=r"damaged or cut off|not a row of trades"):
        list(read_trades(path))
