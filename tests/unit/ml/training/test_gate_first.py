"""A training by hand passes the gate before features are made: what is not sound teaches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.__main__ import train
from quantstream.core.errors import DataRejected
from quantstream.lake.quarantine import quarantine_of
from quantstream.lake.store import Lake
from tests.unit.ml import markets


def test_a_bad_day_is_held_before_a_training_by_hand_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_STATE", str(tmp_path))
    monkeypatch.setenv("QUANTSTREAM_SYMBOLS", "BTCUSDT")
    monkeypatch.setenv("QUANTSTREAM_ENDPOINTS__REST", "http://127.0.0.1:9")
    lake, frame = Lake(str(tmp_path / "lake")), markets.candles(900)
    frame["high"] = frame["high"].where(frame.index != 400, frame["low"] / 2)
    markets.write_candles(lake, "BTCUSDT", frame)
    with pytest.raises(DataRejected):
        train(["risk"], None)
    assert frame["opened_at"][400].date() in {held.day for held in quarantine_of(lake).held("candles", "BTCUSDT")}
