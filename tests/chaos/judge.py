"""The verdict: every trade of the exchange in the lake once, every candle its kline, every closed candle scored once.

What topics hold must be in the lake, once; progress that was recorded, in the lake or with the broker, never goes back; no record
that ingest let in was refused later.

It counts raw rows against the exchange's own answers, with none of the platform's code between them but the reading of tables
and topics.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.time import INTERVALS, micros
from quantstream.core.trade import Trade
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Anomaly, DeadRecord, Score, decode
from quantstream.messages.stages import INGEST
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, SCORES, TRADES
from quantstream.settings import Kafka
from streaming.detect.detector import Detector
from tests.chaos.exchange import Exchange
from tests.chaos.progress import Step, group_steps, lake_steps, went_back
from tests.chaos.stage import Rule
from tests.topics import each_record, read_topic

MS = 1000  # µs
SHOWN = 20  # differences that are told one by one
KLINE = {
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "quote_volume": 7,
    "trade_count": 8,
    "taker_buy_volume": 9,
    "taker_buy_quote_volume": 10,
}


@dataclass
class Verdict:
    """Counts of what is right and of everything that must be zero, and the first differences in words."""

    trades: int = 0
    candles: int = 0
    scored_once: int = 0
    anomalies: int = 0
    trades_repeated_in_log: int = 0  # by a second ingest, or one that was woken: told by their ids, no wrong
    trades_missing: int = 0
    trades_duplicate: int = 0
    trades_different: int = 0
    trades_missing_in_log: int = 0
    candles_missing: int = 0
    candles_duplicate: int = 0
    candles_different: int = 0
    candles_incomplete: int = 0
    candles_duplicate_in_topic: int = 0
    candles_unlike_topic: int = 0
    not_scored: int = 0
    scored_twice: int = 0
    scored_for_nothing: int = 0
    anomalies_missing: int = 0
    anomalies_duplicate: int = 0
    anomalies_extra: int = 0
    records_refused: int = 0
    progress_back: int = 0
    differences: list[str] = field(default_factory=list)

    GOOD: ClassVar = ("trades", "candles", "scored_once")
    NEITHER: ClassVar = ("anomalies", "trades_repeated_in_log", "differences")

    @property
    def wrong(self) -> dict[str, int]:
        """What must be zero and is not."""
        return {name: n for name, n in asdict(self).items() if name not in (*self.GOOD, *self.NEITHER) and n}

    @property
    def is_right(self) -> bool:
        """Whether nothing at all is wrong, and something was judged."""
        return not self.wrong and all(getattr(self, name) for name in self.GOOD)

    def tell(self, text: str) -> None:
        """Keep a difference in words, of the first ones."""
        if len(self.differences) < SHOWN:
            self.differences.append(text)


def judge(
    lake: Lake,
    kafka: Kafka,
    exchange: Exchange,
    symbols: Iterable[str],
    intervals: Iterable[str],
    end: int,
    begin: int = 0,
) -> Verdict:
    """Compare everything that traded before `end` (ms, on a boundary of every interval).

    Of more symbols than ingest can ask for at its start the windows that opened before `begin` may be incomplete, and a symbol
    that was never seen must not have traded since.
    """
    verdict = Verdict()
    candles = [decode(message.value() or b"", Candle) for message in read_topic(kafka, CANDLES)]
    candles = [candle for candle in candles if candle.opened_at < end * MS]
    scores = [decode(message.value() or b"", Score) for message in read_topic(kafka, SCORES)]
    records = ((message.key() or b"", message.value() or b"") for message in each_record(kafka, TRADES))
    told = [decode(message.value() or b"", Anomaly) for message in read_topic(kafka, ANOMALIES)]
    dead = [decode(message.value() or b"", DeadRecord) for message in read_topic(kafka, DEAD)]
    logged = [item for key, raw in records if isinstance(item := parse_record(raw, key.decode()), Trade)]
    by_symbol, stored = defaultdict(list), ReadOnce(lake)
    for trade in logged:
        by_symbol[trade.symbol].append(trade)
    for symbol in symbols:
        truth = _judge_trades(verdict, stored, exchange, symbol, end, begin)
        _judge_log(verdict, by_symbol[symbol], symbol, truth)
        for interval in intervals:
            _judge_candles(verdict, stored, exchange, symbol, interval, truth, end, begin)
    _judge_topic_of_candles(verdict, candles, lake, end)
    _judge_scores(verdict, candles, scores, lake, end)
    _judge_anomalies(verdict, logged, told, lake, end)
    _judge_refusals(verdict, dead)
    steps = [step for table in SCHEMAS for step in lake_steps(Path(lake.url) / table)]
    _judge_progress(verdict, [*steps, *group_steps(kafka)])
    return verdict


class ReadOnce:
    """A lake's tables, each read once, as it was then, and handed out by symbol: thousands of symbols are thousands of files."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._tables: dict[str, dict[str, pa.Table]] = {}

    def read(self, name: str, symbols: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of one symbol, as `Lake.read` does."""
        if name not in self._tables:
            whole = self._lake.read(name, columns=columns)
            counts = pc.value_counts(whole["symbol"]).to_pylist()  # in order, for the rows are ordered by symbol
            begins = accumulate((each["counts"] for each in counts), initial=0)
            pairs = zip(counts, begins, strict=False)
            self._tables[name] = {each["values"]: whole.slice(begin, each["counts"]) for each, begin in pairs}
            self._tables[name][""] = whole.slice(0, 0)
        (symbol,) = symbols
        return self._tables[name].get(symbol, self._tables[name][""])


Stored = Lake | ReadOnce


def _judge_trades(
    verdict: Verdict, lake: Stored, exchange: Exchange, symbol: str, end: int, begin: int = 0
) -> list[dict[str, Any]]:
    columns = ["symbol", "traded_at", "id", "price", "quantity", "buyer_is_maker"]
    found = lake.read("trades", [symbol], columns=columns).to_pylist()
    rows = {row["id"]: row for row in found if micros(row["traded_at"]) < end * MS}
    counts = Counter(row["id"] for row in found)
    verdict.trades_duplicate += sum(count - 1 for count in counts.values())
    truth = list(exchange.trades(symbol, min(counts, default=0), end))
    if not counts:
        truth = [trade for trade in truth if trade["time"] >= begin]
    for trade in truth:
        row = rows.pop(trade["id"], None)
        if row is None:
            verdict.trades_missing += 1
            verdict.tell(f"{symbol} trade {trade['id']} at {trade['time']} is missing")
        elif _differs(row, trade):
            verdict.trades_different += 1
            verdict.tell(f"{symbol} trade {trade['id']}: {row} instead of {trade}")
        else:
            verdict.trades += 1
    verdict.trades_different += len(rows)
    for number in list(rows)[:3]:
        verdict.tell(f"{symbol} trade {number} is not the exchange's")
    for number, count in counts.items():
        if count > 1:
            verdict.tell(f"{symbol} trade {number} is there {count} times")
    return truth


def _judge_log(verdict: Verdict, logged: list[Trade], symbol: str, truth: list[dict[str, Any]]) -> None:
    counts = Counter(trade.id for trade in logged if trade.symbol == symbol)
    verdict.trades_repeated_in_log += sum(count - 1 for count in counts.values())
    missing = [trade["id"] for trade in truth if trade["id"] not in counts]
    verdict.trades_missing_in_log += len(missing)
    for number in missing[:3]:
        verdict.tell(f"{symbol} trade {number} is not in the topic")


def _differs(row: dict[str, Any], trade: dict[str, Any]) -> bool:
    mine = (row["price"], row["quantity"], micros(row["traded_at"]), row["buyer_is_maker"])
    return mine != (Decimal(trade["price"]), Decimal(trade["qty"]), trade["micros"], trade["isBuyerMaker"])


def _judge_candles(
    verdict: Verdict,
    lake: Stored,
    exchange: Exchange,
    symbol: str,
    interval: str,
    truth: list[dict[str, Any]],
    end: int,
    begin: int = 0,
) -> None:
    every = [row for row in lake.read("candles", [symbol]).to_pylist() if row["interval"] == interval]
    repeated = Counter((row["opened_at"], row["revision"]) for row in every)
    verdict.candles_duplicate += sum(count - 1 for count in repeated.values())
    newest: dict[int, dict[str, Any]] = {}
    for row in sorted(every, key=lambda row: row["revision"]):
        newest[micros(row["opened_at"]) // MS] = row
    ids: dict[int, list[int]] = defaultdict(list)
    length = INTERVALS[interval] // MS
    for trade in truth:
        ids[trade["time"] // length * length].append(trade["id"])
    for kline in exchange.klines(symbol, interval, min(newest, default=end), end):
        row = newest.get(kline[0])
        if row is None:
            verdict.candles_missing += 1
            verdict.tell(f"{symbol} {interval} candle at {kline[0]} is missing")
        elif not row["is_complete"] and kline[0] < begin:
            continue  # of a log that began within it
        elif not row["is_complete"]:
            verdict.candles_incomplete += 1
            verdict.tell(f"{symbol} {interval} candle at {kline[0]}, revision {row['revision']}, is incomplete")
        elif wrong := _wrong_fields(row, kline, ids[kline[0]]):
            verdict.candles_different += 1
            verdict.tell(f"{symbol} {interval} candle at {kline[0]}: {wrong}")
        else:
            verdict.candles += 1


def _wrong_fields(row: dict[str, Any], kline: list[Any], ids: list[int]) -> str:
    expected = {name: Decimal(kline[place]) for name, place in KLINE.items()}
    expected |= {"first_trade_id": Decimal(min(ids, default=-1)), "last_trade_id": Decimal(max(ids, default=-1))}
    return ", ".join(f"{name} {row[name]} not {value}" for name, value in expected.items() if row[name] != value)


def _judge_topic_of_candles(verdict: Verdict, candles: list[Candle], lake: Lake, end: int) -> None:
    """Each revision was told once, and each is a row: no more and no others."""
    told = Counter((candle.symbol, candle.interval, candle.opened_at, candle.revision) for candle in candles)
    rows = lake.read("candles", columns=["symbol", "interval", "opened_at", "revision"]).to_pylist()
    stored = {(row["symbol"], row["interval"], micros(row["opened_at"]), row["revision"]) for row in rows}
    stored = {key for key in stored if key[2] < end * MS}
    verdict.candles_duplicate_in_topic += sum(count - 1 for count in told.values())
    verdict.candles_unlike_topic += len(stored ^ set(told))
    for key in [*(key for key, count in told.items() if count > 1)][:3]:
        verdict.tell(f"{key[0]} {key[1]} candle at {key[2] // MS}, revision {key[3]}, was told {told[key]} times")
    for key in sorted(stored ^ set(told))[:3]:
        verdict.tell(
            f"{key[0]} {key[1]} candle at {key[2] // MS}, revision {key[3]}, is in the topic or in the lake alone"
        )


def _judge_scores(verdict: Verdict, candles: list[Candle], scores: list[Score], lake: Lake, end: int) -> None:
    due = {(candle.symbol, candle.opened_at) for candle in candles if candle.interval == "5m"}
    counts = Counter((score.symbol, score.opened_at) for score in scores if score.opened_at < end * MS)
    rows = lake.read("scores", columns=["symbol", "opened_at"]).to_pylist()
    in_lake = Counter((row["symbol"], micros(row["opened_at"])) for row in rows)
    in_lake = Counter({key: count for key, count in in_lake.items() if key[1] < end * MS})
    for key in sorted(due | set(counts) | set(in_lake)):
        times = counts[key], in_lake[key]
        verdict.scored_once += times == (1, 1) and key in due
        verdict.not_scored += 0 in times
        verdict.scored_twice += max(times) > 1
        verdict.scored_for_nothing += key not in due
        if times != (1, 1) or key not in due:
            verdict.tell(
                f"{key[0]} candle at {key[1] // MS} was scored {times[0]} times, {times[1]} of them in the lake"
                + ("" if key in due else ", and was never told")
            )


def _judge_anomalies(verdict: Verdict, logged: list[Trade], told: list[Anomaly], lake: Lake, end: int) -> None:
    """What one uninterrupted reading of the log flags, that and nothing else must have been flagged, once."""
    detector, rule, expected = Detector(), Rule(), set()
    for trade in logged:
        row = detector.push(trade)
        if row is not None and rule.score_trades(np.asarray([row]))[0] > rule.threshold:
            expected.add((trade.symbol, trade.id, trade.traded_at))
    wanted = {(symbol, number) for symbol, number, at in expected if at < end * MS}
    told = [anomaly for anomaly in told if anomaly.traded_at < end * MS]  # the market goes on while the judge reads
    stored = Counter((row["symbol"], row["trade_id"]) for row in lake.read("anomalies").to_pylist())
    counts = Counter((anomaly.symbol, anomaly.trade_id) for anomaly in told)
    verdict.anomalies = len(wanted & set(counts) & set(stored))
    verdict.anomalies_missing = len(wanted - set(counts)) + len(wanted - set(stored))
    verdict.anomalies_duplicate = sum(n - 1 for n in counts.values()) + sum(n - 1 for n in stored.values())
    extra = set(counts) - {(symbol, number) for symbol, number, _ in expected}
    verdict.anomalies_extra = len(extra)
    for symbol, number in sorted(wanted - set(counts))[:3]:
        verdict.tell(f"{symbol} trade {number} was not flagged")
    for symbol, number in sorted(wanted & set(counts) - set(stored))[:3]:
        verdict.tell(f"{symbol} trade {number} was flagged and is not in the lake")
    for symbol, number in sorted(extra)[:3]:
        verdict.tell(f"{symbol} trade {number} was flagged for no reason")
    for symbol, number in sorted(key for key, n in (counts | stored).items() if n > 1)[:3]:
        verdict.tell(f"{symbol} trade {number} was flagged {counts[symbol, number]} times")


def _judge_refusals(verdict: Verdict, dead: list[DeadRecord]) -> None:
    """The exchange spoils frames, which ingest dead-letters; what it let in is whole."""
    refused = [record for record in dead if record.source.partition(" ")[0] != INGEST.name]
    verdict.records_refused = len(refused)
    for record in refused[:3]:
        verdict.tell(f"{record.source} was refused: {record.reason}")


def _judge_progress(verdict: Verdict, steps: Iterable[Step]) -> None:
    found = went_back(steps)
    verdict.progress_back = len(found)
    for text in found[:3]:
        verdict.tell(text)
