"""What the sink promises: each record once in the lake, with its offset in the same commit, whatever becomes of the process."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.candle import Candle
from quantstream.core.decimals import QUOTE_UNIT, UNIT
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.time import MINUTE, SECOND, micros, utc
from quantstream.core.trade import Trade
from quantstream.kafka import Message, Partition
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Anomaly, DeadRecord, Forecast, Score, Signal, decode, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, SCORES, SHADOW_SCORES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.sink import stage as module
from streaming.sink.stage import SinkStage
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

T0 = 1_754_006_400 * SECOND
PARTS: list[Partition] = [(TRADES.name, 0), (TRADES.name, 1)]
ALL: list[Partition] = [(topic.name, 0) for topic in (TRADES, CANDLES, SCORES, SHADOW_SCORES, ANOMALIES)]


class NotingLake(Lake):
    """A lake that notes its commits: the table, how many rows, and from where to where each application goes."""

    def __init__(self, url: str, notes: list[Any] | None = None) -> None:
        super().__init__(url)
        self.commits: list[tuple[str, int, dict[str, tuple[int | None, int]]]] = []
        self.notes = [] if notes is None else notes
        self.is_away = False

    def append(self, name: str, rows: pa.Table, progress: Any = None, states: Any = None, metadata: Any = None) -> None:
        """Commit, and note it."""
        if self.is_away:
            raise Unavailable("the lake is away")
        super().append(name, rows, progress, states, metadata)
        steps = {application: (step.expected, step.reached) for application, step in (progress or {}).items()}
        self.commits.append((name, rows.num_rows, steps))
        self.notes.append(name)


class NotingWriter(MemoryWriter):
    """Dead letters, noted when they are sure to be there."""

    def __init__(self, broker: MemoryBroker, notes: list[Any]) -> None:
        super().__init__(broker)
        self.notes = notes

    def flush(self) -> None:
        """Write them, and note it."""
        if self.sent:
            self.notes.append("dead letters")
        super().flush()


class Scene:
    """A lake and a broker that outlive the processes that work on them."""

    def __init__(self, folder: Path) -> None:
        self.broker, self.folder = MemoryBroker(), folder
        self.notes: list[Any] = []
        self.lake = NotingLake(str(folder), self.notes)

    def sink(self, parts: list[Partition] = PARTS, commit_s: float = 0.0, topic_prefix: str = "") -> SinkStage:
        """Return a new process that holds these partitions."""
        reader: Any = MemoryReader(self.broker, "sink")
        writer: Any = NotingWriter(self.broker, self.notes)
        stage = SinkStage(self.lake, reader, writer, Metrics("sink"), Health(), commit_s, lambda: T0, topic_prefix)
        stage.start()
        hand_over(parts, None, stage)
        return stage

    def put(self, *ids: int, symbol: str = "BTCUSDT", partition: int = 0) -> None:
        """Write trades with these ids."""
        for number in ids:
            self.broker.append(TRADES, symbol, trade_event(trade(number, symbol)), partition)

    def ids(self, symbol: str = "BTCUSDT") -> list[int]:
        """Return the ids of a symbol's trades that the lake holds, in order."""
        return sorted(self.lake.read("trades", [symbol])["id"].to_pylist())

    def dead(self) -> list[DeadRecord]:
        """Return the dead letters."""
        logs = [log for (topic, _), log in self.broker.logs.items() if topic == DEAD.name]
        return [decode(message.value() or b"", DeadRecord) for log in logs for message in log]


def trade(number: int, symbol: str = "BTCUSDT") -> Trade:
    return Trade(symbol, number, number, number, 3 * UNIT // 2, UNIT // 4, T0 + number * SECOND, False)


def count(stage: SinkStage, outcome: str) -> float:
    return stage.metrics.registry.get_sample_value("quantstream_sink_records_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "lake")


def test_rows_and_the_offset_after_them_are_one_commit(scene: Scene) -> None:
    scene.put(1, 2, 3)
    scene.sink().turn()
    assert scene.lake.commits == [("trades", 3, {"sink/market.trades.v1/0": (None, 3)})]
    (row, *_) = scene.lake.read("trades").sort_by("id").to_pylist()
    assert (row["symbol"], row["id"], row["price"], row["quantity"]) == ("BTCUSDT", 1, Decimal("1.5"), Decimal("0.25"))


def test_a_commit_names_only_the_partitions_that_it_has_news_of(scene: Scene) -> None:
    stage = scene.sink()
    scene.put(1, 2)
    stage.turn()
    scene.put(7, symbol="ETHUSDT", partition=1)
    stage.turn()
    scene.put(3)
    stage.turn()
    assert [steps for _, _, steps in scene.lake.commits] == [
        {"sink/market.trades.v1/0": (None, 2)},
        {"sink/market.trades.v1/1": (None, 1)},
        {"sink/market.trades.v1/0": (2, 3)},
    ]


def test_offsets_that_were_committed_or_dropped_are_in_no_later_commit(scene: Scene) -> None:
    slow, quick = scene.sink(commit_s=3600.0), scene.sink()
    scene.put(1, 2)
    slow.turn()
    quick.turn()
    slow.discard()
    slow.flush()
    assert len(scene.lake.commits) == 1, "nothing of what was dropped is committed, its offset neither"
    scene.put(7, symbol="ETHUSDT", partition=1)
    slow.turn()
    slow.flush()
    slow.flush()
    assert scene.lake.commits[1:] == [("trades", 1, {"sink/market.trades.v1/1": (None, 1)})]


def test_what_came_twice_is_there_once(scene: Scene) -> None:
    stage = scene.sink()
    scene.put(1, 2, 2, 1, 3)
    stage.turn()
    scene.put(3, 2, 4)
    stage.turn()
    assert scene.ids() == [1, 2, 3, 4]
    assert (count(stage, "trades"), count(stage, "duplicate")) == (4, 4)


def test_heartbeats_and_duplicates_alone_make_no_commit(scene: Scene) -> None:
    stage = scene.sink()
    scene.put(1)
    stage.turn()
    scene.put(1)
    scene.broker.append(TRADES, "BTCUSDT", heartbeat_event("BTCUSDT", T0 + MINUTE), 0)
    stage.turn()
    assert len(scene.lake.commits) == 1


def test_a_restart_goes_on_from_what_the_tables_say_whatever_the_group_says(scene: Scene) -> None:
    scene.put(1, 2, 3)
    scene.sink().turn()
    scene.broker.committed = {("sink", PARTS[0]): 0}
    stage = scene.sink()
    assert stage.reader.positions()[PARTS[0]] == 3
    scene.put(2, 4)
    stage.turn()
    assert scene.ids() == [1, 2, 3, 4]
    assert count(stage, "duplicate") == 1


def test_what_a_killed_process_had_read_is_read_again(scene: Scene) -> None:
    killed = scene.sink(commit_s=3600.0)
    scene.put(1, 2, 3)
    killed.turn()
    assert scene.lake.commits == []
    scene.sink().turn()
    assert scene.ids() == [1, 2, 3]


def test_a_commit_waits_for_its_interval_but_not_for_ever_many_rows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 4)
    stage = scene.sink(commit_s=3600.0)
    scene.put(1, 2, 3)
    stage.turn()
    assert scene.lake.commits == []
    scene.put(4)
    stage.turn()
    assert [rows for _, rows, _ in scene.lake.commits] == [4]


def test_a_partition_that_is_revoked_is_committed_while_it_is_held(scene: Scene) -> None:
    old, new = scene.sink(commit_s=3600.0), scene.sink([])
    scene.put(1, 2)
    old.turn()
    hand_over(PARTS[:1], old, new)
    assert scene.ids() == [1, 2]
    scene.put(2, 3)
    new.turn()
    assert scene.ids() == [1, 2, 3]


def test_what_was_read_of_a_lost_partition_is_left_to_its_next_holder(scene: Scene) -> None:
    old, new = scene.sink(commit_s=3600.0), scene.sink([])
    scene.put(1, 2)
    old.turn()
    hand_over(PARTS[:1], old, new, "lost")
    old.stop()
    assert [rows for _, rows, _ in scene.lake.commits] == [2]
    new.turn()
    assert scene.ids() == [1, 2]


def test_a_process_that_another_has_fenced_drops_its_rows_and_goes_on_from_the_table(scene: Scene) -> None:
    slow, quick = scene.sink(commit_s=3600.0), scene.sink()
    scene.put(1, 2)
    slow.turn()
    quick.turn()
    scene.put(3)
    slow.commit_s = 0.0
    slow.turn()
    assert scene.ids() == [1, 2]
    slow.turn()
    assert scene.ids() == [1, 2, 3]
    assert slow.metrics.registry.get_sample_value("quantstream_sink_rebalances_total", {"outcome": "fenced"}) == 1


def test_a_lake_that_is_away_ends_the_process_and_its_successor_loses_nothing(scene: Scene) -> None:
    stage = scene.sink()
    scene.put(1, 2)
    scene.lake.is_away = True
    with pytest.raises(Unavailable):
        stage.turn()
    scene.lake.is_away = False
    stage.stop()
    assert scene.lake.commits == []
    scene.sink().turn()
    assert scene.ids() == [1, 2]


def test_a_trade_older_than_the_gaps_remembered_is_dead_lettered_with_the_reason(scene: Scene) -> None:
    stage = scene.sink()
    scene.put(*range(100, 1000, 2))  # a gap after each: the oldest are forgotten
    scene.put(101)
    stage.turn()
    (letter,) = scene.dead()
    assert (letter.source, letter.reason) == ("sink market.trades.v1-0@450", module.REFUSED)
    assert (count(stage, "refused"), 101 in scene.ids()) == (1, False)


def test_what_is_no_row_of_its_table_is_dead_lettered_and_the_others_are_stored(scene: Scene) -> None:
    stage = scene.sink(ALL)
    scene.broker.append(CANDLES, "BTCUSDT", b"[]", 0)
    scene.broker.append(CANDLES, "ETHUSDT", encode(candle()), 0)
    scene.broker.append(CANDLES, "BTCUSDT", encode(candle()), 0)
    stage.turn()
    assert [(letter.source, letter.reason.partition(":")[0]) for letter in scene.dead()] == [
        ("sink market.candles.v1-0@0", "not a candle"),
        ("sink market.candles.v1-0@1", "a record of BTCUSDT under the key 'ETHUSDT'"),
    ]
    assert scene.lake.commits == [("candles", 1, {"sink/market.candles.v1/0": (None, 3)})]
    assert stage.metrics.registry.get_sample_value("quantstream_sink_dead_letters_total") == 2


def test_a_dead_letter_is_there_before_the_offset_after_it_is(scene: Scene) -> None:
    stage = scene.sink(ALL)
    scene.broker.append(CANDLES, "BTCUSDT", b"[]", 0)
    scene.broker.append(CANDLES, "BTCUSDT", encode(candle()), 0)
    stage.turn()
    assert scene.notes == ["dead letters", "candles"]


DIRECTION = ("usually_up", "tail_lean", "expected_return", "round_trip_cost")


def candle() -> Candle:
    prices = (3 * UNIT, 4 * UNIT, 2 * UNIT, 3 * UNIT)
    return Candle("BTCUSDT", "5m", T0, *prices, UNIT, 3 * QUOTE_UNIT + 1, 2, UNIT // 2, QUOTE_UNIT, 7, 8, True)


def test_candles_scores_and_anomalies_come_into_their_tables_as_exact_rows(scene: Scene) -> None:
    forecast = Forecast("5m", [0.5], [0.01], [3.03])
    score = Score(
        *("BTCUSDT", "5m", T0, 0, 3.0, T0 + 9, "hash"),
        forecasts=[forecast],
        signal=Signal("Buy", 0.6, 0.3, 0.1, 0.55, 0.5, 0.001, 0.002),
        models={"quantstream-risk": "4"},
    )
    mute = Score("BTCUSDT", "5m", T0 + 5 * MINUTE, 0, 3.0, T0 + 9, "hash", abstained="no model")
    strange = Anomaly("BTCUSDT", 7, T0, 3 * UNIT // 2, UNIT // 8, True, 0.9, ["large"], "rule/1", T0 + 9)
    stage = scene.sink(ALL)
    shadow = msgspec.structs.replace(score, models={"quantstream-risk": "5"})
    for topic, value in (
        *((CANDLES, candle()), (SCORES, score), (SCORES, mute)),
        *((SHADOW_SCORES, shadow), (ANOMALIES, strange)),
    ):
        scene.broker.append(topic, "BTCUSDT", encode(value), 0)
    stage.turn()
    (stored,) = rows(scene, "candles")
    assert (stored["close"], stored["quote_volume"]) == (Decimal(3), Decimal("3.0000000000000001"))
    first, second = rows(scene, "scores")
    assert (first["action"], first["buy"], first["models"]) == ("Buy", 0.6, [("quantstream-risk", "4")])
    assert [first[name] for name in DIRECTION] == [0.55, 0.5, 0.001, 0.002]
    assert [second[name] for name in DIRECTION] == [None] * 4
    assert first["forecasts"] == [{"horizon": "5m", "levels": [0.5], "log_returns": [0.01], "targets": [3.03]}]
    assert (second["action"], second["buy"], second["abstained"]) == (None, None, "no model")
    assert [row["models"] for row in rows(scene, "shadow_scores")] == [[("quantstream-risk", "5")]]
    (odd,) = rows(scene, "anomalies")
    assert (odd["price"], odd["quantity"], odd["reasons"]) == (Decimal("1.5"), Decimal("0.125"), ["large"])


def rows(scene: Scene, table: str) -> Iterable[dict[str, Any]]:
    found = scene.lake.read(table)
    order = "trade_id" if table == "anomalies" else "opened_at"
    return list(found.sort_by(order).to_pylist())


def test_a_table_that_was_taken_away_is_told_of_and_stored_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    stage = scene.sink()
    scene.put(1, 2, 3)
    stage.turn()
    shutil.rmtree(scene.folder / "trades")
    reader: Any = stage.reader
    with caplog.at_level(logging.ERROR):
        reader.todo += [lambda: reader.revoked(PARTS[:1]), lambda: reader.assigned(PARTS[:1])]
        stage.turn()
    assert "the lake holds less than it did; what its topic still has is stored again" in caplog.messages
    assert stage.metrics.registry.get_sample_value("quantstream_sink_gone_records_total") == 3
    stage.turn()
    assert scene.ids() == [1, 2, 3]


def test_progress_in_another_log_is_not_progress_in_this_one_and_is_told_of(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.put(1, 2, 3)
    scene.sink().turn()
    scene.broker = MemoryBroker()  # the topics of a prefix begin empty
    scene.put(9)
    with caplog.at_level(logging.WARNING):
        scene.sink(topic_prefix="restored.").turn()
    assert scene.ids() == [1, 2, 3, 9]
    assert scene.lake.commits[1:] == [("trades", 1, {"sink/restored.market.trades.v1/0": (None, 1)})]
    assert [each for each in caplog.messages if "another log" in each] == [
        "the lake has rows of another log as well; what both logs hold is in it twice, as verify says"
    ]


def test_a_lake_that_lacks_the_ids_of_its_trades_is_refused_in_a_sentence(scene: Scene) -> None:
    scene.put(1, 2, 3)
    scene.sink().turn()
    shutil.rmtree(scene.folder / "trades" / "_state")
    with pytest.raises(Misconfigured, match=r"up to record 3, but not which ids they have: .* put that folder back"):
        scene.sink()


def test_candles_and_scores_say_when_they_became_known_and_a_second_reading_says_the_same(
    scene: Scene, tmp_path: Path
) -> None:
    first = candle()
    later = msgspec.structs.replace(first, revision=1_000, source="klines")
    for known_at, value in ((T0 + 5 * MINUTE, first), (T0 + 65 * MINUTE, later)):
        log = scene.broker.logs.setdefault((CANDLES.name, 0), [])
        stamp = (1, known_at // 1_000)  # as the producer's clock says
        log.append(
            Message(
                topic=CANDLES.name, partition=0, offset=len(log), key=b"BTCUSDT", value=encode(value), timestamp=stamp
            )
        )
    score = Score("BTCUSDT", "5m", T0, 0, 1.5, scored_at=T0 + 5 * MINUTE + 250_001, feature_hash="x")
    scene.broker.append(SCORES, "BTCUSDT", encode(score), 0)
    scene.sink(ALL).turn()
    again = Scene(tmp_path / "again")
    again.broker = scene.broker
    again.sink(ALL).turn()
    for lake in (scene.lake, again.lake):
        rows = lake.read("candles").sort_by("revision")
        assert [micros(at) for at in rows["known_at"].to_pylist()] == [T0 + 5 * MINUTE, T0 + 65 * MINUTE]
        at_14_05 = lake.candles(["BTCUSDT"], as_of=utc(T0 + 6 * MINUTE)).to_pylist()
        assert [(row["revision"], row["source"]) for row in at_14_05] == [(0, "trades")], (
            "the correction came an hour later"
        )
        assert lake.candles(["BTCUSDT"], as_of=utc(T0 + 65 * MINUTE))["revision"].to_pylist() == [1_000]
        (stored,) = lake.read("scores").to_pylist()
        assert micros(stored["known_at"]) == score.scored_at
        assert lake.read("scores", as_of=utc(score.scored_at - 1)).num_rows == 0
