"""Records of a newer release are read by this one, which passes over fields it does not know: stages may roll in any order."""

from __future__ import annotations

import json

import msgspec
import pytest

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.partial_sums import SymbolState
from quantstream.messages.payloads import Anomaly, DeadRecord, Event, OpenCandles, Score, Signal, decode, encode

CANDLE = Candle("BTCUSDT", "5m", 0, UNIT, UNIT, UNIT, UNIT, 1, 1, 1, 0, 0, 7, 7, True)
RECORDS = [
    CANDLE,
    Score("BTCUSDT", "5m", 0, 0, 1.5, scored_at=1, feature_hash="x"),
    Anomaly("BTCUSDT", 1, 1, UNIT, UNIT, False, 0.9, ["size"], "anomaly/1", 2),
    DeadRecord("ingest", "not a trade", "{", 1),
    Event("ingest", "of_a_later_release", "text", 1),
    OpenCandles.of(SymbolState("BTCUSDT"), [CANDLE]),
]


SIGNAL = Signal("Buy", 0.6, 0.3, 0.1, 0.55, 0.5, 0.001, 0.002)
OF_BEFORE = (
    b'{"symbol":"BTCUSDT","interval":"5m","opened_at":0,"revision":0,"close":1.5,"scored_at":1,"feature_hash":"x",'
    b'"signal":{"action":"Buy","buy":0.6,"hold":0.3,"sell":0.1},"risk":41.0}'
)


def test_a_score_of_before_the_direction_was_said_is_read_and_says_that_nobody_said_it() -> None:
    found = decode(OF_BEFORE, Score)
    assert found.signal == Signal("Buy", 0.6, 0.3, 0.1, None, None, None, None)


def test_a_signal_is_read_as_it_was_written_and_by_a_reader_of_before() -> None:
    raw = encode(Score("BTCUSDT", "5m", 0, 0, 1.5, scored_at=1, feature_hash="x", signal=SIGNAL))
    assert decode(raw, Score).signal == SIGNAL
    fields = [(name, float) for name in ("buy", "hold", "sell")]
    former = msgspec.defstruct("Former", [("signal", msgspec.defstruct("FormerSignal", [("action", str), *fields]))])
    assert msgspec.to_builtins(msgspec.json.decode(raw, type=former)) == {
        "signal": {"action": "Buy", "buy": 0.6, "hold": 0.3, "sell": 0.1}
    }


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_field_of_a_later_release_is_passed_over(record: msgspec.Struct) -> None:
    written = json.loads(encode(record)) | {"mood": {"of": ["the", "market"]}}
    kind = type(record)
    assert encode(decode(json.dumps(written, separators=(",", ":")).encode(), kind)) == encode(record)
