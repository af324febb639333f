"""Who was listed when: every change of the exchange's list is a row, and a list that cannot be right changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantstream.binance.instrument_list import fetch_instruments
from quantstream.binance.rest import BlockingRest
from quantstream.core.decimals import UNIT
from quantstream.core.errors import DataRejected
from quantstream.core.instrument import DELISTED, Instrument
from quantstream.core.time import DAY, SECOND, utc
from quantstream.lake.instruments import History, history, instrument_rows, note
from quantstream.lake.store import Lake
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve
from streaming.exchange.server.venue import FUTURES, SPOT, Venue

T0 = 1_763_800_123 * SECOND
BTC, ETH = (
    Instrument(f"{name}USDT", "TRADING", name, "USDT", UNIT // 100, UNIT // 10**5, 5 * UNIT) for name in ("BTC", "ETH")
)


def statuses(listings: History, at: int) -> dict[str, str]:
    return {symbol: state.status for symbol, state in listings.at(at).items()}


def test_each_change_is_a_row_and_the_same_again_is_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert note(lake, [BTC, ETH], T0, T0 + 5) == [(None, BTC), (None, ETH)]
    assert note(lake, [ETH, BTC], T0 + DAY, T0 + DAY) == []
    finer = replace(BTC, tick=UNIT // 1000)
    assert note(lake, [finer, ETH], T0 + 2 * DAY, T0 + 2 * DAY) == [(BTC, finer)]
    assert note(lake, [finer], T0 + 3 * DAY, T0 + 3 * DAY) == [(ETH, replace(ETH, status=DELISTED))]
    assert note(lake, [finer], T0 + 4 * DAY, T0 + 4 * DAY) == [], "who is gone is gone once"
    assert note(lake, [finer, ETH], T0 + 5 * DAY, T0 + 5 * DAY) == [(replace(ETH, status=DELISTED), ETH)]
    found = history(lake)
    assert lake.read("instruments").num_rows == 5
    assert found.known_since == T0
    assert found.at(T0 - 1) == {}
    assert found.listed(T0 + 2 * DAY - 1) == {"BTCUSDT": BTC, "ETHUSDT": ETH}
    assert found.listed(T0 + 3 * DAY) == {"BTCUSDT": finer}
    assert found.away("ETHUSDT") == [(T0 + 3 * DAY, T0 + 5 * DAY)]
    assert statuses(history(lake, utc(T0 + 2 * DAY)), T0 + 9 * DAY) == {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING"}


def test_the_dead_of_the_archive_were_listed_while_they_lived(tmp_path: Path) -> None:
    lake, luna = Lake(str(tmp_path)), Instrument("LUNAUSDT", "TRADING", "LUNA", "USDT")
    note(lake, [BTC], T0, T0)
    for at, state in ((T0 - 90 * DAY, luna), (T0 - 30 * DAY, replace(luna, status=DELISTED))):
        lake.append("instruments", instrument_rows([state], at, T0 + DAY, "archive"))
    found = history(lake)
    assert [set(found.listed(T0 - days * DAY)) for days in (91, 90, 31, 30, 0)] == [
        set(), {"LUNAUSDT"}, {"LUNAUSDT"}, set(), {"BTCUSDT"}
    ]  # fmt: skip
    assert note(lake, [BTC], T0 + DAY, T0 + DAY) == [], "it is not found gone a second time"


def test_a_day_of_listing_that_the_exchange_tells_reaches_back_before_the_first_look(tmp_path: Path) -> None:
    found = History(instrument_rows([replace(BTC, listed_at=T0 - DAY)], T0, T0, "exchangeInfo").to_pylist())
    assert (set(found.listed(T0 - DAY)), set(found.listed(T0 - DAY - 1))) == ({"BTCUSDT"}, set())
    assert found.away("BTCUSDT") == [(0, T0 - DAY)]


def test_a_list_that_lacks_a_large_part_of_the_market_is_not_believed_but_on_request(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    many = [replace(BTC, symbol=f"S{number}USDT") for number in range(20)]
    note(lake, many, T0, T0)
    with pytest.raises(DataRejected, match=r"10 of 20 symbols are not in the exchange's list .* --accept"):
        note(lake, many[:10], T0 + DAY, T0 + DAY)
    with pytest.raises(DataRejected, match="the last one was later"):
        note(lake, many, T0 - 1, T0 + DAY)
    assert len(note(lake, many[:10], T0 + DAY, T0 + DAY, accepts_any=True)) == 10


@given(looks=st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_listed_and_delisted_each_look_is_given_back(looks: list[set[int]], tmp_path_factory: Any) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for day, look in enumerate(looks):
        note(lake, [replace(BTC, symbol=f"S{number}") for number in look], T0 + day * DAY, T0)
    found = history(lake)
    assert [{int(name[1:]) for name in found.listed(T0 + day * DAY)} for day in range(len(looks))] == looks


@pytest.mark.parametrize("venue", [SPOT, FUTURES])
async def test_the_exchanges_own_list_is_noted_with_its_time(venue: Venue, tmp_path: Path) -> None:
    market, lake = (
        SyntheticMarket(MarketSeed(seed=3, starts_at=T0, history_days=1), ["BTCUSDT", "XRPUSDT"]),
        Lake(str(tmp_path)),
    )
    async with serve(market, Clock(T0, 1.0), Options(venue=venue)) as served:
        rest = BlockingRest(f"{served.rest}{venue.api}")
        at, listed = await asyncio.to_thread(fetch_instruments, rest)
        assert T0 <= at < T0 + 60 * SECOND
        assert [(one.symbol, one.quote, one.status) for one in listed] == [
            ("BTCUSDT", "USDT", "TRADING"), ("XRPUSDT", "USDT", "TRADING")
        ]  # fmt: skip
        assert (listed[0].tick, listed[0].lot, listed[0].min_notional > 0) == (UNIT // 100, UNIT // 10**5, True)
        note(lake, listed, at, T0)
        served.faults.delist(Fault(kind="delist", symbol="XRPUSDT", count=1, seconds=0), at)
        later, listed = await asyncio.to_thread(fetch_instruments, rest)
        (change,) = note(lake, listed, later, T0)
    assert (change[1].symbol, change[1].status) == ("XRPUSDT", DELISTED)


@pytest.mark.parametrize(
    "answer", [{}, [], {"serverTime": 1, "symbols": [{}]}, {"serverTime": 1_763_800_123_000, "symbols": []},
               {"serverTime": 1_763_800_123_000, "symbols": [{"symbol": "A"}]}, {"symbols": None, "serverTime": 5}]
)  # fmt: skip
def test_what_is_no_list_of_symbols_is_refused_in_words(answer: Any) -> None:
    class Answers(BlockingRest):
        def get(self, path: str, query: Any = None) -> Any:
            return answer

    with pytest.raises(DataRejected, match="nothing was noted"):
        fetch_instruments(Answers("http://exchange"))
