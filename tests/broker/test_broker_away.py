"""A promotion while the broker is away: the alias moves and is recorded at once, and everybody is told when it is back, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_port
from ml.promotion import announcements
from ml.promotion.announcements import Announcements
from ml.promotion.decisions import decisions_of
from ml.promotion.moves import Moves
from quantstream.kafka import ensure_topics
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, EventKind, ModelMove, decode
from quantstream.messages.topics import EVENTS, MODELS
from quantstream.settings import Kafka
from tests.topics import read_topic
from tests.unit.ml.promotion.test_moves import RISK, FakeRegistry

pytestmark = pytest.mark.broker


def test_what_was_decided_meanwhile_is_told_once_the_broker_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "PATIENCE", 0.5)
    port = free_port()
    kafka, lake, registry = Kafka(bootstrap=f"127.0.0.1:{port}"), Lake(str(tmp_path / "lake")), FakeRegistry()
    shelf: Any = registry

    def moves() -> Moves:
        """Those of another process each time."""
        return Moves(shelf, lake, "a run", announce=Announcements(kafka))

    moves().promote(RISK, "1", "first sane model")
    moves().promote(RISK, "2", "no worse")
    assert registry.alias_version(RISK, "champion") == "2"
    assert [one.version for one in decisions_of(lake)] == ["1", "2"]
    assert moves().settle() == []  # still away: kept for later
    monkeypatch.undo()
    with local_broker.running(tmp_path / "broker", port):
        ensure_topics(kafka)
        for _ in range(2):
            assert moves().settle() == []
        events = [decode(each.value() or b"", Event) for each in read_topic(kafka, EVENTS)]
        assert [one.kind for one in events] == [EventKind.MODEL_PROMOTED] * 2
        assert [one.text.split()[1] for one in events] == ["1", "2"]
        told = [decode(each.value() or b"", ModelMove) for each in read_topic(kafka, MODELS)]
        assert [one.version for one in told] == ["2"]  # the last one, by which the stages look at the registry
