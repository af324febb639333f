"""`quantstream export`: exact, whole or not at all, and a sentence for each misuse."""

from __future__ import annotations

import csv
import json
import resource
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.lake.queries.export import Export, export
from quantstream.lake.queries.output import format_of, write
from quantstream.lake.reads import Asked
from quantstream.lake.store import Lake
from tests.unit.quantstream.lake.filled import day_after, filled

RANGE = Asked(["BTCUSDT", "币安人生USDT"], day_after(1), day_after(8), "5m")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return filled(tmp_path_factory.mktemp("filled"))


def test_parquet_has_the_rows_of_the_typed_read_with_their_types(lake: Lake, tmp_path: Path) -> None:
    expected = lake.candles(RANGE.symbols, "5m", RANGE.start, RANGE.end)
    assert export(lake, Export("candles", RANGE, tmp_path / "x.parquet")) == expected.num_rows == 28
    found = pq.read_table(tmp_path / "x.parquet")
    assert found.to_pylist() == expected.select(found.column_names).to_pylist()
    assert pa.types.is_decimal128(found.schema.field("close").type)


def test_csv_and_json_spell_decimals_out(lake: Lake, tmp_path: Path) -> None:
    expected = lake.candles(RANGE.symbols, "5m", RANGE.start, RANGE.end)
    for kind in ("csv", "json"):
        export(lake, Export("candles", RANGE, tmp_path / f"x.{kind}"))
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("close", "volume", "quote_volume", "taker_buy_volume"):
        assert [row[name] for row in rows] == [f"{value:f}" for value in expected[name].to_pylist()]
    assert rows[0]["volume"] == "0.00000001"
    assert [row["symbol"] for row in rows] == expected["symbol"].to_pylist()
    assert '"' not in (tmp_path / "x.csv").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in (tmp_path / "x.json").read_text(encoding="utf-8").splitlines()]
    assert [line["close"] for line in lines] == [row["close"] for row in rows]
    assert lines[0]["opened_at"] == "2025-11-23T14:00:00Z"


def test_trades_and_a_version_of_before(lake: Lake, tmp_path: Path) -> None:
    asked = Asked(["BTCUSDT"])
    assert export(lake, Export("trades", asked, tmp_path / "new.csv")) == 120
    assert export(lake, Export("trades", asked, tmp_path / "old.csv", version=2)) == 20


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(lake: Lake, tmp_path: Path) -> None:
    place = tmp_path / "x.csv"
    place.write_text("mine")
    with pytest.raises(Misconfigured, match=r"x.csv is there already; .* --force"):
        export(lake, Export("candles", RANGE, place))
    assert place.read_text() == "mine"
    assert export(lake, Export("candles", RANGE, place, force=True)) == 28


ASKED = Asked(["BTCUSDT"], interval="5m")


@pytest.mark.parametrize(
    ("table", "asked", "name", "kind", "said"),
    [
        ("proofs", ASKED, "x.csv", None, "'proofs' is not exported; name one of candles, trades, scores"),
        ("scores", ASKED, "x.csv", None, "there are no scores at"),
        ("candles", replace(ASKED, symbols=[]), "x.csv", None, "name the symbols"),
        ("candles", replace(ASKED, symbols=["NONEUSDT", "BTCUSDT"]), "x.csv", None, "no candles of NONEUSDT; nothing"),
        (
            "candles",
            replace(ASKED, start=day_after(2), end=day_after(2)),
            "x.csv",
            None,
            "--to must be later than --from",
        ),
        ("candles", replace(ASKED, interval="7m"), "x.csv", None, "'7m' is no interval; write one of"),
        ("trades", Asked(["BTCUSDT"], as_of=day_after(2)), "x.csv", None, "does not keep when they became known"),
        ("candles", ASKED, "x.txt", None, "'txt' is no format; write one of parquet, csv, json"),
        ("candles", ASKED, "x", None, "a name without an ending"),
        ("candles", ASKED, "x.csv", "xlsx", "'xlsx' is no format"),
        ("candles", ASKED, "none/x.csv", None, "its folder must be there"),
        ("candles", ASKED, "s3://b/x.csv", None, "is no file on this machine"),
        ("candles", replace(ASKED, as_of=day_after(-9)), "x.csv", None, "nothing was written"),
    ],
)
def test_each_misuse_gets_a_sentence_and_nothing_is_written(
    table: str, asked: Asked, name: str, kind: str | None, said: str, lake: Lake, tmp_path: Path
) -> None:
    place = Path(name) if ":/" in name else tmp_path / name
    with pytest.raises(QuantStreamError, match=said):
        export(lake, Export(table, asked, place, kind))
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_half_way_leaves_no_file(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake")
    next((tmp_path / "lake" / "candles").rglob("symbol=BTCUSDT/month=2025-12/*.parquet")).unlink()
    with pytest.raises(Unavailable):
        export(lake, Export("candles", ASKED, tmp_path / "x.parquet"))
    assert [one.name for one in tmp_path.iterdir()] == ["lake"]


def test_a_disk_that_takes_no_more_is_said_and_what_was_there_stays(lake: Lake, tmp_path: Path) -> None:
    place, limits = tmp_path / "x.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    place.write_text("mine")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(Unavailable, match=r"x.csv was not written: .*File too large"):
            export(lake, Export("candles", ASKED, place, force=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [one.name for one in tmp_path.iterdir()] == ["x.csv"]
    assert place.read_text() == "mine"


def test_what_is_no_file_is_not_replaced(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(Misconfigured, match="must be a file itself"):
        export(lake, Export("candles", ASKED, tmp_path / "x.csv", force=True))


def test_a_table_on_the_terminal_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows = pa.table(
        {"symbol": ["BTCUSDT", "X"], "price": pa.array(["1.5", "-20.25"]).cast(pa.decimal128(9, 2)), "n": [1, None]}
    )
    assert write(rows.to_reader(), None, format_of(None, None)) == 2
    assert capsys.readouterr().out == "symbol    price  n\nBTCUSDT    1.50  1\nX        -20.25\n"


def test_texts_that_need_quotes_have_them_and_what_is_absent_is_empty(tmp_path: Path) -> None:
    texts = ["a,b", 'say "so"', "two\nlines", None, "plain"]
    exact = pa.array(["0", "1E-8", "-0.00000001", None, "12345678901234567890.12345678"]).cast(pa.decimal128(38, 8))
    write(pa.table({"text": texts, "exact": exact}).to_reader(), tmp_path / "x.csv", "csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))[1:]
    plain = ["0.00000000", "0.00000001", "-0.00000001", "", "12345678901234567890.12345678"]
    assert found == [[text or "", number] for text, number in zip(texts, plain, strict=True)]


def test_names_that_two_columns_share_are_told_apart_in_json(tmp_path: Path) -> None:
    rows = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([[1.5]])], names=["a", "a", "b"])
    write(rows.to_reader(), tmp_path / "x.json", "json")
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1, "a_2": 2, "b": [1.5]}
    write(rows.to_reader(), tmp_path / "x.csv", "csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "a", "b"], ["1", "2", "[1.5]"]]
