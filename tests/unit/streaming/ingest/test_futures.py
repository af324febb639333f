"""USD-M futures: aggregates run on by their own id while their trades' ids skip, and only market trades count."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantstream.binance.protocols import Row
from quantstream.binance.wire import NotMarketTrade, parse_record, parse_trade, split_frame
from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import IdStatus
from quantstream.core.trade_ids import Sequence as Ids
from quantstream.decode.columns import Parser
from quantstream.settings_loader import load_settings
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeFeed, FakeHistory, FakeLog, connected
from tests.unit.streaming.ingest.running import candles, hasten, make, trades, until

T0 = 1_777_000_200 * SECOND  # on a window of five minutes
T0 -= T0 % (5 * MINUTE)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, FILL_PAUSE=0.001, PATIENCE=0.001, FIRST_PAUSE=0.001, HEARTBEAT_EVERY=0.01, CLOCK_EVERY=0.01)


def row(number: int) -> dict[str, object]:
    """Return the aggregate `number`: of two trades, and every third time an insurance fund's trade came before it."""
    first = 2 * number + number // 3 + 1_000
    price, at = f"{30_000 + number % 7}.10", (T0 + (number - 5) * SECOND) // 1000
    return {"a": number, "p": price, "q": "0.010", "f": first, "l": first + 1, "T": at, "m": number % 2 == 0}


def frame(number: int) -> bytes:
    event = {"e": "aggTrade", "E": T0 // 1000, "s": "BTCUSDT", **row(number), "nq": "0.008"}
    return json.dumps({"stream": "btcusdt@aggTrade", "data": event}, separators=(",", ":")).encode()


class FuturesHistory(FakeHistory):
    """REST of a futures market that has the aggregates `[1, last]`."""

    def __init__(self, last: int) -> None:
        super().__init__([], now=T0 + (last - 5) * SECOND, singles=False)
        self.last = last

    def _market(self, first: int) -> list[Row]:
        raws = [json.dumps(row(number)).encode() for number in range(max(first, 1), self.last + 1)][:1000]
        return [(parse_trade(raw, "BTCUSDT"), raw) for raw in raws]

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        return {"BTCUSDT": int(str(row(self.last)["l"])) + 1}  # and an insurance fund's trade since

    async def latest_trade(self, symbol: str) -> Trade | None:
        return self._market(self.last)[0][0]

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        self._called("aggregates", aggregate_id)
        return self._market(aggregate_id)

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        self._called("since", at)
        return [one for one in self._market(1) if one[0].traded_at >= at]


def made(history: FuturesHistory, log: FakeLog) -> Ingest:
    return make(history, log, stream="aggTrade")


async def test_ids_of_trades_that_skip_are_no_gap_and_the_candle_is_complete_at_once() -> None:
    history, log, feed = FuturesHistory(10), FakeLog(), FakeFeed()
    async with connected(made(history, log), [feed]):
        await until(lambda: len(trades(log)) == 6)
        calls = len(history.calls)
        for number in range(11, 320):
            history.last = number
            feed.put_raw(frame(number))
        await until(lambda: len(trades(log)) == 315)
        assert len(history.calls) == calls, "nothing was asked for"
    assert [trade.id for trade in trades(log)] == list(range(5, 320))
    (candle,) = candles(log, "BTCUSDT")
    assert (candle.is_complete, candle.trade_count, candle.opened_at) == (True, 2 * 300, T0)
    assert log.events == []


@pytest.mark.parametrize("lost", [0, 1], ids=["none lost", "the first lost on its way"])
async def test_of_thousands_of_contracts_each_ones_first_window_is_complete_that_opened_after_rest_was_asked(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    hasten(monkeypatch, MAX_BEGINNINGS=0)  # it is none of those whose open window is fetched
    history, log, feed = FuturesHistory(4), FakeLog(), FakeFeed()
    history.now = T0 + SECOND
    work = made(history, log)
    async with connected(work, [feed]):
        await until(lambda: bool(work.feeds["BTCUSDT"].silence.foreseen))
        history.last = 319
        for number in range(5 + lost, 320):
            feed.put_raw(frame(number))
        await until(lambda: len(trades(log)) == 315)
    (candle,) = candles(log, "BTCUSDT")
    assert (candle.is_complete, candle.trade_count, candle.opened_at) == (True, 2 * 300, T0)
    assert log.events == []


async def test_a_gap_in_aggregates_is_filled_from_the_first_missing_one() -> None:
    history, log, feed = FuturesHistory(10), FakeLog(), FakeFeed()
    async with connected(made(history, log), [feed]):
        await until(lambda: len(trades(log)) == 6)
        history.last = 330
        for number in (*range(11, 100), *range(140, 331)):
            feed.put_raw(frame(number))
        await until(lambda: len(trades(log)) == 326)
        assert ("aggregates", 100) in history.calls
    assert [trade.id for trade in trades(log)] == list(range(5, 331))
    assert [(candle.is_complete, candle.trade_count) for candle in candles(log, "BTCUSDT")] == [(True, 600)]
    assert log.events == []


async def test_a_restart_of_futures_goes_on_after_the_last_aggregate() -> None:
    history, log = FuturesHistory(50), FakeLog()
    work = made(history, log)
    work.resume({"BTCUSDT": [parse_trade(json.dumps(row(number)).encode(), "BTCUSDT") for number in (19, 20)]})
    async with connected(work, [FakeFeed()]):
        await until(lambda: len(trades(log)) == 30)
    assert [trade.id for trade in trades(log)] == list(range(21, 51))
    assert ("aggregates", 21) in history.calls


async def test_an_insurance_funds_trade_makes_no_stream_mute_and_the_quiet_window_closes() -> None:
    history, log = FuturesHistory(10), FakeLog()
    async with connected(made(history, log), [FakeFeed()]):
        await until(lambda: len(trades(log)) == 6)
        history.now = T0 + 11 * MINUTE
        await until(lambda: len(candles(log, "BTCUSDT")) >= 2)
    assert [(c.is_complete, c.trade_count) for c in candles(log, "BTCUSDT")[:2]] == [(True, 12), (True, 0)]
    assert log.told() == []


def test_aggregates_count_by_their_own_id_and_a_late_one_fills_its_gap() -> None:
    ids = Ids()
    made = {number: parse_trade(json.dumps(row(number)).encode(), "BTCUSDT") for number in range(1, 12)}
    output = [ids.take(made[number])[0] for number in (1, 2, 3, 7, 5, 4, 6, 6, 8)]
    assert output[2:] == [
        IdStatus.NEXT,
        IdStatus.JUMP,
        IdStatus.FILLED,
        IdStatus.FILLED,
        IdStatus.FILLED,
        IdStatus.DUPLICATE,
        IdStatus.NEXT,
    ]
    assert ids.open_gaps[1:] == []
    assert (ids.missing, ids.recovered) == (3, 3)


def test_columns_read_futures_as_they_are() -> None:
    raws = [json.dumps({"e": "aggTrade", "E": 1, "s": "BTCUSDT", **row(n)}).encode() for n in range(1, 400)]
    parser = Parser()
    columns = parser.parse(raws, [b"BTCUSDT"] * len(raws), [0] * len(raws))
    found = [columns.trade_at(row, parser.symbols.names) for row in range(len(raws))]
    assert found == [parse_record(raw, "BTCUSDT") for raw in raws]
    assert columns.by_id.all()
    assert columns.items == {}


async def test_what_is_no_market_trade_is_left_out_and_counted() -> None:
    log, work = FakeLog(), make(FuturesHistory(1), FakeLog())
    head = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1777000200000,"s":"BTCUSDT","t":5,"p":"0","q":"0","X":'
    work.take([head + b'"NA","m":true}}', head + b'"INSURANCE_FUND","m":true}}'], FakeFeed())
    counted = work.metrics.registry.get_sample_value("quantstream_ingest_records_total", {"outcome": "not_market"})
    assert (counted, log.records, log.dead_letters) == (2, [], [])


@pytest.mark.data
def test_recorded_frames_of_futures(data: Path) -> None:
    lines = (data / "field" / "frames-futures-NA.txt").read_bytes().splitlines()
    kinds = []
    for line in lines:
        try:
            kinds.append(parse_trade(split_frame(line.split(b" ", 1)[1])[1]).id)
        except NotMarketTrade:
            kinds.append(-1)
    assert (len(kinds), kinds.count(-1)) == (10, 2)  # of an insurance fund, and one that is none at all
    text = (data / "ws_frames" / "cryptofeed_BINANCE_FUTURES.ws.1.0").read_bytes()
    found = [parse_trade(raw) for raw in re.findall(rb'\{"e":"aggTrade"[^}]*\}', text)]
    assert found
    assert all(trade.by_id for trade in found)
    by_symbol: dict[str, Ids] = {}
    for trade in found:
        by_symbol.setdefault(trade.symbol, Ids()).take(trade)
    assert [gap for ids in by_symbol.values() for gap in ids.open_gaps if gap.after] == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"QUANTSTREAM_ENDPOINTS__WS": "wss://fstream.binance.com"}, "set QUANTSTREAM_ENDPOINTS__WS=wss://fstream.binance.com/market"),
        ({"QUANTSTREAM_ENDPOINTS__API": "/fapi/v1"}, "set QUANTSTREAM_STREAM=aggTrade"),
    ],
)  # fmt: skip
def test_settings_of_futures_that_bring_nothing_are_refused(
    settings: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=re.escape(sentence)):
        load_settings()


def test_the_readmes_futures_are_settings_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).resolve().parents[4] / "README.md").read_text()
    for name, value in re.findall(r"`(QUANTSTREAM_\w+)=([^`]*(?:fstream|fapi|aggTrade)[^`]*)`", readme):
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.endpoints.ws == "wss://fstream.binance.com/market"
    assert (settings.endpoints.api, settings.stream) == ("/fapi/v1", "aggTrade")
