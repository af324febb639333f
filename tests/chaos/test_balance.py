"""The watch over the balance sees what does not close, and does not take silence for an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from quantstream.core.accounts import Account
from quantstream.lake.store import Lake
from quantstream.observability.balance import BalanceSheet
from quantstream.observability.metrics import Metrics
from tests.chaos.balance import BalanceWatch, lake_off
from tests.unit.streaming.memory_broker import MemoryBroker
from tests.unit.streaming.test_balance import make_sink, put, started, walk


def page(stage: str, *accounts: Account) -> bytes:
    metrics = Metrics(stage)
    BalanceSheet(metrics).show([(str(place), account) for place, account in enumerate(accounts)])
    return generate_latest(metrics.registry)


def test_what_does_not_close_and_what_was_never_seen_is_told() -> None:
    pages = {
        "sink": page("sink", Account(2, 2)),
        "detect": page("detect", Account(2, 1)),
        "score": b"",
        "ingest": page("ingest"),
    }
    watch = BalanceWatch(pages, pages.__getitem__)
    watch.look()
    assert watch.off == ["detect: 1 symbols do not add up"]
    assert watch.unseen() == ["score", "ingest"]


def test_the_lakes_own_accounts_are_held_against_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, lake = MemoryBroker(), Lake(str(tmp_path))
    put(broker, *walk("BTCUSDT", *range(5, 50)))
    stage: Any = started(make_sink, broker, str(tmp_path))
    assert lake_off(lake) == []
    assert stage.progress
    lake.append("trades", lake.read("trades").slice(0, 2))
    assert lake_off(lake) == ["BTCUSDT: the table holds 47 rows, the sink has stored 45"]
