"""What REST tells of a backfill, from a small exchange over real HTTP that answers and refuses as Binance does."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from quantstream.binance.archive import Series
from quantstream.binance.klines import parse_kline
from quantstream.binance.rate_limits import Weight
from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord, Unavailable
from quantstream.core.time import MINUTE, micros, utc
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.backfill.reports import Order, SeriesReport
from streaming.backfill.run import Run

NOW = datetime(2026, 3, 1, 12, 2, 30, tzinfo=UTC)  # in the middle of the window of 12:00
STEP = 5 * MINUTE
Answer = tuple[int, dict[str, str], object]


@dataclass
class Exchange:
    """What the server answers: klines since `born`, and refusals to hand out first."""

    now: datetime = NOW
    born: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    absent: set[int] = field(default_factory=set)  # opening times, µs, of windows without a kline
    refusals: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    weight: int = 2

    def answer(self, url: str) -> Answer:
        """Return status, headers and body for one request."""
        self.asked.append(url)
        path, query = urlsplit(url).path, {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.weight)}
        if path == "/api/v3/time":
            return 200, headers, {"serverTime": micros(self.now) // 1000}
        if self.refusals:
            return self.refusals.pop(0)
        if query["symbol"] != "BTCUSDT":
            return 400, headers, {"code": -1121, "msg": "Invalid symbol."}
        start = max(int(query["startTime"]) * 1000, micros(self.born))
        end = min(int(query["endTime"]) * 1000, micros(self.now))
        opened = range(start + -start % STEP, end + 1, STEP)
        return 200, headers, [kline(at) for at in opened if at not in self.absent][: int(query["limit"])]


def kline(at: int) -> list[object]:
    """Return the exchange's row of the window opened at `at` (µs)."""
    price = 60_000 + at // STEP % 97
    turnover = f"{price * 2}.00000000"
    return [
        at // 1000,
        f"{price}.00000000",
        f"{price + 1}.00000000",
        f"{price - 1}.00000000",
        f"{price}.50000000",
        "2.00000000",
        (at + STEP) // 1000 - 1,
        turnover,
        7,
        "1.25000000",
        f"{price}.00000001",
        "0",
    ]


@pytest.fixture
def exchange() -> Iterator[tuple[Exchange, str]]:
    """An exchange on a free port and its address."""
    model = Exchange()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = model.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield model, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Bench:
    """An empty lake beside the exchange, and the pauses that were taken instead of slept."""

    lake: Lake
    base: str
    exchange: Exchange
    pauses: list[float] = field(default_factory=list)
    at: float = 600.0  # of the clock, seconds; on a minute

    def run(self, symbol: str = "BTCUSDT") -> SeriesReport:
        """Backfill ten days and what is over of this one, without waiting."""
        clock = partial(getattr, self, "at")
        rest = BlockingRest(
            f"{self.base}/api/v3", 6, Weight(6000, clock, monotonic=clock), self.sleep, random.Random(1)
        )
        today = NOW.date()
        order = Order([Series(symbol, "klines", "5m")], today - timedelta(days=10), today + timedelta(days=1))
        (report,) = asyncio.run(Run(self.lake, "", rest, now=lambda: self.exchange.now).run(order))
        return report

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds


@pytest.fixture
def bench(exchange: tuple[Exchange, str], tmp_path: Path) -> Bench:
    return Bench(Lake(str(tmp_path / "lake")), exchange[1], exchange[0])


ALL = 10 * 288 + 12 * 12  # windows: ten days, and this one up to 12:00


def opened(lake: Lake) -> list[datetime]:
    return [at.astimezone(UTC) for at in lake.read("candles", ["BTCUSDT"])["opened_at"].to_pylist()]


def test_every_closed_window_of_the_history_comes_once_and_exact(bench: Bench) -> None:
    report = bench.run()
    first = datetime(2026, 2, 19, tzinfo=UTC)
    windows = [first + i * timedelta(minutes=5) for i in range(ALL)]
    assert opened(bench.lake) == windows
    assert windows[-1] == datetime(2026, 3, 1, 11, 55, tzinfo=UTC)  # the one of 12:00 is still open
    assert (report.stored, report.present, report.is_whole) == (ALL, 0, True)
    row = bench.lake.read("candles", ["BTCUSDT"]).slice(0, 1).to_pylist()[0]
    price = 60_000 + micros(first) // STEP % 97
    assert row == {
        "symbol": "BTCUSDT",
        "date": first.date(),
        "month": f"{first:%Y-%m}",
        "interval": "5m",
        "opened_at": first,
        "open": Decimal(price),
        "high": Decimal(price + 1),
        "low": Decimal(price - 1),
        "close": Decimal(f"{price}.5"),
        "volume": Decimal(2),
        "quote_volume": Decimal(price * 2),
        "trade_count": 7,
        "taker_buy_volume": Decimal("1.25"),
        "taker_buy_quote_volume": Decimal(f"{price}.00000001"),
        "first_trade_id": -1,
        "last_trade_id": -1,
        "is_complete": True,
        "revision": 0,
        "source": "klines",
        "known_at": NOW,
    }


def test_running_again_asks_for_nothing_and_commits_nothing(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    bench.run()
    version, rows = bench.lake.version("candles"), opened(bench.lake)
    exchange[0].asked.clear()
    again = bench.run()
    assert exchange[0].asked == []
    assert (bench.lake.version("candles"), opened(bench.lake)) == (version, rows)
    assert (again.stored, again.done_before, again.present_before) == (0, 10, 1)


def test_a_later_run_asks_for_and_adds_only_what_has_closed_since(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    bench.run()
    exchange[0].asked.clear()
    exchange[0].now = NOW + timedelta(minutes=10)
    assert bench.run().stored == 2
    assert len(exchange[0].asked) == 1
    assert len(set(opened(bench.lake))) == len(opened(bench.lake)) == ALL + 2


def test_a_candle_that_is_there_already_is_kept(bench: Bench) -> None:
    at = micros(datetime(2026, 2, 25, 10, 0, tzinfo=UTC))
    mine = parse_kline("BTCUSDT", kline(at))
    live = Candle(**{name: getattr(mine, name) for name in mine.__struct_fields__ if name != "source"}, source="trades")
    bench.lake.append("candles", candle_rows([live]))
    bench.run()
    rows = bench.lake.read("candles", ["BTCUSDT"]).to_pylist()
    assert len(rows) == ALL
    assert [row["source"] for row in rows if micros(row["opened_at"]) == at] == ["trades"]


def test_windows_the_exchange_does_not_have_are_named(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].absent = {micros(datetime(2026, 2, 22, 3, 5 * i, tzinfo=UTC)) for i in range(6)}
    report = bench.run()
    assert report.stored == ALL - 6
    assert list(map(str, report.holes)) == ["6 candles from 2026-02-22 03:00 to 2026-02-22 03:30 UTC"]


def test_an_exchange_without_history_gives_nothing_and_says_so(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].born = NOW + timedelta(days=1)
    report = bench.run()
    assert (report.stored, len(report.absent), report.is_whole) == (0, 11, False)
    assert opened(bench.lake) == []


def test_retry_after_is_obeyed_to_the_second_or_a_little_longer(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].refusals = [(429, {"Retry-After": "7"}, {"code": -1003, "msg": "Too many requests."})]
    bench.run()
    assert len(opened(bench.lake)) == ALL
    assert len(bench.pauses) == 1
    assert 7.0 <= bench.pauses[0] <= 7.7


def test_a_long_ban_is_left_to_a_later_try(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].refusals = [(418, {"Retry-After": "86400"}, {"code": -1003, "msg": "Way too many requests."})]
    with pytest.raises(Unavailable, match=r"answers /klines again in \d{5} s"):
        bench.run()
    assert bench.pauses == []


def test_server_errors_are_tried_again_with_growing_pauses(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].refusals = [(503, {}, {}), (502, {}, {}), (500, {}, {})]
    bench.run()
    assert len(opened(bench.lake)) == ALL
    bounds = [(0.25, 0.75), (0.5, 1.5), (1.0, 3.0)]
    assert [low <= pause <= high for (low, high), pause in zip(bounds, bench.pauses, strict=True)] == [True] * 3


def test_requests_wait_for_the_next_minute_when_others_have_used_the_weight_of_this_one(
    bench: Bench, exchange: tuple[Exchange, str]
) -> None:
    bench.at = 617.0
    exchange[0].weight = 4319  # of the 6,000 that are allowed; the rest of them is the live path's
    bench.run()
    assert bench.pauses == [43.0] + [60.0] * (len(exchange[0].asked) - 2)


def test_an_exchange_that_never_answers_is_named_in_one_sentence(bench: Bench) -> None:
    bench.base = "http://127.0.0.1:9"
    with pytest.raises(
        Unavailable, match=r"the exchange at http://127.0.0.1:9/api/v3 did not answer /klines after 6 tries"
    ):
        bench.run()


def test_an_unknown_symbol_is_named_in_one_sentence(bench: Bench) -> None:
    (reason,) = bench.run("NOPEUSDT").reasons
    assert re.search(r"knows no symbol NOPEUSDT .*; correct QUANTSTREAM_SYMBOLS$", reason)
    assert bench.pauses == []


def test_a_refusal_for_good_says_what_to_set(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    refusal: Answer = (451, {}, {"code": 0, "msg": "Service unavailable from a restricted location"})
    exchange[0].refusals = [refusal]
    (reason,) = bench.run().reasons
    assert re.search(r"451 Service unavailable.*QUANTSTREAM_ENDPOINTS__REST", reason)
    assert len(exchange[0].asked) == 1


def test_a_kline_that_contradicts_itself_is_named_and_counted_and_the_rest_is_kept(
    bench: Bench, exchange: tuple[Exchange, str]
) -> None:
    start = micros(datetime(2026, 2, 19, tzinfo=UTC))
    rows = [kline(start + number * STEP) for number in range(288)]
    rows[17][3] = "999999.00000000"  # low above high
    rows[18] = ["nothing"]
    exchange[0].refusals = [(200, {}, rows)]
    report = bench.run()
    found = opened(bench.lake)
    assert len(found) == ALL - 2
    assert utc(start + 17 * STEP) not in found
    assert (report.stored, report.refused, len(report.reasons)) == (ALL - 2, 2, 2)
    assert report.reasons[0].startswith("BTCUSDT: candle of BTCUSDT")


def test_an_answer_that_is_no_list_of_klines_writes_nothing(bench: Bench, exchange: tuple[Exchange, str]) -> None:
    exchange[0].refusals = [(200, {}, {"klines": []})]
    report = bench.run()
    assert "history of BTCUSDT is not usable" in report.failed[0]
    assert "is no list of klines" in report.failed[0]
    assert len(opened(bench.lake)) == ALL - 288


@pytest.mark.parametrize("row", [[], None, [1, 2], ["x"] * 12, {"a": 1}, [0] * 12])
def test_what_is_no_kline_is_a_bad_record(row: object) -> None:
    with pytest.raises(BadRecord):
        parse_kline("BTCUSDT", row)
