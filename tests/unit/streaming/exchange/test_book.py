"""An order book that a client keeps as the exchange's documentation says is never stale and never wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.decimals import to_units
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from streaming.exchange.market.book import LEVELS, book_at, rows, update_between
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.statistics import Last, last_trade
from streaming.exchange.market.synthetic import SyntheticMarket

START = 1_723_161_255 * SECOND


class LocalBook:
    """A book by the documentation's recipe, "How to manage a local order book correctly"."""

    def __init__(self, snapshot: Any) -> None:
        self.id = snapshot["lastUpdateId"]
        self.bids, self.asks = dict(snapshot["bids"]), dict(snapshot["asks"])

    def apply(self, event: Any) -> None:
        if event["u"] <= self.id:
            return
        assert event["U"] <= self.id + 1, "an update is missing"
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in changes:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.id = event["u"]

    def sides(self) -> tuple[list[list[str]], list[list[str]]]:
        bids = sorted(map(list, self.bids.items()), key=lambda level: -float(level[0]))
        return bids, sorted(map(list, self.asks.items()), key=lambda level: float(level[0]))


@pytest.mark.parametrize("stream", ["btcusdt@depth", "btcusdt@depth@100ms"])
async def test_a_book_kept_from_updates_equals_the_book_of_its_update_id(
    market: SyntheticMarket, exchange: Any, stream: str
) -> None:
    async with exchange.socket(f"/ws/{stream}") as socket:
        buffered = await socket.events(2)
        book = LocalBook(await exchange.get("/api/v3/depth", symbol="BTCUSDT", limit=5000))
        for event in buffered:
            book.apply(event)
        for _ in range(4):
            [event] = await socket.events(1)
            book.apply(event)
            [row] = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=book.id, limit=1)
            bids, asks = book_at(market.listings["BTCUSDT"], to_units(row["price"]))
            assert (row["id"], book.sides()) == (book.id, (rows(bids), rows(asks)))


@settings(max_examples=80, deadline=None)
@given(prices=st.lists(st.integers(1, 400), min_size=2, max_size=30), data=st.data())
def test_an_update_puts_a_client_right_from_wherever_in_it_it_started(prices: list[int], data: Any) -> None:
    trades = [Trade("BTCUSDT", n, n, n, p * 10**6, 10**8, START + n * SECOND, False) for n, p in enumerate(prices, 5)]
    market = RecordedMarket(trades)
    listing = market.listings["BTCUSDT"]
    first = data.draw(st.integers(0, len(prices) - 2))
    start = data.draw(st.integers(first, len(prices) - 1))
    told = Last(trades[first].id, trades[first].price, 0, trades[first].traded_at)
    now = market.ends_at or 0
    last = last_trade(market, "BTCUSDT", now)
    update = update_between(market, "BTCUSDT", told, last, now)
    bids, asks = book_at(listing, trades[start].price)
    book = LocalBook({"lastUpdateId": trades[start].id, "bids": rows(bids), "asks": rows(asks)})
    book.apply({"U": update.first, "u": update.last, "b": rows(update.bids), "a": rows(update.asks)})
    bids, asks = book_at(listing, last.price)
    assert (book.id, book.sides()) == (last.id, (rows(bids), rows(asks)))


def test_a_book_has_a_hundred_levels_a_side_and_never_crosses() -> None:
    market = RecordedMarket([Trade("BTCUSDT", 1, 1, 1, 5 * 10**8, 10**8, START, False)])
    for price in (1, 10**8, 64_000 * 10**8):
        bids, asks = book_at(market.listings["BTCUSDT"], price, 5_000)
        assert len(asks) == LEVELS
        assert all(below > 0 and quantity > 0 for below, quantity in bids)
        assert not bids or bids[0][0] < asks[0][0]


async def test_partial_books_and_best_prices_are_the_tops_of_it(exchange: Any) -> None:
    names = ["btcusdt@depth5@100ms", "btcusdt@depth20", "btcusdt@bookTicker"]
    by_id: dict[int, dict[str, Any]] = {}
    async with exchange.socket(f"/stream?streams={'/'.join(names)}") as socket:
        while not any(len(found) == 3 for found in by_id.values()):
            frame = await socket.frame()
            assert frame is not None
            event = json.loads(frame)
            number = event["data"].get("lastUpdateId", event["data"].get("u"))
            by_id.setdefault(number, {})[event["stream"]] = event["data"]
    [found] = [found for found in by_id.values() if len(found) == 3]
    five, twenty, best = (found[name] for name in names)
    assert (len(five["bids"]), len(twenty["asks"])) == (5, 20)
    assert twenty["bids"][:5] == five["bids"]
    assert ([best["b"], best["B"]], [best["a"], best["A"]]) == (five["bids"][0], five["asks"][0])
