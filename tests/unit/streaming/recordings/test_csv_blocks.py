"""Archives read in blocks give the candles, the state and the complaints of archives read row by row."""

import random
import zipfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantstream.core.candle import Candle
from quantstream.core.decimals import units_text
from quantstream.core.errors import BadRecord
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import MAX_QUOTE, Trade
from streaming.recordings import csv_blocks
from streaming.recordings.readers import Block, read_blocks, read_trades
from tests.straight import build_candles

T0 = 1_723_161_600 * SECOND
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match\n"
SINGLE_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"
ODD_LINES = (
    "\n",
    '5,"1.5",1.0,5,5,1723161600000,True,True\n',
    '5,1.5,1.0,5,5,1723161600000,True,"a\nb"\n',
    "5,1.5,1.0,5,5,1723161600000,TRUE,x\n",
    "5,1e5,1.0,5,5,1723161600000,True,True\n",
    "5,-1,1.0,5,5,1723161600000,True,True\n",
    "5,1.000000001,1.0,5,5,1723161600000,True,True\n",
    "5,1.5000000000,1.0,5,5,1723161600000,true,True\n",
    "5,123456789012345.5,98765432109876543210.0,5,5,1723161600000,true,True\n",
    "5,1.5,1.0,6,5,1723161600000,True,True\n",
    "5,0,1.0,5,5,1723161600000,True,True\n",
    "5,1.5,1.0,5,5,17231616,True,True\n",
    "5,1.5,1.0,5,5,1723161600000,True\n",
    "5, 1.5,1.0,5,5,1723161600000,Yes,True\n",
    "5,9999999999.0,9999999999.0,5,5,1723161600000,True,True\n",
    "5,1.5,1.0,5,9000000000,1723161600000,True,True\n",
    "5,1.5,1.0\n",
    "é,1.5,1.0,5,5,1723161600000,True,True\n",
)


def messy_log(rng: random.Random, most: int, pace: int, oddity: float) -> list[Trade]:
    """Trades in order with gaps, doubles, late ones, overlaps and pauses of an hour in between."""
    at, number, log = T0 + rng.randrange(10 * MINUTE), rng.choice([0, 1, 10**12]), list[Trade]()
    for _ in range(rng.randint(1, 300)):
        at, count = at + rng.randrange(1, pace) * 1000, rng.choice([1, 1, 1, 3])
        price = rng.randint(1, most)
        sizes = price, rng.randint(0, min(most, MAX_QUOTE // price))
        trade = Trade("BTCUSDT", number, number, number + count - 1, *sizes, at, rng.random() < 0.5)
        number += count
        if rng.random() >= oddity:
            log.append(trade)
            continue
        match rng.randrange(5):
            case 0:
                log += [trade, rng.choice([trade, *log])]
            case 1:
                log.insert(rng.randint(max(0, len(log) - 5), len(log)), trade)
            case 2:
                at += rng.choice([MINUTE, 60 * MINUTE])
            case 3:
                log.append(Trade("BTCUSDT", number, max(0, number - 5), number, *sizes, at, True))
            case _:
                at -= rng.randrange(2_000) * 1000
                log.append(trade)
    return log


def row(trade: Trade, is_single: bool, in_micros: bool, decimals: int, rng: random.Random) -> str:
    """Print a trade in one of the archive's layouts, with no more decimals than it needs or all eight."""
    price, quantity = (
        text if decimals == 8 else text.rstrip("0").rstrip(".")
        for text in map(units_text, (trade.price, trade.quantity))
    )
    at = trade.traded_at if in_micros else trade.traded_at // 1000
    ids = [] if is_single else [trade.first_trade_id, trade.last_trade_id]
    cells = [trade.id, price, quantity, *(["17.5"] if is_single else ids), at, trade.buyer_is_maker]
    return ",".join(map(str, [*cells, rng.choice(["True", "False"])])) + "\n"


@st.composite
def archives(draw: st.DrawFn) -> str:
    rng = random.Random(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([10**9, 10**13, 10**18 - 1]))
    log = messy_log(rng, most, draw(st.sampled_from([20, 1_000, 20_000])), draw(st.sampled_from([0.0, 0.01, 0.2])))
    is_single, in_micros, decimals = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([8, 2]))
    lines = [row(trade, is_single, in_micros, decimals, rng) for trade in log]
    if draw(st.integers(0, 3)) == 0:
        lines.insert(rng.randint(0, len(lines)), draw(st.sampled_from(ODD_LINES)))
    header = draw(st.sampled_from(["", SINGLE_HEADER if is_single else HEADER]))
    return header + "".join(lines)[: None if draw(st.booleans()) else -1]


def outcome(parts: Iterable[Trade | Block]) -> tuple[list[Candle], bytes] | str:
    """Return the candles and the builder's state, or the complaint."""
    try:
        candles, builders = build_candles(parts)
    except BadRecord as error:
        return str(error)
    return candles, msgspec.json.encode({symbol: builder.state for symbol, builder in builders.items()})


@given(text=archives(), block=st.sampled_from([100, 1_000, 1 << 19]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_of_any_size_equal_the_rows_one_by_one(
    text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(csv_blocks, "BLOCK", block)
    assert outcome(read_blocks(file)) == outcome(read_trades(file))


@pytest.mark.parametrize("odd", ODD_LINES)
def test_an_odd_line_is_judged_as_it_is_row_by_row(odd: str, tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv"
    rng = random.Random(1)
    lines = [row(trade, False, False, 8, rng) for trade in messy_log(rng, 10**12, 1_000, 0)]
    file.write_text("".join([*lines[:50], odd, *lines[50:]]), encoding="utf-8")
    assert outcome(read_blocks(file)) == outcome(read_trades(file))


@pytest.mark.parametrize("is_single", [False, True])
def test_a_plain_archive_is_read_as_columns_throughout(is_single: bool, tmp_path: Path) -> None:
    rng = random.Random(2)
    log = [Trade("BTCUSDT", n, n, n, 10**13 + n, 10**11 + n, T0 + n * SECOND, n % 3 == 0) for n in range(20_000)]
    file = tmp_path / "BTCUSDT-aggTrades-2024-08-08.zip"
    with zipfile.ZipFile(file, "w") as packed:
        text = (SINGLE_HEADER if is_single else HEADER) + "".join(row(trade, is_single, True, 8, rng) for trade in log)
        packed.writestr("BTCUSDT-aggTrades-2024-08-08.csv", text)
    parts = list(read_blocks(file))
    assert {type(part) for part in parts} == {Block}
    assert [trade for part in parts for trade in trades_of(part)] == log


def trades_of(part: Trade | Block) -> list[Trade]:
    assert isinstance(part, Block)
    return [part.columns.trade(number, part.symbol) for number in range(len(part.columns))]
