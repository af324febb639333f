"""Files as people have them to candles: any order, any damage, and an account of every row."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infra.cli.candles_command import make
from quantstream.core.decimals import to_units
from quantstream.core.errors import BadRecord, Misconfigured
from streaming.offline import external_sort
from streaming.offline.candles import Summary, write_candles
from streaming.recordings import csv_blocks
from streaming.recordings.readers import Given

T0 = 1_700_006_400_000  # ms
HEADER = "id,price,qty,quote_qty,time,is_buyer_maker"
AGG_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


def trade(number: int, at: int | None = None, price: str = "35000.1", quantity: str = "0.5") -> str:
    """One row of the archive's trades, three seconds apart by its number."""
    return f"{number},{price},{quantity},17500.05,{T0 + 3000 * number if at is None else at},{'true' if number % 3 else 'false'}"


def file(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def run(*files: Path, out: str = "candles.csv", **given: Any) -> Summary:
    return write_candles(files, files[0].parent / out, given=Given(**given) if given else None)


def counts(summary: Summary) -> tuple[int, int, int, int]:
    account = summary.account
    return account.rows, account.placed, account.duplicates, account.refused


@pytest.fixture(params=[False, True], ids=["whole", "in pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything once as it is and once with a sort that spills every few rows."""
    if request.param:
        monkeypatch.setattr(csv_blocks, "BLOCK", 300)
        monkeypatch.setattr(external_sort, "CHUNK", 20)
        monkeypatch.setattr(external_sort, "LEAST", 3)


ROWS = [trade(number) for number in range(1000, 1400)]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("kind", ["reversed", "halves", "shuffled", "files"])
def test_rows_and_files_in_any_order_give_the_bytes_of_the_sorted_file(tmp_path: Path, kind: str) -> None:
    run(file(tmp_path, "BTCUSDT-trades-1.csv", HEADER, *ROWS), out="sorted.csv")
    rows = {
        "reversed": ROWS[::-1],
        "halves": [row for pair in zip(ROWS[:200], ROWS[200:], strict=True) for row in pair],
        "shuffled": random.Random(1).sample(ROWS, len(ROWS)),
        "files": [],
    }[kind]
    files = [file(tmp_path, "BTCUSDT-trades-2.csv", HEADER, *rows)]
    if kind == "files":
        files = [file(tmp_path, f"BTCUSDT-trades-{n}.csv", *ROWS[n::3]) for n in (5, 3, 4)]
        files += [file(tmp_path, f"BTCUSDT-trades-{n}.csv", *ROWS[n - 3 : 3 : 3]) for n in (3, 4, 5)]
        files = [file(tmp_path, f"BTCUSDT-trades-{n}.csv", *ROWS[n::3]) for n in range(3)][::-1]
    summary = run(*files, out="other.csv")
    assert counts(summary) == (400, 400, 0, 0)
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "sorted.csv").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_same_trades_twice_are_duplicates_also_in_ms_and_microseconds(tmp_path: Path) -> None:
    first = file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS)
    finer = [trade(n, (T0 + 3000 * n) * 1000 + 7) for n in range(1200, 1400)]
    summary = run(first, file(tmp_path, "BTCUSDT-trades-2.csv", *finer))
    assert counts(summary) == (600, 400, 200, 0)
    assert summary.account.is_whole


def test_one_file_named_twice_is_read_twice(tmp_path: Path) -> None:
    path = file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS)
    assert counts(run(path, path)) == (800, 400, 400, 0)


def test_rows_that_contradict_each_other_are_named_and_neither_counts(tmp_path: Path) -> None:
    rows = [*ROWS, trade(1100, price="1.0")]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert counts(summary) == (401, 399, 0, 2)
    named = list(summary.account.names())
    assert [line for line in named if "line 101:" in line or "line 401:" in line] == named[:2]
    assert "trade 1100 of BTCUSDT" in named[0]
    assert [(gap.first, gap.last) for gap in summary.gaps["BTCUSDT"]] == [(1100, 1100)]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("place", [0, 1, 2, 200, 398, 399])
@pytest.mark.parametrize("leap_ms", [365 * 86_400_000, -365 * 86_400_000, 3 * 86_400_000, -3 * 86_400_000])
def test_a_row_dated_far_from_its_neighbours_is_refused_and_invents_no_candle(
    tmp_path: Path, place: int, leap_ms: int
) -> None:
    number = 1000 + place
    rows = [*ROWS[:place], trade(number, T0 + 3000 * number + leap_ms), *ROWS[place + 1 :]]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert counts(summary) == (400, 399, 0, 1)
    assert summary.candles == 4
    assert f"line {place + 1}: trade {number} of BTCUSDT" in next(summary.account.names())


def test_a_part_of_a_file_dated_elsewhere_is_outvoted_by_the_rest(tmp_path: Path) -> None:
    rows = [*ROWS[:100], *(trade(n, T0 + 3000 * n + 10**10) for n in range(1100, 1200)), *ROWS[200:]]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert counts(summary) == (400, 300, 0, 100)


def test_a_market_that_rested_for_days_is_no_error(tmp_path: Path) -> None:
    later = [trade(n, T0 + 3000 * n + 4 * 86_400_000) for n in range(1400, 1500)]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS, *later))
    assert counts(summary) == (500, 500, 0, 0)
    assert summary.candles > 1000


def test_times_that_run_back_by_seconds_stay(tmp_path: Path) -> None:
    rows = [trade(n, T0 + 3000 * n - (45_000 if n % 50 == 0 else 0)) for n in range(1000, 1400)]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert counts(summary) == (400, 400, 0, 0)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_no_gap_is_forgotten_however_many(tmp_path: Path, is_shuffled: bool) -> None:
    rows = [trade(n, T0 + 100 * n) for n in range(0, 4000, 2)]
    if is_shuffled:
        random.Random(2).shuffle(rows)
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert (summary.account.gap_count, summary.account.missing) == (1999, 1999)
    assert len(summary.gaps["BTCUSDT"]) == 1999
    text = (tmp_path / "candles.csv").read_text()
    assert text.count("false") == summary.candles


def test_a_gap_over_hours_then_many_small_ones_leaves_no_candle_complete_that_is_not(tmp_path: Path) -> None:
    later = [trade(n, T0 + 3000 * 1400 + 5 * 3_600_000 + 3 * n) for n in range(5000, 5400, 2)]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS, *later), out="o.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert len(rows) == summary.candles > 60
    assert not any(row["is_complete"] for row in rows if row["trade_count"] == 0)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("time,id,is_buyer_maker,price,qty", "{ms},{n},true,35000.1,0.5"),
        ("id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch", "{n},35000.1,0.5,1,{ms},True,True"),
        (",a,p,q,f,l,T,m,M", "0,{n},35000.1,0.5,{n},{n},{ms},True,True"),
        ("a,p,q,f,l,T,m", "{n},35000.1,0.5,{n},{n},{ms},True"),
        (AGG_HEADER, "{n},35000.1,0.5,{n},{n},{ms},true"),
        ('"ID", "Price", "Qty", "Time", "Side"', '"{n}", "35000.1", "0.5", "{ms}", "SELL"'),
        ("timestamp,datetime,symbol,id,side,price,amount,cost", "{ms},x,BTC/USDT,{n},sell,35000.1,0.5,1"),
        ("symbol,trade_id,price,size,timestamp,is_buyer_maker", "BTCUSDT,{n},35000.1,5e-01,{ms}000000,1"),
        ("trade_id,price,quantity,time,side", "{n},35000.1,0.5,{s},sell"),
        ("id;price;qty;time;side", "{n};35000.1;0.5;{ms};sell"),
        ("id\tprice\tqty\ttime\tside", "{n}\t35000.1\t0.5\t{ms}\tsell"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_header_is_read_by_its_names_in_any_order(tmp_path: Path, header: str, row: str, ends: str) -> None:
    lines = [header, *(row.format(n=n, ms=T0 + 3000 * n, s=(T0 + 3000 * n) // 1000) for n in range(1000, 1400))]
    path = tmp_path / "BTCUSDT-export.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ends.join(lines).encode())
    assert counts(run(path)) == (400, 400, 0, 0)
    expected = file(tmp_path, "BTCUSDT-trades.csv", *(trade(n).rpartition(",")[0] + ",true" for n in range(1000, 1400)))
    run(expected, out="expected.csv")
    assert (tmp_path / "candles.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_an_unknown_layout_is_refused_with_the_names_found_and_wanted_until_columns_are_named(tmp_path: Path) -> None:
    path = file(tmp_path, "BTCUSDT-x.csv", "nr,kurs,menge,zeit,seite", f"1,35000.1,0.5,{T0},buy")
    with pytest.raises(
        Misconfigured, match=r"nr, kurs, menge, zeit, seite do not tell .*wanted are id, price.*--columns"
    ):
        run(path)
    summary = run(path, columns=("id", "price", "qty", "time", "side"))
    assert counts(summary) == (1, 1, 0, 0)
    with pytest.raises(Misconfigured, match="do not tell first, last"):
        run(file(tmp_path, "BTCUSDT-y.csv", "agg_trade_id,price,qty,time,is_buyer_maker", f"1,2,3,{T0},true"))


def test_a_symbol_that_nothing_tells_is_given(tmp_path: Path) -> None:
    path = file(tmp_path, "trades.csv", *ROWS)
    with pytest.raises(Misconfigured, match="--symbol"):
        run(path)
    assert list(run(path, symbol="BTCUSDT_240628").gaps) == ["BTCUSDT_240628"]


@pytest.mark.parametrize("name", ["BTCUSDT_240628", "1000SATSUSDT", "币安人生USDT", "ETHUSDC", "BTCUSDT"])
def test_symbols_are_as_the_exchange_writes_them(tmp_path: Path, name: str) -> None:
    summary = run(file(tmp_path, f"{name}-trades-2023-11-15.csv", HEADER, *ROWS), out="o.parquet")
    assert list(summary.gaps) == [name]
    assert set(pyarrow.parquet.read_table(tmp_path / "o.parquet")["symbol"].to_pylist()) == {name}


def test_contracts_never_become_coins(tmp_path: Path) -> None:
    event = {
        "e": "trade",
        "E": T0,
        "T": T0,
        "s": "BTCUSD_PERP",
        "t": 1,
        "p": "35000.1",
        "q": "10",
        "X": "MARKET",
        "m": True,
    }
    good = file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS)
    frames = file(tmp_path, "frames.txt", json.dumps({"stream": "btcusd_perp@trade", "data": event}))
    headed = file(
        tmp_path,
        "ETHUSD-trades.csv",
        "id,price,qty,base_qty,time,is_buyer_maker",
        "1,35000.1,10,0.1,1700006400000,true",
    )
    named = file(tmp_path, "ETHUSD_240628-aggTrades.csv", f"1,2000.1,10,1,1,{T0},true")
    summary = run(good, frames, headed, named)
    assert list(summary.gaps) == ["BTCUSDT"]
    assert counts(summary) == (402, 400, 0, 2)
    assert "contracts, not coins" in next(summary.account.names())
    assert len(summary.account.set_aside) == 1
    with pytest.raises(BadRecord, match="contracts, not coins"):
        run(frames, out="none.csv")


def test_placeholders_of_minus_one_and_of_price_zero_are_named(tmp_path: Path) -> None:
    rows = ["100,35000.1,0.5,1000,1001,1700006400000,true,true", "101,0.0,0.0,-1,-1,1700006400010,false,true",
            "102,35000.2,0.5,1002,1003,1700006400020,true,true", "-1,0,0,-1,-1,0,false,true"]  # fmt: skip
    summary = run(file(tmp_path, "BTCUSDT-aggTrades-1.csv", *rows))
    assert (counts(summary), summary.trades, summary.account.gap_count) == ((4, 2, 0, 2), 4, 0)


def test_futures_aggregates_that_skip_ids_lack_nothing(tmp_path: Path) -> None:
    rows = [f"{n},35000.1,0.5,{10 * n},{10 * n + 4},{T0 + 3000 * n},true" for n in range(1000, 1400)]
    summary = run(file(tmp_path, "BTCUSDT-aggTrades-1.csv", AGG_HEADER, *rows[::-1]))
    assert (counts(summary), summary.trades, summary.account.gap_count) == ((400, 400, 0, 0), 2000, 0)
    assert (tmp_path / "candles.csv").read_text().count("true") == summary.candles - 2


def test_aggregates_and_their_trades_together_count_once(tmp_path: Path) -> None:
    singles = [f"{n},35000.1,0.5,1,{T0 + n // 4 * 1000},true" for n in range(1000, 1400)]
    aggregates = [f"{n},35000.1,2.0,{4 * n},{4 * n + 3},{T0 + n * 1000},true" for n in range(250, 350)]
    summary = run(file(tmp_path, "BTCUSDT-trades.csv", *singles), file(tmp_path, "BTCUSDT-aggTrades.csv", *aggregates))
    assert (counts(summary), summary.trades) == ((500, 100, 400, 0), 400)


def test_an_aggregate_that_claims_to_be_many_others_is_outvoted(tmp_path: Path) -> None:
    rows = [f"{n},35000.{n % 9},0.5,{n},{n},{T0 + n * 1000},true" for n in range(1000, 1400)]
    rows[5] = f"1005,35000.5,0.5,1005,1300,{T0 + 1005_000},true"
    summary = run(file(tmp_path, "BTCUSDT-aggTrades.csv", *rows))
    assert counts(summary) == (400, 399, 0, 1)


def event(number: int, **changed: Any) -> dict[str, Any]:
    own = {
        "e": "trade",
        "E": T0 + number,
        "s": "BTCUSDT",
        "t": number,
        "p": "35000.1",
        "q": "0.5",
        "T": T0 + 3000 * number,
    }
    return {**own, "m": True, "M": True, **changed}


EVENTS = [event(number) for number in range(1000, 1400)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps({"stream": "btcusdt@trade", "data": each}) for each in EVENTS),
        "\n".join(json.dumps({"data": each, "stream": "btcusdt@trade"}) for each in EVENTS),
        "\n".join(json.dumps(dict(reversed(each.items())), separators=(",", ":")) for each in EVENTS),
        "\n".join(f"{each['E']}000000 {json.dumps(each)}" for each in EVENTS),
        "\n".join(f"2023-11-15T00:00:00.123Z {json.dumps(each)}" for each in EVENTS),
        "\n".join(f"1700006400.123: {json.dumps({'stream': 'btcusdt@trade', 'data': each})}" for each in EVENTS),
        "\n".join(json.dumps({"stream": "btcusdt@trade", "data": each}, indent=2) for each in EVENTS),
        "\n".join(f"1700006400009000000 {json.dumps(each, indent=4)}" for each in EVENTS),
        json.dumps(EVENTS),
        json.dumps([{"data": each, "stream": "btcusdt@trade"} for each in EVENTS], indent=1),
        json.dumps(EVENTS[:200]) + "\n" + json.dumps(EVENTS[200:]),
        json.dumps(EVENTS[:200]) + json.dumps(EVENTS[200:]),
        "wss://stream.binance.com/ws <-> 1\n" + "\n".join(map(json.dumps, EVENTS)),
    ],
)  # fmt: skip
def test_frames_are_told_by_parsing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recorded"
    path.write_text(text)
    summary = run(path)
    assert counts(summary)[1:] == (400, 0, 0)
    assert summary.account.is_whole


def test_what_is_no_trade_of_the_market_is_counted_not_guessed(tmp_path: Path) -> None:
    others = [
        {"result": None, "id": 1},
        {"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"}},
        {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"},
        {"e": "kline", "E": T0, "s": "BTCUSDT", "k": {"t": 1}},
        {"lastUpdateId": 1, "bids": [], "asks": []},
        event(1400, X="NA", p="0", q="0"),
        event(1401, X="INSURANCE_FUND", p="9"),
    ]
    path = file(tmp_path, "frames", *map(json.dumps, [*EVENTS, *others, event(1402, X="MARKET")]))
    summary = run(path)
    assert dict(summary.account.left_out) == {
        "acknowledgements": 1,
        "events of other streams": 4,
        "trades not made on the market": 2,
    }
    assert (counts(summary), summary.account.gap_count) == ((408, 401, 0, 0), 0)


def unified(number: int, **changed: Any) -> dict[str, Any]:
    own = {"info": {}, "timestamp": T0 + 3000 * number, "datetime": "x", "symbol": "BTC/USDT", "id": str(number)}
    fees = {"fees": [{"cost": None, "currency": None}, {"cost": 1, "currency": "BNB"}]}
    return {**own, "side": "sell", "price": 35000.1, "amount": 1e-05, "cost": 0.35, **fees, **changed}


@pytest.mark.parametrize("is_list", [True, False])
def test_unified_trades_of_ccxt_as_a_list_and_line_by_line(tmp_path: Path, is_list: bool) -> None:
    rows = [unified(number) for number in range(1000, 9000)]
    text = json.dumps(rows) if is_list else "\n".join(map(json.dumps, rows))
    (tmp_path / "trades.json").write_text(text)
    summary = run(tmp_path / "trades.json", out="o.parquet")
    assert (counts(summary), list(summary.gaps)) == ((8000, 8000, 0, 0), ["BTCUSDT"])
    swap = file(tmp_path, "swap.json", json.dumps([unified(1, symbol="BTC/USDT:USDT-240628")]))
    assert list(run(swap).gaps) == ["BTCUSDT_240628"]
    with pytest.raises(BadRecord, match="contracts, not coins"):
        run(file(tmp_path, "inverse.json", json.dumps([unified(1, symbol="BTC/USD:BTC")])))


def test_a_damaged_row_in_a_long_list_costs_itself_alone(tmp_path: Path) -> None:
    text = json.dumps([unified(number) for number in range(1000, 9000)])
    middle = text.index('"id": "5000"')
    (tmp_path / "trades.json").write_text(text[:middle] + '"id": ' + text[middle + 8 :])
    summary = run(tmp_path / "trades.json")
    assert counts(summary)[0] - counts(summary)[3] == counts(summary)[1] >= 7_990
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    assert counts(run(tmp_path / "cut.json"))[1] >= 3_990


def test_archives_of_several_files_with_what_a_mac_adds(tmp_path: Path) -> None:
    path = tmp_path / "november.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("data/BTCUSDT-trades-1.csv", "\n".join(ROWS))
        packed.writestr("__MACOSX/data/._BTCUSDT-trades-1.csv", b"\0\5\x16\7")
        packed.writestr("data/ETHUSDT-trades-1.csv", "\n".join(ROWS))
        packed.writestr("data/ETHUSDT-trades-2.csv", "")
    summary = run(path)
    assert (counts(summary), list(summary.gaps)) == ((800, 800, 0, 0), ["BTCUSDT", "ETHUSDT"])
    assert [note for note in summary.account.notes if "ETHUSDT-trades-2.csv holds no trades" in note]


def test_a_quiet_day_among_other_files_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    quiet = [file(tmp_path, "BTCUSDT-trades-2.csv"), file(tmp_path, "BTCUSDT-trades-3.csv", HEADER)]
    quiet += [file(tmp_path, "BTCUSDT-4.json", "[]"), file(tmp_path, "frames", '{"result":null,"id":1}')]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS), *quiet)
    assert [note.split(" holds")[0] for note in summary.account.notes] == list(map(str, quiet))
    assert summary.account.is_whole


def test_a_damaged_file_is_set_aside_and_none_of_it_counts(tmp_path: Path) -> None:
    good = file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS)
    cut = tmp_path / "ETHUSDT-trades-1.csv.gz"
    cut.write_bytes(gzip.compress("\n".join(trade(n) for n in range(50_000)).encode())[:-100])
    summary = run(good, cut)
    assert (counts(summary), list(summary.gaps)) == ((400, 400, 0, 0), ["BTCUSDT"])
    assert "damaged or cut off" in summary.account.set_aside[0]
    assert not summary.account.is_whole


@pytest.mark.parametrize("damage", ["{},{}", "{}{}", "{}\t{}"])
def test_glued_lines_are_named_and_not_half_of_them_is_taken(tmp_path: Path, damage: str) -> None:
    rows = [*ROWS[:10], damage.format(ROWS[10], ROWS[11]), *ROWS[12:]]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", HEADER, *rows))
    assert counts(summary) == (399, 398, 0, 1)
    assert "line 12: not a row of trades" in next(summary.account.names())
    assert summary.account.missing == 2


def test_volumes_of_zero_with_trades_in_them_are_said(tmp_path: Path) -> None:
    rows = [trade(n, quantity="0.0" if n < 1200 else "1.0") for n in range(1000, 1400)]
    summary = run(file(tmp_path, "BTCUSDT-trades-1.csv", *rows))
    assert "2 candles have trades but a volume of zero" in summary.account.notes[0]


def test_small_numbers_come_out_as_plain_decimals_that_are_read_back(tmp_path: Path) -> None:
    rows = [trade(n, price="0.00000085", quantity="0.00000001") for n in range(1000, 1400)]
    path = file(tmp_path, "PEPEUSDT-trades-1.csv", *rows)
    run(path)
    run(path, out="candles.parquet")
    header, *lines = (line.split(",") for line in (tmp_path / "candles.csv").read_text().splitlines())
    exact = pyarrow.parquet.read_table(tmp_path / "candles.parquet")
    for name in header:
        kind = exact.schema.field(name).type
        found = [dict(zip(header, line, strict=True))[name] for line in lines]
        if pa.types.is_decimal(kind):
            wanted = [int(value.scaleb(kind.scale)) for value in exact[name].to_pylist()]
            assert [to_units(text, kind.scale) for text in found] == wanted
    assert pyarrow.csv.read_csv(tmp_path / "candles.csv")["trade_count"].to_pylist() == exact["trade_count"].to_pylist()


def test_the_command_says_at_the_end_what_was_refused_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = file(tmp_path, "BTCUSDT-trades-1.csv", *ROWS)
    assert make([good], tmp_path / "o.csv", "5m", None, None) == 0
    bad = file(tmp_path, "BTCUSDT-trades-2.csv", *(f"{n},x,y" for n in range(3000)), *ROWS)
    capsys.readouterr()
    assert make([bad], tmp_path / "o.csv", "5m", None, None) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "… and 2,000 more" in lines[-3]
    assert len((tmp_path / "o.csv.account.txt").read_text().splitlines()) == 3000
    assert lines[-2:] == [
        "3400 rows read = 400 in candles + 0 duplicates + 3000 refused + 0 left out",
        "not whole: 3000 rows refused, 0 trade ids lost in 0 gaps, 0 files not read",
    ]
    with pytest.raises(Misconfigured, match="--symbol"):
        make([good], tmp_path / "o.csv", "5m", "btc usdt", None)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[list[str], bool]:
    """The text of some files that come of a good one, and whether all its trades are still told by somebody."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    lines = ROWS[: draw(st.integers(1, 80))]
    acts = draw(
        st.lists(st.sampled_from(["permute", "repeat", "cut", "glue", "relabel", "header", "blank"]), max_size=4)
    )
    for act in acts:
        lines = _spoil(lines, act, rng) if lines else lines
    count = draw(st.integers(1, 3))
    ends = draw(st.sampled_from(["\n", "\r\n"]))
    texts = ["".join(line + ends for line in lines[part::count]) for part in range(count)]
    return rng.sample(texts, count), not {"cut", "glue", "relabel"} & set(acts)


def _spoil(lines: list[str], act: str, rng: random.Random) -> list[str]:
    place = rng.randrange(len(lines))
    match act:
        case "permute":
            return rng.sample(lines, len(lines))
        case "repeat":
            return lines + rng.sample(lines, rng.randint(1, len(lines)))
        case "cut":
            return [*lines[:place], lines[place][: rng.randint(0, len(lines[place]))], *lines[place + 1 :]]
        case "glue":
            return [*lines[:place], "".join(lines[place : place + 2]), *lines[place + 2 :]]
        case "header" | "blank":
            return [*lines[:place], HEADER if act == "header" else "  ", *lines[place:]]
    cells = lines[place].split(",")
    column = rng.randrange(len(cells))
    cells[column] = rng.choice(
        ["0", "-1", "", "1e-7", "x", "true", str(rng.randrange(10**18)), cells[0], cells[-2:][0]]
    )
    return [*lines[:place], ",".join(cells), *lines[place + 1 :]]


def _names_columns(line: str) -> bool:
    """Whether a line is the header, also with another name for the one column that no trade is read by."""
    cells, names = [cell.strip() for cell in line.split(",")], HEADER.split(",")
    return [*cells[:3], *cells[4:]] == [*names[:3], *names[4:]] and cells[3] in ("quote_qty", "x", "")


@given(given_texts=spoilt())
@example(given_texts=(["id,price,qty,id,time,is_buyer_maker\n1000,35000.1,0.5,17500.05,1700009400000,true\n"], False))
@example(given_texts=(["id,price,qty,x,time,is_buyer_maker\n1000,35000.1,0.5,17500.05,1700009400000,true\n"], False))
@example(
    given_texts=(
        ["id,price,qty,quote_qty,time,is_buyer_maker  \n1000,35000.1,0.5,17500.05,1700009400000,true\n"],
        False,
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_to_a_good_file_the_account_adds_up(
    given_texts: tuple[list[str], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, is_all_there = given_texts
    monkeypatch.setattr(csv_blocks, "BLOCK", 500)
    monkeypatch.setattr(external_sort, "CHUNK", 25)
    monkeypatch.setattr(external_sort, "LEAST", 2)
    files = [tmp_path / f"BTCUSDT-trades-{number}.csv" for number in range(len(texts))]
    for path, text in zip(files, texts, strict=True):
        path.write_bytes(text.encode())
    rows = sum(bool(line.strip()) and not _names_columns(line) for text in texts for line in text.splitlines())
    try:
        summary = run(*files)
    except (BadRecord, Misconfigured):
        assert not is_all_there
        return
    account = summary.account
    if account.set_aside:  # its first line became a header that says too little
        assert not is_all_there
        return
    assert account.rows == rows == account.placed + account.duplicates + account.refused
    assert summary.trades == account.placed
    assert account.named == account.refused + account.gap_count
    if is_all_there:
        good = {line for text in texts for line in text.splitlines() if line.strip() and not _names_columns(line)}
        assert (account.placed, account.refused) == (len(good), 0)
        run(file(tmp_path, "BTCUSDT-sorted.csv", *sorted(good)), out="sorted.csv")
        assert (tmp_path / "candles.csv").read_bytes() == (tmp_path / "sorted.csv").read_bytes()


FIELD = {  # rows in candles, refused, left out, candles, files not read
    "BTCUSDT-aggTrades-minus1.csv": (2, 1, 0, 1),
    "BTCUSDT-ccxt-unified.json": (5, 0, 0, 1),
    "BTCUSDT-trades-2023-11-15.csv": (2, 0, 0, 1),
    "BTCUSDT-trades-2023-11-interleaved.csv": (4000, 0, 0, 2000),
    "BTCUSDT-trades-bom.csv": (2, 0, 0, 1),
    "BTCUSDT-trades-far.csv": (4, 1, 0, 2),
    "BTCUSDT-trades-mac.zip": (10, 0, 0, 1),
    "BTCUSDT-trades-space.csv": (3, 0, 0, 1),
    "BTCUSDT_240628-trades-2023-11-15.csv": (2, 0, 0, 1),
    "ETHUSDT-aggTrades-zeroqty.csv": (3, 0, 0, 3),
    "KSMUSDT-trades-glued2.csv": (2, 1, 0, 1),
    "PEPEUSDT-trades-small.csv": (4, 0, 0, 3),
    "frames-datafirst-mixed.txt": (400, 0, 0, 2),
    "frames-futures-NA.txt": (8, 0, 2, 1),
    "frames-rawstream.txt": (400, 0, 0, 2),
    "币安人生USDT-trades-2025-11-15.csv": (1, 0, 0, 1),
}


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(FIELD))
def test_files_from_the_field_are_read_as_they_should_be(data: Path, tmp_path: Path, name: str) -> None:
    summary = write_candles([data / "field" / name], tmp_path / "o.csv")
    account = summary.account
    assert (account.placed, account.refused, account.left_out.total(), summary.candles) == FIELD[name]
    assert account.duplicates == 0


@pytest.mark.data
def test_all_files_of_the_field_together(data: Path, tmp_path: Path) -> None:
    field = data / "field"
    pair = [field / "BTCUSDT_240628-trades-2023-11-15.csv", field / "BTCUSDT-trades-2023-11-15.csv"]
    summary = write_candles(
        [*pair, field / "BTCUSDT-trades-empty.csv", field / "BTCUSD_PERP-trades-2023-11-15.csv"], tmp_path / "o.csv"
    )
    assert (list(summary.gaps), summary.trades, summary.duplicates) == (["BTCUSDT", "BTCUSDT_240628"], 4, 0)
    assert "empty.csv holds no trades" in summary.account.notes[0]
    assert "contracts, not coins" in summary.account.set_aside[0]
