"""The age of the last proof: of the symbol that was proved longest ago, and only by a proof that compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantstream.lake.store import Lake
from quantstream.observability.metrics import Metrics
from streaming.reconcile.proof_report import Proof, SymbolProof
from streaming.reconcile.stored_proofs import keep
from streaming.sink.proof_age import ProofAge

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def proved(lake: Lake, hours_ago: float, *symbols: str, not_compared: str = "") -> float:
    at = NOW - timedelta(hours=hours_ago)
    proof = Proof([SymbolProof(symbol, "5m") for symbol in symbols], [not_compared] if not_compared else [])
    keep(lake, proof, int(at.timestamp() * 1_000_000))
    return at.timestamp()


def said(lake: Lake) -> float:
    metrics = Metrics("sink")
    ProofAge(lake, SYMBOLS, metrics).look(NOW)
    return metrics.registry.get_sample_value("quantstream_sink_proved_at_seconds") or 0.0


def test_a_lake_that_was_never_proved_says_so(lake: Lake) -> None:
    assert said(lake) == 0
    proved(lake, 1, "BTCUSDT")
    assert said(lake) == 0  # of the other symbol nothing is known


def test_the_symbol_that_was_proved_longest_ago_counts(lake: Lake) -> None:
    proved(lake, 60, *SYMBOLS)
    oldest = proved(lake, 40, "ETHUSDT")
    proved(lake, 2, "BTCUSDT")
    assert said(lake) == oldest


def test_a_proof_that_compared_nothing_makes_nothing_younger(lake: Lake) -> None:
    oldest = proved(lake, 40, *SYMBOLS)
    proved(lake, 2, *SYMBOLS, not_compared="klines: the exchange did not answer")
    assert said(lake) == oldest


def test_a_symbol_that_is_followed_no_more_alarms_nobody(lake: Lake) -> None:
    proved(lake, 300, "LUNAUSDT")
    newest = proved(lake, 2, *SYMBOLS)
    assert said(lake) == newest
