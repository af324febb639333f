"""Every topic as an AsyncAPI 3 document, made from the topics, the stages and the types that are encoded.

For programs of others that read the topics: what is described is what is on the wire, decimal text included, and a test holds it
against encoded records. Payloads are JSON Schema draft 7, which every AsyncAPI tool reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated, Any, Literal

import msgspec

from quantstream.binance.wire import LogPosition
from quantstream.core.candle import Candle
from quantstream.core.candle_json import QUOTE_FIELDS, UNIT_FIELDS
from quantstream.core.decimals import DECIMALS, QUOTE_DECIMALS
from quantstream.core.time import INTERVALS
from quantstream.messages import topics
from quantstream.messages.payloads import Anomaly, DeadRecord, Event, EventKind, ModelMove, OpenCandles, Score
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka

Json = dict[str, Any]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]
REF = "#/components/schemas/{name}"


class TradeEvent(msgspec.Struct):
    """A trade as the exchange streams it, in its own bytes. `T` in ms since 1970, or in µs from 10^14 on."""

    e: Literal["trade"]
    s: str
    t: int
    p: Decimal
    q: Decimal
    T: int
    m: bool


class AggregateEvent(msgspec.Struct):
    """An aggregate of trades `[f, l]` as the exchange streams it, in its own bytes. One without `M` is of USD-M futures."""

    e: Literal["aggTrade"]
    s: str
    a: int
    p: Decimal
    q: Decimal
    f: int
    l: int  # noqa: E741  (the exchange's name)
    T: int
    m: bool


class TradeRow(msgspec.Struct):
    """A trade as the exchange's REST side tells it, in its own bytes; the record's key is its symbol."""

    id: int
    price: Decimal
    qty: Decimal
    time: int
    isBuyerMaker: bool  # noqa: N815  (the exchange's name)


class AggregateRow(msgspec.Struct):
    """An aggregate as the exchange's REST side tells it; the record's key is its symbol."""

    a: int
    p: Decimal
    q: Decimal
    f: int
    l: int  # noqa: E741
    T: int
    m: bool


class Heartbeat(LogPosition, frozen=True, omit_defaults=True, kw_only=True):
    """Ours: every trade of `s` before `E` (µs, exchange time) is in the log, but for the gaps `holes`."""

    e: Literal["heartbeat"]
    E: int
    s: str


TRADE_KINDS: dict[str, type[msgspec.Struct]] = {
    "trade": TradeEvent,
    "aggTrade": AggregateEvent,
    "restTrade": TradeRow,
    "restAggTrade": AggregateRow,
    "heartbeat": Heartbeat,
}
PAYLOADS: dict[str, dict[str, type[msgspec.Struct]]] = {
    topics.TRADES.name: TRADE_KINDS,
    topics.CANDLES.name: {"candle": Candle},
    topics.OPEN_CANDLES.name: {"openCandles": OpenCandles},
    topics.SCORES.name: {"score": Score},
    topics.SHADOW_SCORES.name: {"score": Score},
    topics.ANOMALIES.name: {"anomaly": Anomaly},
    topics.DEAD.name: {"deadRecord": DeadRecord},
    topics.EVENTS.name: {"event": Event},
    topics.MODELS.name: {"modelMove": ModelMove},
}
WRITERS_BESIDE = {  # commands and pipelines, not stages
    "corrections": (topics.CANDLES,),
    "verify": (topics.EVENTS,),
    "monitor": (topics.EVENTS,),
    "models": (topics.MODELS, topics.EVENTS),
}


def document() -> Json:
    """Return the whole description."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "QuantStream",
            "version": version("quantstream"),
            "description": inspect.cleandoc(
                """The topics of QuantStream. Values are JSON; times are µs since 1970, UTC, unless a schema says otherwise.
                Partitions go by CRC32 of the key (librdkafka's `consistent_random`). Read committed records only."""
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": {"host": Kafka().bootstrap, "protocol": "kafka", "bindings": {"kafka": {}}}},
        "channels": {topic.name: _channel(topic) for topic in topics.TOPICS},
        "operations": dict(_operations()),
        "components": {"schemas": schemas()},
    }


def schemas() -> dict[str, Json]:
    """Return the JSON Schema of every value, by the name of its type, as this version encodes it."""
    kinds = [kind for named in PAYLOADS.values() for kind in named.values()]
    _, found = msgspec.json.schema_components(kinds, ref_template=REF)
    for name, schema in found.items():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
        if "prefixItems" in schema:  # as draft 7 says it
            schema["items"] = schema.pop("prefixItems")
            schema["minItems"] = len(schema["items"])
        elif name != Heartbeat.__name__:  # a default is written, too
            schema["required"] = list(schema["properties"])
    candle = found["Candle"]["properties"]
    candle |= {name: _decimal_text(DECIMALS) for name in UNIT_FIELDS}
    candle |= {name: _decimal_text(QUOTE_DECIMALS) for name in QUOTE_FIELDS}
    candle["interval"] = {"type": "string", "enum": list(INTERVALS)}
    found["Candle"]["description"] = (
        "OHLCV of one symbol over `[opened_at, opened_at + interval)`, µs UTC, by the trades' own time; decimals as exact text. "
        "The highest `revision` of a window counts. A candle without trades is flat at the previous close, its ids are -1. "
        "`source`: `trades` (built here) or `klines` (the exchange's)."
    )
    found["OpenCandles"]["properties"]["candles"]["items"] = {"$ref": REF.format(name="Candle")}
    found["Event"]["properties"]["kind"] |= {"examples": [kind.value for kind in EventKind]}
    return found


def _decimal_text(decimals: int) -> Json:
    return {"type": "string", "pattern": rf"^[0-9]+\.[0-9]{{{decimals}}}$"}


def _channel(topic: Topic) -> Json:
    config: Json = {"cleanup.policy": [topic.cleanup], **topic.extra}
    if "retention.ms" in topic.config:
        config["retention.ms"] = topic.retention_ms
    kafka = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": config,
        "bindingVersion": "0.5.0",
    }
    messages = {name: _message(topic, name, kind) for name, kind in PAYLOADS[topic.name].items()}
    return {"address": topic.name, "messages": messages, "bindings": {"kafka": kafka}}


def _message(topic: Topic, name: str, kind: type[msgspec.Struct]) -> Json:
    key = {"type": "string", "description": f"the {topic.key}"}
    message: Json = {
        "name": name,
        "payload": {"$ref": REF.format(name=kind.__name__)},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }
    if topic is topics.TRADES:
        message["headers"] = _trade_headers(name)
    return message


def _trade_headers(kind: str) -> Json:
    properties = {
        topics.HEADER_KIND: {"const": kind, "description": "how to read the value"},
        topics.HEADER_RECEIVED_AT: {"type": "string", "pattern": "^[0-9]+$", "description": "µs, the receiver's clock"},
        topics.HEADER_ORIGIN: {
            "enum": ["live", "repaired", "split"],
            "description": "split: an aggregate less the trades of it that the log had before",
        },
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _operations() -> Iterable[tuple[str, Json]]:
    for stage in STAGES.values():
        for topic in (*stage.reads, *stage.watches):
            yield f"{stage.name}_receives_{_slug(topic)}", _operation("receive", topic)
        for topic in stage.writes:
            yield f"{stage.name}_sends_{_slug(topic)}", _operation("send", topic)
    for name, written in WRITERS_BESIDE.items():
        for topic in written:
            yield f"{name}_sends_{_slug(topic)}", _operation("send", topic)


def _operation(action: Literal["send", "receive"], topic: Topic) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}


def _slug(topic: Topic) -> str:
    return topic.name.replace(".", "_")
