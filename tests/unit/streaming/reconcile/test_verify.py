"""The proof finds every planted fault and names it, and a clean lake is proved clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Misconfigured
from quantstream.core.trade import Trade
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.reconcile.compare import TRADE_FIELDS
from streaming.reconcile.proof_report import Difference, Proof, conclusion, findings
from streaming.reconcile.verify import TABLES, Exchange, verify
from tests.unit.streaming.lakes import STEP, SYMBOL, T0, FakeRest, fill, live_candles, score_rows, trade_rows, walk

NOW = T0 + 100 * STEP
TRADES = walk()
CANDLES = live_candles(TRADES)
CLEAN = {"equal": 12, "different": 0, "missing": 0, "duplicate": 0, "incomplete": 0, "scored_once": 12}
replace = msgspec.structs.replace


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def prove(lake: Lake, truth: list[Candle] = CANDLES, is_down: bool = False, **bounds: int) -> Proof:
    return verify(lake, Exchange(FakeRest(truth, NOW, is_down)), [SYMBOL], **bounds)  # type: ignore[arg-type]


def counts(proof: Proof) -> dict[str, int]:
    return {name: proof.total(name) for name in CLEAN}


def test_the_market_has_flat_windows_and_crosses_a_midnight() -> None:
    flat = [(candle.opened_at - T0) // STEP for candle in CANDLES if not candle.trade_count]
    assert (len(CANDLES), flat) == (12, [3, 4, 9, 10, 11])
    assert all(candle.is_complete for candle in CANDLES)


def test_a_clean_lake_is_equal_everywhere_and_every_candle_scored_once(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    proof = prove(lake)
    assert counts(proof) == CLEAN
    assert (proof.exit_code, proof.total("trades"), proof.total("missing_trades")) == (0, len(TRADES), 0)
    assert conclusion(proof) == (
        "Nothing differs: 12 of 12 candles are equal to their trades and to the exchange's klines."
    )


def test_the_proof_is_of_one_moment_however_long_it_takes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of symbols take minutes, in which a simulated market's clock goes on for hours."""
    symbols = [SYMBOL, *(f"A{n}USDT" for n in range(5))]
    fill(lake, [trade for name in symbols for trade in walk(symbol=name)], named(CANDLES, symbols))
    rest = FakeRest(named(CANDLES, symbols), CANDLES[-1].closed_at)
    opened = list[str]()
    open_table, klines = Lake.table, Exchange.klines

    def counted(self: Lake, name: str) -> DeltaTable:
        opened.append(name)
        return open_table(self, name)

    def slow(self: Exchange, *window: Any) -> Any:
        rest.now += 2 * STEP
        return klines(self, *window)

    monkeypatch.setattr(Lake, "table", counted)
    monkeypatch.setattr(Exchange, "klines", slow)
    proof = verify(lake, Exchange(rest), symbols, end=NOW)
    assert {one.symbol: (one.equal, one.missing) for one in proof.symbols} == dict.fromkeys(symbols, (12, 0))
    assert [(day.missing, day.pending) for day in proof.days] == [(0, 0)] * 2 * len(symbols)
    assert sorted(opened) == sorted(TABLES)  # once, not for each symbol: of a large lake that takes seconds


def named(candles: list[Candle], symbols: list[str]) -> list[Candle]:
    return [replace(candle, symbol=name) for name in symbols for candle in candles]


def test_one_wrong_field_is_found_by_trades_and_by_klines_and_named_exactly(lake: Lake) -> None:
    wrong = replace(CANDLES[5], volume=CANDLES[5].volume + 1)
    fill(lake, TRADES, [*CANDLES[:5], wrong, *CANDLES[6:]])
    proof = prove(lake)
    assert counts(proof) == {**CLEAN, "equal": 11, "different": 1}
    right = f"{CANDLES[5].volume / UNIT:.8f}"
    assert proof.differences == [
        Difference(SYMBOL, "5m", "2024-08-09T00:10:00Z", "volume", f"{wrong.volume / UNIT:.8f}", right, right)
    ]
    assert proof.exit_code == 1
    assert findings(proof)[0] == (
        f"BTCUSDT 5m 2024-08-09T00:10:00Z volume: lake {wrong.volume / UNIT:.8f}, from trades {right}, exchange {right}"
    )


def test_no_field_goes_unproved(lake: Lake) -> None:
    rows = candle_rows(CANDLES)
    for place, field in enumerate(
        TRADE_FIELDS
    ):  # each wrong in a window of its own; high under open and the like included
        column = rows.column_names.index(field)
        values = [value + (window == place) for window, value in enumerate(rows[field].to_pylist())]
        rows = rows.set_column(column, rows.field(column), pa.array(values, rows.field(column).type))
    fill(lake, TRADES, CANDLES[:1])
    lake.append("candles", rows.slice(1))
    proof = prove(lake)
    assert [difference.field for difference in proof.differences] == list(TRADE_FIELDS[1:])
    assert counts(proof)["different"] == len(TRADE_FIELDS) - 1


def test_a_candle_that_its_trades_confirm_but_the_exchange_does_not_differs(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    truth = [CANDLES[0], replace(CANDLES[1], trade_count=61), *CANDLES[2:]]
    (difference,) = prove(lake, truth).differences
    assert (difference.field, difference.lake, difference.recomputed, difference.klines) == (
        "trade_count",
        "60",
        "60",
        "61",
    )


def test_a_missing_candle_is_found_also_where_nobody_traded(lake: Lake) -> None:
    fill(lake, TRADES, [candle for n, candle in enumerate(CANDLES) if n not in (3, 6)])
    proof = prove(lake)
    assert counts(proof) == {**CLEAN, "equal": 10, "missing": 2, "scored_once": 10}
    assert proof.symbols[0].missing_windows == ["2024-08-09T00:00:00Z", "2024-08-09T00:15:00Z"]
    assert proof.exit_code == 1


def test_a_window_that_the_exchange_has_no_kline_for_is_not_missing(lake: Lake) -> None:
    fill(lake, TRADES, [candle for n, candle in enumerate(CANDLES) if n != 4])
    assert counts(prove(lake, [candle for n, candle in enumerate(CANDLES) if n != 4])) == {
        **CLEAN,
        "equal": 11,
        "scored_once": 11,
    }


def test_rows_that_are_there_twice_are_counted_and_named(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    lake.append("candles", candle_rows(CANDLES[6:7]))
    lake.append("trades", trade_rows(TRADES[40:42]))
    proof = prove(lake)
    assert counts(proof) == {**CLEAN, "duplicate": 3}
    assert sorted(proof.symbols[0].duplicate_rows) == [
        "candle 2024-08-09T00:15:00Z revision 0 from trades",
        "trade 1040",
        "trade 1041",
    ]
    assert proof.exit_code == 1


def test_a_doubled_score_and_a_lacking_one_are_told_apart(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES, scored=CANDLES[1:])
    lake.append("scores", score_rows(CANDLES[4:5]))
    proof = prove(lake)
    assert counts(proof) == {**CLEAN, "scored_once": 10}
    assert proof.symbols[0].unscored_windows == ["2024-08-08T23:45:00Z"]
    assert proof.symbols[0].scored_twice_windows == ["2024-08-09T00:05:00Z"]
    assert proof.exit_code == 1


def test_an_incomplete_candle_is_counted_apart_and_held_against_its_trades(lake: Lake) -> None:
    lost = [trade for trade in TRADES if not 1070 <= trade.id < 1075]
    live = live_candles(lost)
    fill(lake, lost, live)
    proof = prove(lake)
    assert counts(proof) == {**CLEAN, "equal": 11, "incomplete": 1}
    one = proof.symbols[0]
    assert (one.missing_trades, one.missing_trade_ids) == (5, ["1070-1074"])
    assert one.incomplete_windows == ["2024-08-08T23:50:00Z"]
    assert proof.exit_code == 0


def test_trades_lost_in_the_lake_show_as_a_difference_and_by_their_ids(lake: Lake) -> None:
    fill(lake, [trade for trade in TRADES if trade.id != 1070], CANDLES)
    proof = prove(lake)
    assert counts(proof)["different"] == 1
    assert "trade_count" in {difference.field for difference in proof.differences}
    assert proof.symbols[0].missing_trade_ids == ["1070-1070"]


def test_the_newest_revision_counts_and_a_corrected_candle_is_held_against_klines_alone(lake: Lake) -> None:
    lost = [trade for trade in TRADES if not 1070 <= trade.id < 1075]
    corrected = replace(
        CANDLES[1], revision=1000, source="klines", first_trade_id=NO_TRADE_ID, last_trade_id=NO_TRADE_ID
    )
    fill(lake, lost, [*live_candles(lost), corrected], scored=CANDLES)
    assert counts(prove(lake)) == CLEAN


def test_an_exchange_that_is_away_is_said_and_the_rest_compared(lake: Lake) -> None:
    fill(lake, TRADES, [*CANDLES[:5], replace(CANDLES[5], high=CANDLES[5].high + 1), *CANDLES[6:]])
    proof = prove(lake, is_down=True)
    assert (counts(proof)["equal"], counts(proof)["different"], proof.exit_code) == (11, 1, 1)
    assert proof.not_compared == [
        "the exchange's klines, for the exchange at http://exchange did not answer",
    ]


def test_nothing_differs_but_not_all_compared_is_not_a_success(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    proof = prove(lake, is_down=True)
    assert (counts(proof), proof.exit_code) == (CLEAN, 2)
    assert conclusion(proof).startswith("Nothing differs in what could be compared")


def test_an_exchange_that_is_away_is_asked_once_only(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    rest = FakeRest(CANDLES, NOW, is_down=True)
    verify(lake, Exchange(rest), [SYMBOL, SYMBOL])
    assert rest.asked == ["/time"]


def test_candles_whose_trades_the_sink_has_yet_to_write_are_left_out(lake: Lake) -> None:
    until = [trade for trade in TRADES if trade.traded_at < T0 + 7 * STEP]
    fill(lake, until, CANDLES)
    proof = prove(lake)
    assert (counts(proof)["equal"], counts(proof)["different"], proof.total("pending")) == (7, 0, 5)
    asked = prove(lake, end=T0 + 8 * STEP)  # who names the end gets it
    assert (counts(asked)["different"], asked.total("pending")) == (1, 0)


def test_the_range_can_be_chosen_and_flat_windows_at_its_start_know_the_price_before(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    proof = prove(lake, start=T0 + 3 * STEP, end=T0 + 6 * STEP)
    assert counts(proof) == {**CLEAN, "equal": 3, "scored_once": 3}
    one = proof.symbols[0]
    assert (one.start, one.end) == ("2024-08-09T00:00:00Z", "2024-08-09T00:15:00Z")


def test_windows_after_the_last_candle_are_due_when_the_end_is_named(lake: Lake) -> None:
    late = Trade(SYMBOL, 2000, 2000, 2000, 100 * UNIT, UNIT, TRADES[-1].traded_at + 30 * STEP, False)
    truth = live_candles([*TRADES, late])
    fill(lake, TRADES, CANDLES)
    assert counts(prove(lake, truth, end=T0 + 15 * STEP))["missing"] == 3


def test_several_intervals_are_proved_in_one_pass(lake: Lake) -> None:
    candles = live_candles(TRADES, ("5m", "1m", "15m"))
    fill(lake, TRADES, candles)
    proof = verify(lake, Exchange(FakeRest(candles, NOW)), [SYMBOL], ("5m", "1m", "15m"))
    by_interval = {one.interval: (one.equal, one.windows) for one in proof.symbols}
    assert by_interval == {"5m": (12, 12), "1m": (59, 59), "15m": (4, 4)}
    assert proof.exit_code == 0


def test_json_has_the_six_counts_first_and_differences_as_a_list(lake: Lake) -> None:
    fill(lake, TRADES, [*CANDLES[:5], replace(CANDLES[5], high=CANDLES[5].high + 1), *CANDLES[6:]])
    shape = json.loads(prove(lake).as_json())
    assert list(shape)[:7] == [*CLEAN, "differences"]
    assert list(shape["differences"][0]) == [
        *("symbol", "interval", "opened_at", "field", "lake", "recomputed", "klines")
    ]


def test_a_lake_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no lake with candles at"):
        prove(Lake(str(tmp_path / "nowhere")))
    assert list(tmp_path.iterdir()) == []


def test_a_symbol_without_candles_is_not_a_success(lake: Lake) -> None:
    fill(lake, TRADES, CANDLES)
    proof = verify(lake, Exchange(FakeRest(CANDLES, NOW)), [SYMBOL, "ETHUSDT"])
    assert proof.not_compared == ["ETHUSDT 5m: the lake holds no candles built from trades yet"]
    assert proof.exit_code == 2


def test_quote_volumes_finer_than_the_exchange_prints_are_equal_within_its_rounding(lake: Lake) -> None:
    fine = [replace(trade, price=trade.price + 3, quantity=trade.quantity + 7) for trade in TRADES]
    truth = live_candles(fine)
    fill(lake, fine, truth)
    assert counts(prove(lake, truth)) == CLEAN
    off = replace(truth[0], quote_volume=truth[0].quote_volume - 100 * UNIT)
    assert counts(prove(lake, [off, *truth[1:]]))["different"] == 1
