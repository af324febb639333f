"""Records of a newer release are read by this one, which passes over fields it does not know: stages may roll in any order."""

from __future__ import annotations

import json

import msgspec
import pytest

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.partial_sums import SymbolState
from quantstream.messages.payloads import Anomaly, DeadRecord, Event, OpenCandles, Score, decode, encode

CANDLE = Candle("BTCUSDT", "5m", 0, UNIT, UNIT, UNIT, UNIT, 1, 1, 1, 0, 0, 7, 7, True)
RECORDS = [
    CANDLE,
    Score("BTCUSDT", "5m", 0, 0, 1.5, scored_at=1, feature_hash="x"),
    Anomaly("BTCUSDT", 1, 1, UNIT, UNIT, False, 0.9, ["size"], "anomaly/1", 2),
    DeadRecord("ingest", "not a trade", "{", 1),
    Event("ingest", "of_a_later_release", "text", 1),
    OpenCandles.of(SymbolState("BTCUSDT"), [CANDLE]),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_field_of_a_later_release_is_passed_over(record: msgspec.Struct) -> None:
    written = json.loads(encode(record)) | {"mood": {"of": ["the", "market"]}}
    kind = type(record)
    assert encode(decode(json.dumps(written, separators=(",", ":")).encode(), kind)) == encode(record)
