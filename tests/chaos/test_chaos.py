"""Chaos in short, and the proof that its judge sees what it should. `make chaos` is the long run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from quantstream.lake import Lake
from quantstream.market import MINUTE, SECOND, UNIT, Candle, Trade
from quantstream.tables import candle_rows
from streaming.offline import build_candles
from tests.chaos import judge as judging
from tests.chaos.judge import Verdict
from tests.chaos.platform import Size
from tests.chaos.run import run
from tests.chaos.schedule import BROKER_KILL, BROKER_RESTART, FAULT, KILL, STAGES, draw

T0 = 1_723_161_600 * SECOND
END = (T0 + 10 * MINUTE) // 1000


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_ten_kills_and_a_broker_killed_under_a_faulty_exchange_lose_and_repeat_nothing(tmp_path: Path) -> None:
    report = run(tmp_path / "state", seed=11, seconds=25, kills=10, broker_restarts=1, size=Size(), say=print)
    print("\n".join(report.lines()))
    assert report.kills == Counter(dict.fromkeys(STAGES, 2))
    assert report.broker == Counter({BROKER_KILL: 1})
    assert sum(report.faults.values()) > 10
    assert report.verdict.differences == []
    assert report.not_ready == []
    assert report.survived


def test_a_schedule_is_the_seeds_alone_and_hits_each_stage_alike() -> None:
    blows = draw(5, 180, kills=24, broker_restarts=2)
    assert blows == draw(5, 180, kills=24, broker_restarts=2) != draw(6, 180, kills=24, broker_restarts=2)
    assert [blow.at for blow in blows] == sorted(blow.at for blow in blows)
    killed = Counter(blow.target for blow in blows if blow.kind == KILL)
    assert set(killed) == set(STAGES)
    assert set(killed.values()) <= {4, 5}
    others = Counter(blow.kind for blow in blows if blow.kind != KILL)
    assert others == {FAULT: 6, BROKER_KILL: 1, BROKER_RESTART: 1}


class Market:
    """The exchange's own answers for some trades."""

    def __init__(self, trades: list[Trade], candles: list[Candle]) -> None:
        self.rows, self.candles = trades, candles

    def trades(self, symbol: str, first_id: int, before: int) -> list[dict[str, object]]:
        return [
            {
                "id": trade.id,
                "price": f"{trade.price / UNIT:.8f}",
                "qty": f"{trade.quantity / UNIT:.8f}",
                "time": trade.traded_at // 1000,
                "isBuyerMaker": trade.buyer_is_maker,
            }
            for trade in self.rows
            if trade.id >= first_id and trade.traded_at // 1000 < before
        ]

    def klines(self, symbol: str, interval: str, start: int, before: int) -> list[list[object]]:
        rows = candle_rows(self.candles).to_pylist()
        found = []
        for candle, row in zip(self.candles, rows, strict=True):
            kline: list[object] = [candle.opened_at // 1000, *([None] * 10)]
            for name, place in judging.KLINE.items():
                kline[place] = str(row[name])
            kline[8] = candle.trade_count
            found += [kline] if start <= candle.opened_at // 1000 < before else []
        return found


TRADES = [Trade("AUSDT", n, n, n, (100 + n) * UNIT, UNIT, T0 + n * 30 * SECOND, n % 2 == 0) for n in range(20)]
CANDLES = [candle for candle in build_candles([*TRADES, TRADES[-1]])[0] if candle.opened_at < END * 1000]


def lake_of(folder: Path, trades: list[Trade], candles: list[Candle]) -> Lake:
    lake = Lake(str(folder))
    columns = {
        "symbol": [trade.symbol for trade in trades],
        "id": [trade.id for trade in trades],
        "first_trade_id": [trade.id for trade in trades],
        "last_trade_id": [trade.id for trade in trades],
        "price": pa.array([trade.price // UNIT for trade in trades]).cast(pa.decimal128(38, 8)),
        "quantity": pa.array([trade.quantity // UNIT for trade in trades]).cast(pa.decimal128(38, 8)),
        "traded_at": pa.array([trade.traded_at for trade in trades]).cast(pa.timestamp("us", tz="UTC")),
        "buyer_is_maker": [trade.buyer_is_maker for trade in trades],
        "received_at": pa.array([0] * len(trades)).cast(pa.timestamp("us", tz="UTC")),
        "origin": ["live"] * len(trades),
    }
    lake.append("trades", pa.table(columns))
    lake.append("candles", candle_rows(candles))
    return lake


def verdict_of(folder: Path, trades: list[Trade], candles: list[Candle]) -> dict[str, int]:
    verdict, market = Verdict(), Market(TRADES, complete(CANDLES))
    lake = lake_of(folder, trades, candles)
    truth = judging._judge_trades(verdict, lake, market, "AUSDT", END)  # type: ignore[arg-type]
    judging._judge_candles(verdict, lake, market, "AUSDT", "5m", truth, END)  # type: ignore[arg-type]
    return {name: count for name, count in vars(verdict).items() if count and name != "differences"}


def complete(candles: list[Candle]) -> list[Candle]:
    return [msgspec.structs.replace(candle, is_complete=True) for candle in candles]


def test_the_judge_finds_nothing_wrong_where_nothing_is(tmp_path: Path) -> None:
    assert verdict_of(tmp_path, TRADES, complete(CANDLES)) == {"trades": 20, "candles": 2}


def test_the_judge_sees_each_kind_of_wrong(tmp_path: Path) -> None:
    whole = complete(CANDLES)
    other = msgspec.structs.replace(TRADES[4], price=TRADES[4].price + UNIT)
    wrong = msgspec.structs.replace(whole[0], taker_buy_volume=0)
    half = msgspec.structs.replace(whole[0], is_complete=False)
    cases = {
        "missing": (TRADES[:7] + TRADES[8:], whole, {"trades": 19, "candles": 2, "trades_missing": 1}),
        "twice": ([*TRADES, TRADES[3]], whole, {"trades": 20, "candles": 2, "trades_duplicate": 1}),
        "other": ([*TRADES[:4], other, *TRADES[5:]], whole, {"trades": 19, "candles": 2, "trades_different": 1}),
        "gone": (TRADES, whole[:1], {"trades": 20, "candles": 1, "candles_missing": 1}),
        "again": (TRADES, [*whole, whole[0]], {"trades": 20, "candles": 2, "candles_duplicate": 1}),
        "false": (TRADES, [wrong, whole[1]], {"trades": 20, "candles": 1, "candles_different": 1}),
        "half": (TRADES, [half, whole[1]], {"trades": 20, "candles": 1, "candles_incomplete": 1}),
    }
    found = {name: verdict_of(tmp_path / name, trades, candles) for name, (trades, candles, _) in cases.items()}
    assert found == {name: expected for name, (_, _, expected) in cases.items()}
