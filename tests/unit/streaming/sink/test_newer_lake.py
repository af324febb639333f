"""A sink of the release before, over a lake that the newer one migrates while it runs: it ends, and nothing is lost or twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE
from quantstream.lake import schemas
from quantstream.lake.schemas import PARTITIONS, SCHEMAS
from quantstream.lake.upkeep.evolution import migrate
from quantstream.messages.payloads import encode
from quantstream.messages.topics import CANDLES
from tests.unit.streaming.sink.test_stage import ALL, T0, Scene, candle

BEFORE = pa.schema([field for field in SCHEMAS["candles"] if field.name != "month"])


@contextmanager
def release_before() -> Iterator[None]:
    """Run as the release before, whose candles lie by day."""
    with pytest.MonkeyPatch.context() as older:
        older.setitem(schemas.SCHEMAS, "candles", BEFORE)
        older.setattr(schemas, "BY_MONTH", PARTITIONS)
        yield


def close(scene: Scene, number: int) -> None:
    """Write a candle to the topic."""
    value = msgspec.structs.replace(candle(), opened_at=T0 + number * 5 * MINUTE)
    scene.broker.append(CANDLES, "BTCUSDT", encode(value), 0)


def test_a_sink_of_before_ends_with_a_sentence_and_the_newer_one_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with release_before():
        older = scene.sink(ALL)
        close(scene, 0)
        older.turn()
    assert "candles: 1 rows are now partitioned by symbol and month" in migrate(scene.lake, T0)
    close(scene, 1)
    with release_before():
        with pytest.raises(Misconfigured, match=r"candles was written by a newer version: it has month; upgrade"):
            older.turn()
        with pytest.raises(Misconfigured, match=r"newer version"):
            migrate(scene.lake, T0)  # what a sink does first when it is started again
    close(scene, 2)
    scene.sink(ALL).turn()
    wanted = [T0 + number * 5 * MINUTE for number in range(3)]
    found = scene.lake.read("candles").sort_by("opened_at")["opened_at"]
    assert found.cast(pa.int64()).to_pylist() == wanted
