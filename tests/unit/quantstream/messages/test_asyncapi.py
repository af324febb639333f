"""The description of the topics is true: every record that is written fits it, and it leaves out nothing that is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from quantstream.binance.wire import LogPosition, aggregate_row, heartbeat_event, parse_record, split_rows, trade_event
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap
from quantstream.messages.asyncapi import PAYLOADS, TRADE_KINDS, document
from quantstream.messages.payloads import (
    Anomaly,
    DeadRecord,
    Event,
    EventKind,
    Forecast,
    ModelMove,
    OpenCandles,
    Score,
    Signal,
    encode,
)
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import TOPICS
from streaming.exchange.formats import futures_wire, spot_wire
from streaming.exchange.market.protocol import latest_aggregates, latest_trades
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket

AT = 1_763_800_200 * SECOND  # the opening of a 5m candle
DOCUMENT = document()
TRADE = Trade("BTCUSDT", 7, 7, 7, 43_000 * UNIT + 1, UNIT // 3, AT + 1_000, True)
AGGREGATE = Trade("BTCUSDT", 3, 7, 9, 43_000 * UNIT, 10**13, AT + 2_001, False)
MARKET = SyntheticMarket(MarketSeed(seed=7, starts_at=AT, history_days=1, off_book_a_minute=2.0), ["BTCUSDT"])
BUILDER = CandleBuilder("BTCUSDT", ("1m", "5m"))
CLOSED = [
    candle
    for number in (1, 2, 5, 9, 12)  # with gaps, some windows closed and some open
    for candle in BUILDER.add(
        Trade("BTCUSDT", number, number, number, UNIT * number, UNIT, AT + number * MINUTE, number % 2 == 0)
    )
]
SCORE = Score("BTCUSDT", "5m", AT, 0, 43_000.5, AT + 1, "ab")


def rows(text: str) -> list[bytes]:
    return split_rows(text.encode())


def events(lines: list[str]) -> list[bytes]:
    return [line.encode() for line in lines]


TRADES, AGGREGATES = latest_trades(MARKET, "BTCUSDT", 20, AT), latest_aggregates(MARKET, "BTCUSDT", 20, AT)
WRITTEN: dict[str, list[bytes]] = {
    "trade": [trade_event(TRADE), *(event for span in TRADES for event in events(spot_wire.trade_events(span, 1)))],
    "aggTrade": [
        trade_event(AGGREGATE),
        *(event for span in AGGREGATES for event in events(spot_wire.aggregate_events(span, 1000))),
        *(event for span in AGGREGATES for event in events(futures_wire.aggregate_events(span, 1000))),
    ],
    "restTrade": [*rows(spot_wire.trade_rows(TRADES, 1)), *rows(spot_wire.trade_rows(TRADES, 1000))],
    "restAggTrade": [
        aggregate_row(AGGREGATE),
        *rows(spot_wire.aggregate_rows(AGGREGATES, 1000)),
        *rows(futures_wire.aggregate_rows(AGGREGATES, 1000)),
    ],
    "heartbeat": [
        heartbeat_event("BTCUSDT", AT),
        heartbeat_event("BTCUSDT", AT, LogPosition(9, AT, 10, [Gap(3, 4, AT, AT + 1)])),
    ],
    "candle": [
        *(encode(candle) for candle in CLOSED),
        *(encode(msgspec.structs.replace(candle, revision=1_000, source="klines")) for candle in CLOSED),
    ],
    "openCandles": [encode(OpenCandles.of(BUILDER.state, BUILDER.open_candles()))],
    "score": [
        encode(SCORE),
        encode(
            msgspec.structs.replace(
                SCORE,
                forecasts=[Forecast("5m", [0.1, 0.9], [-0.01, 0.01], [42_000.0, 44_000.0])],
                signal=Signal("Buy", 0.6, 0.3, 0.1, 0.55, 0.5, 0.001, 0.002),
                risk=41.0,
                novelty=0.2,
                reasons=["momentum"],
                models={"quantstream-risk": "2"},
                abstained="no forecast model yet",
                elapsed_ms=1.5,
            )
        ),
    ],
    "anomaly": [encode(Anomaly("BTCUSDT", 7, AT, UNIT, UNIT, True, 0.9, ["price"], "quantstream-anomaly/2", AT + 1))],
    "modelMove": [encode(ModelMove("quantstream-risk", "7", "promoted", "6", "alice", "no worse over a day", AT))],
    "deadRecord": [encode(DeadRecord("aggregate market.trades.v1-0@3", "not a trade event", "{", AT))],
    "event": [
        encode(Event("ingest", EventKind.GAP_FOUND, "3 trades are missing", AT, "BTCUSDT", {"first": 7, "share": 0.5})),
        encode(Event("score", EventKind.LAKE_AWAY, "the lake is away", AT)),
    ],
}


def messages() -> Iterator[tuple[str, dict[str, Any]]]:
    for channel in DOCUMENT["channels"].values():
        yield from channel["messages"].items()


def validator(message: dict[str, Any]) -> Draft7Validator:
    return Draft7Validator({**DOCUMENT, **message["payload"]})


@pytest.mark.parametrize(("name", "message"), list(messages()), ids=[name for name, _ in messages()])
def test_every_record_that_is_written_fits_its_description(name: str, message: dict[str, Any]) -> None:
    assert WRITTEN[name]
    for raw in WRITTEN[name]:
        found = [f"{error.json_path}: {error.message}" for error in validator(message).iter_errors(json.loads(raw))]
        assert found == [], raw


@pytest.mark.parametrize("name", [name for name, _ in messages() if name not in TRADE_KINDS])
def test_the_description_leaves_out_no_field_that_is_written(name: str) -> None:
    kind = next(named[name] for named in PAYLOADS.values() if name in named)
    described = DOCUMENT["components"]["schemas"][kind.__name__]
    for raw in WRITTEN[name]:
        assert list(json.loads(raw)) == list(described["properties"])
    assert described["required"] == list(described["properties"])


@pytest.mark.parametrize("name", TRADE_KINDS)
def test_what_is_described_as_a_trade_is_one_that_stages_can_read(name: str) -> None:
    for raw in WRITTEN[name]:
        parse_record(raw, "BTCUSDT")
        assert msgspec.json.decode(raw, type=TRADE_KINDS[name])


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("candle", msgspec.json.encode(CLOSED[0])),  # numbers in place of decimal text
        ("candle", encode(CLOSED[0]).replace(b'.00000000"', b'.0"')),
        ("score", encode(SCORE).replace(b'"risk":null', b'"risk":"high"')),
        ("score", encode(SCORE).replace(b',"elapsed_ms":0.0', b"")),
        ("trade", trade_event(AGGREGATE)),
        ("openCandles", b'{"state":{"symbol":"BTCUSDT"},"candles":[]}'),
    ],
)
def test_what_is_not_written_does_not_fit(name: str, raw: bytes) -> None:
    assert not validator(dict(messages())[name]).is_valid(json.loads(raw))


def test_every_topic_is_described_with_its_key_partitions_and_retention() -> None:
    assert list(DOCUMENT["channels"]) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        kafka = DOCUMENT["channels"][topic.name]["bindings"]["kafka"]
        config = kafka["topicConfiguration"]
        output = {key: value[0] if isinstance(value, list) else str(value) for key, value in config.items()}
        assert (kafka["partitions"], output) == (topic.partitions, topic.config)


def test_every_stage_receives_and_sends_what_it_reads_and_writes() -> None:
    operations = {
        (name.partition("_")[0], operation["action"], operation["channel"]["$ref"].removeprefix("#/channels/"))
        for name, operation in DOCUMENT["operations"].items()
    }
    for stage in STAGES.values():
        assert {topic for name, action, topic in operations if (name, action) == (stage.name, "receive")} == {
            topic.name for topic in (*stage.reads, *stage.watches)
        }
        assert {topic for name, action, topic in operations if (name, action) == (stage.name, "send")} == {
            topic.name for topic in stage.writes
        }


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (each for key, each in value.items() if key == "$ref")
            yield from (ref for each in value.values() for ref in references(each))
        elif isinstance(value, list):
            yield from (ref for each in value for ref in references(each))

    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_a_candles_text_is_exact_whatever_its_size() -> None:
    large = Candle("X", "5m", AT, 10**17, 10**17, 1, 1, 10**17, 10**17, 1, 0, 0, 1, 1, False)
    assert validator(dict(messages())["candle"]).is_valid(json.loads(encode(large)))
