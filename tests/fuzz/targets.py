"""What hostile input meets: each parser with honest seeds, the only exceptions it may raise, what its result must be good for."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from quantstream.binance.klines import fetch_klines
from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.protocols import NotOffered
from quantstream.binance.refusals import raise_for_good
from quantstream.binance.rest import BlockingRest, parse_json
from quantstream.binance.wire import (
    heartbeat_event,
    is_trade_stream,
    parse_record,
    parse_trade,
    split_frame,
    split_rows,
)
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.errors import BadRecord, Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import MINUTE
from quantstream.core.trade import Trade, is_symbol
from quantstream.decode.columns import Parser
from quantstream.lake.schemas import candle_rows
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings
from streaming.aggregate.aggregator import Aggregator
from streaming.ingest.feed_lines import share_of
from streaming.offline.candles import write_candles
from streaming.recordings.readers import Given, read_blocks, read_trades
from tests.fuzz.mutate import mutate

SYMBOL = "BTCUSDT"
TRADE = (
    b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",'
    b'"T":1723161255342,"m":true,"M":true}'
)
AGGREGATE = (
    b'{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,'
    b'"T":1723161255342,"m":true,"M":true}'
)
REST_TRADE = (
    b'{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1723161255342,'
    b'"isBuyerMaker":true,"isBestMatch":true}'
)
REST_AGGREGATE = (
    b'{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1723161255342,"m":true,"M":true}'
)
KLINE = (
    b'[1723161300000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1723161599999,'
    b'"2434.19055334",308,"1756.87402397","28.46694368","0"]'
)
CCXT = b'[1570752000001,"123456",null,"buy",0.0014321,10,0.014321]'
LONG_NAMES = (
    b'{"trade_id":5,"price":"1.5","quantity":"2","timestamp":1723161255342,"is_buyer_maker":false,"symbol":"BTCUSDT"}'
)
ROW = b"3735683259,61837.63000000,0.02000000,1236.75260000,1723161255342,True,True\n"
AGGREGATE_ROW = b"3735683259,61837.63000000,0.02000000,3735683259,3735683260,1723161255342,true,true\n"
HEARTBEAT = heartbeat_event(SYMBOL, 1_723_161_255_342_000)
SETTINGS = (
    *(
        b"SYMBOLS=BTCUSDT,ETHUSDT",
        b"INTERVALS=1m,5m",
        b"SHARD=1/3",
        b"SHARD=instance/3",
        b"ROTATE_HOURS=23",
        b"LATENESS_MS=500",
        b"MAX_AHEAD_S=60",
    ),
    *(
        b"KAFKA__BOOTSTRAP=a:1",
        b"KAFKA__PARTITIONS=4",
        b"PORTS__MLFLOW=5000",
        b"ENDPOINTS__WS=wss://x",
        b"STREAM=aggTrade",
    ),
)
UNIFIED = (
    b'{"info":{"a":"1","f":"7","l":"9"},"timestamp":1723161255342,"datetime":"2024-08-08T23:54:15.342Z","symbol":"BTC/USDT",'
    b'"id":"1","side":"sell","price":61837.63,"amount":1e-05,"cost":0.6,"fees":[{"cost":null},{"cost":1}]}'
)
FUTURES = TRADE.replace(b'"m":true', b'"X":"NA","m":true')
HEADER = b"id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"


def framed(event: bytes) -> bytes:
    """Wrap an event as the combined streams do."""
    return b'{"stream":"btcusdt@trade","data":' + event + b"}"


@dataclass(frozen=True)
class Target:
    """A parser under fire. `make` turns a random source into an input; `feed` gives it to the parser."""

    name: str
    seeds: tuple[bytes, ...]
    feed: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...] = (BadRecord,)

    def attack(self, rng: random.Random) -> bytes:
        """Return a hostile input."""
        return mutate(rng.choice(self.seeds), self.seeds, rng)


def _use(trade: Trade) -> None:
    """A trade that was let in must be good for a candle and for the lake's exact columns."""
    builder = CandleBuilder(trade.symbol, ("5m",), 0)
    builder.add(trade)
    candle_rows(builder.heartbeat(trade.traded_at + 10 * MINUTE))
    trade.symbol.encode()


def _frame(raw: bytes) -> None:
    name, event = split_frame(raw)
    name.encode()
    if is_trade_stream(name):
        _use(parse_trade(event))


def _record(raw: bytes) -> None:
    item = parse_record(raw, SYMBOL)
    if isinstance(item, Trade):
        _use(item)
    else:
        candle_rows(CandleBuilder(SYMBOL).heartbeat(item))


PLAIN = [TRADE.replace(b"3735683259", str(number).encode()) for number in range(1000, 1060)]


def _aggregate(raw: bytes) -> None:
    """A batch as production takes it: what one record does must not spoil the others, and each ends as something."""
    aggregator = Aggregator(("5m",), 0)
    values = [*PLAIN[:30], raw, *PLAIN[30:], raw]
    columns = aggregator.parser.parse(values, [SYMBOL.encode()] * len(values), [0] * len(values))
    aggregator.take(columns)
    expected, items = CandleBuilder(SYMBOL, ("5m",), 0), [_parsed(value) for value in values]
    newest, new = {}, 0
    for item in items:
        before = _not_placed(expected)
        candles = expected.add(item) if isinstance(item, Trade) else []
        candles += expected.heartbeat(item) if isinstance(item, int) else []
        newest |= {candle.opened_at: candle for candle in candles}
        new += item.trade_count if isinstance(item, Trade) and before == _not_placed(expected) else 0
    newest |= {candle.opened_at: candle for candle in expected.open_candles()}
    assert sum(candle.trade_count for candle in newest.values()) == new
    ((_, snapshot),) = aggregator.snapshots()
    account = expected.state.settle()
    assert msgspec.json.encode(snapshot.state) == msgspec.json.encode(expected.state)
    assert account.explained == sum(not isinstance(item, BadRecord) for item in items)


def _not_placed(builder: CandleBuilder) -> int:
    ids = builder.state.ids
    return ids.duplicates + ids.overlaps + ids.unknown + builder.state.late_trades


def _columns(raw: bytes) -> None:
    """Among plain records: what the loop makes of it is what `parse_record` says."""
    values = [*PLAIN[:30], raw, *PLAIN[30:], raw]
    columns = Parser().parse(values, [SYMBOL.encode()] * len(values), [0] * len(values))
    for row, value in enumerate(values):
        if value is raw:
            found = columns.items[row][1] if row in columns.items else columns.trade(row, SYMBOL)
            assert _plainly(found) == _plainly(_parsed(value))


def _parsed(raw: bytes) -> Trade | int | BadRecord:
    try:
        return parse_record(raw, SYMBOL)
    except BadRecord as error:
        return error


def _plainly(item: Trade | int | BadRecord) -> Trade | int | str:
    return "refused" if isinstance(item, BadRecord) else item


def _rows(raw: bytes) -> None:
    for row in split_rows(raw):
        _use(parse_trade(row, SYMBOL))


class _Body(io.BytesIO):
    """What aiohttp reads an answer from."""

    async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return super().read(size)


class _Answer:
    """One HTTP answer of 200 with any body, for the asynchronous client."""

    def __init__(self, body: bytes) -> None:
        self.body, self.status, self.headers = body, 200, {}  # type: ignore[var-annotated]
        self.content: Any = None

    async def __aenter__(self) -> _Answer:
        self.content = _Body(self.body)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def get(self, *_: Any, **__: Any) -> _Answer:
        return self


_loop = asyncio.new_event_loop()


def _live_rest(raw: bytes) -> None:
    """The live repair's client: time, then trades."""
    rest = BinanceHistory(_Answer(raw), "http://x", "http://x", "trade", tries=1)  # type: ignore[arg-type]
    for call in (rest.time, lambda: rest.trades_from(SYMBOL, 1), lambda: rest.latest_trade(SYMBOL)):
        try:
            found = _loop.run_until_complete(call())
            if isinstance(found, list):
                assert len(found) == len(split_rows(raw))  # every row of an answer, or none
            for trade, _ in found if isinstance(found, list) else ():
                _use(trade)
        except QuantStreamError:
            pass


class _Offline(BlockingRest):
    """The batch client with its answer in hand."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("http://x")
        self.raw = raw

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        try:
            return parse_json(self.raw)
        except BadRecord as error:
            raise Unavailable(str(error)) from None


def _klines(raw: bytes) -> None:
    start = 1723161300000_000
    candle_rows(list(fetch_klines(_Offline(raw), SYMBOL, "5m", start, start + 5 * MINUTE)))


def _exchange_info(raw: bytes) -> None:
    from infra.cli.checks import check_exchange

    try:
        check_exchange(Settings(), _Offline(raw).get)
    except Misconfigured:
        pass
    for status in (200, 400, 451):
        try:
            raise_for_good("http://x", "/exchangeInfo", SYMBOL, status, raw)
        except (Misconfigured, NotOffered):
            pass


_folder = tempfile.TemporaryDirectory(prefix="fuzz-")


def _file(name: str, raw: bytes) -> Path:
    path = Path(_folder.name) / name
    path.write_bytes(raw)
    return path


def _read(path: Path) -> None:
    _account(path)
    for trade in read_trades(path):
        _use(trade)
    for item in read_blocks(path):  # the quick way over whole blocks says the same, or a test of its own would be red
        if not isinstance(item, Trade):
            for row in range(len(item.columns)):
                _use(item.columns.trade(row, item.symbol))


def _account(path: Path) -> None:
    """Every row of the file ends as something, whatever the file holds, and what is found there is good for candles."""
    try:
        summary = write_candles([path], Path(_folder.name) / "candles.csv")
    except (BadRecord, Misconfigured):
        return
    account = summary.account
    assert account.rows == account.placed + account.duplicates + account.refused + account.left_out.total()
    assert account.named >= min(account.refused, 1)
    assert account.is_whole == (account.refused == account.gap_count == 0)
    assert summary.candles > 0 < account.placed


def _settings(raw: bytes) -> None:
    """Every setting from the environment, as text of anybody's."""
    text = raw.decode("utf-8", "replace").replace("\0", "")
    name, _, value = text.partition("=")
    name = "QUANTSTREAM_" + name.upper()
    before = dict(os.environ)
    os.environ[name] = value
    try:
        found = load_settings()
        assert all(is_symbol(symbol) for symbol in found.symbols)
        assert found.intervals
        assert found.history_rest.strip()
        assert found.lake_url.strip()
        share_of(found.symbols, *found.share)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _columns_option(raw: bytes) -> None:
    """What a person may write for `--columns` and `--symbol`."""
    names = tuple(raw.decode("utf-8", "replace").split(","))
    path = _file("BTCUSDT-rows.csv", ROW * 3)
    for trade in read_trades(path, Given(columns=names)):
        _use(trade)


def _recording(raw: bytes) -> None:
    _read(_file("BTCUSDT-trades-2024-08-08", raw))


def _zip_of(raw: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2024-08-08.csv", raw)
    return file.getvalue()


WHOLE = _zip_of(ROW)


def _archive(raw: bytes) -> None:
    """The container itself is spoilt: headers, sizes, check sums, names, compressed bytes."""
    _read(_file("BTCUSDT-trades-2024-08-08.zip", raw))


def _checksum(raw: bytes) -> None:
    path = _file("BTCUSDT-trades-2024-08-09.zip", WHOLE)
    _file("BTCUSDT-trades-2024-08-09.zip.CHECKSUM", raw)
    _read(path)


def targets(extra: Iterable[bytes] = ()) -> list[Target]:
    """Return every target; `extra` are real combined-stream frames as further seeds."""
    frames = (framed(TRADE), framed(AGGREGATE), *extra)
    lines = tuple(b"1723161254087896568 " + frame + b"\n" for frame in frames)
    files = (
        *(lines[0] * 3, lines[1], HEADER + ROW * 3, ROW + AGGREGATE_ROW, AGGREGATE_ROW * 2),
        *(
            b"[" + REST_TRADE + b"," + REST_TRADE + b"]",
            b"[" + CCXT + b", " + CCXT + b"]",
            LONG_NAMES + b"\n" + REST_TRADE,
            b"[" + UNIFIED + b"," + UNIFIED + b"]",
            UNIFIED + b"\n" + UNIFIED,
            b'{"result":null,"id":1}\n' + TRADE + b"\n" + FUTURES,
            json.dumps(json.loads(framed(TRADE)), indent=2).encode(),
            b"time,id,side,price,qty,symbol\n1723161255342,5,sell,1.5,2,BTC/USDT\n1723161255342,6,buy,1.5,2,ETHUSDT\n",
        ),
    )
    sums = hashlib.sha256(WHOLE).hexdigest().encode() + b"  BTCUSDT-trades-2024-08-09.zip\n"
    rows = tuple(b"[" + row + b"," + row + b"]" for row in (REST_TRADE, REST_AGGREGATE))
    in_files = (BadRecord, Misconfigured)
    containers = (_zip_of(ROW * 5), gzip.compress(ROW * 5), gzip.compress(lines[0]), _zip_of(HEADER + ROW))
    return [
        Target("frame", frames, _frame),
        Target("record", (TRADE, AGGREGATE, REST_TRADE, REST_AGGREGATE, HEARTBEAT), _record),
        Target("aggregate", (TRADE, AGGREGATE, REST_TRADE, HEARTBEAT), _aggregate),
        Target("columns", (TRADE, AGGREGATE, REST_TRADE, HEARTBEAT, *PLAIN[:2]), _columns),
        Target("rest rows", rows, _rows),
        Target("rest client", (*rows, b'{"serverTime":1723161255342}'), _live_rest, (QuantStreamError,)),
        Target("klines", (b"[" + KLINE + b"]", b"[]"), _klines, (QuantStreamError,)),
        Target("exchangeInfo", (b'{"code":-1121,"msg":"Invalid symbol."}', b'{"symbols":[]}'), _exchange_info),
        Target("recording", files, _recording, in_files),
        Target("archive", containers, _archive, in_files),
        Target("settings", SETTINGS, _settings, (Misconfigured,)),
        Target(
            "columns named", (b"id,price,qty,quote_qty,time,is_buyer_maker,is_best_match",), _columns_option, in_files
        ),
        Target("checksum file", (sums,), _checksum, in_files),
    ]
