"""The proof over the real path, exchange to lake; then faults are planted, found and corrected by the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from quantstream.core.candle import Candle
from quantstream.kafka import Reader, Writer
from quantstream.kafka.ranges import read_ranges, whole
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, decode, encode
from quantstream.messages.topics import CANDLES, EVENTS
from quantstream.settings import Kafka
from streaming.__main__ import main
from streaming.reconcile.corrections import Known, known_candles
from tests.broker.test_live_path import Processes, wait_for

pytestmark = pytest.mark.broker
SYMBOLS = ("BTCUSDT", "ETHUSDT")
RIGHT = {"different": 0, "missing": 0, "duplicate": 0, "incomplete": 0}


@pytest.fixture
def processes(tmp_path: Path, fresh_broker: Kafka) -> Iterator[Processes]:
    started = Processes(tmp_path, fresh_broker)
    started.env["QUANTSTREAM_SYMBOLS"] = ",".join(SYMBOLS)
    yield started
    started.stop()


class Commands:
    """Runs the commands as a cluster's job would, but in this process: importing them anew takes seconds each."""

    def __init__(
        self, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        self.monkeypatch, self.capsys = monkeypatch, capsys
        for name, value in environment.items():
            if name.startswith("QUANTSTREAM_"):
                monkeypatch.setenv(name, value)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and what was said; nothing may have been complained of."""
        self.capsys.readouterr()
        code = main(list(arguments))
        output = self.capsys.readouterr()
        assert output.err == ""
        return code, output.out

    def verdict(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return what `verify` finds."""
        code, text = self.run("verify", "--json", *arguments)
        return code, json.loads(text)


def only(shape: dict[str, Any]) -> dict[str, int]:
    return {name: shape[name] for name in RIGHT}


def test_live_candles_are_proved_and_planted_faults_found_and_corrected(
    processes: Processes,
    fresh_broker: Kafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    processes.exchange("--symbols", ",".join(SYMBOLS), "--speed", "120", "--history-days", "1", "--seed", "11")
    for stage in ("aggregate", "sink", "ingest"):
        processes.start(stage)
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 10)

    by_module = [sys.executable, "-m", "streaming", "verify"]
    done = subprocess.run(by_module, env=processes.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("Nothing differs: ")

    commands = Commands(processes.env, monkeypatch, capsys)
    code, proof = commands.verdict("--keep")
    assert (code, only(proof), proof["missing_trades"]) == (0, RIGHT, 0)
    assert proof["equal"] == proof["unscored"] >= 8  # no scorer runs here
    (row,) = lake.read("proofs", ["BTCUSDT"]).to_pylist()
    assert (row["different"], row["differences"], row["equal"] > 0) == (0, [], True)

    everything = [part for partition in range(CANDLES.partitions) for part in ("--from-offset", f"{partition}:0")]
    code, text = commands.run("replay", "--json", *everything)
    replayed = json.loads(text)
    assert (code, replayed["different"], replayed["absent"], replayed["partial"]) == (0, 0, 0, 0)
    assert replayed["equal"] >= proof["equal"]

    _find_what_was_done_to_a_copy(commands, fresh_broker, lake, tmp_path)
    _mend_what_was_done_to_the_topic(commands, fresh_broker, lake)


def _find_what_was_done_to_a_copy(commands: Commands, kafka: Kafka, lake: Lake, tmp_path: Path) -> None:
    copy = Lake(str(tmp_path / "copy"))
    shutil.copytree(lake.url, copy.url)
    row = copy.candles(["BTCUSDT"]).slice(2, 1)
    place = row.column_names.index("close")
    close = row["close"].to_pylist()[0]
    wrong = row.set_column(place, row.field(place), pa.array([close + 1], row.field(place).type))
    revision = wrong.column_names.index("revision")
    copy.append("candles", wrong.set_column(revision, wrong.field(revision), pa.array([1], pa.int32())))
    copy.append("candles", copy.candles(["ETHUSDT"]).slice(1, 1))
    commands.monkeypatch.setenv("QUANTSTREAM_LAKE", copy.url)
    code, proof = commands.verdict("--keep")
    commands.monkeypatch.delenv("QUANTSTREAM_LAKE")
    assert (code, only(proof)) == (1, {**RIGHT, "different": 1, "duplicate": 1})
    (difference,) = proof["differences"]
    assert (difference["symbol"], difference["field"], difference["lake"]) == ("BTCUSDT", "close", str(close + 1))
    assert difference["recomputed"] == difference["klines"] == str(close)
    assert [name.partition(" candle")[0] for name in proof["duplicate_rows"]] == ["ETHUSDT 5m"]
    (event,) = _events(kafka, "BTCUSDT")
    assert (event.kind, event.text.partition(",")[0]) == ("candles_differ", "1 candles at 5m differ")


def _events(kafka: Kafka, symbol: str) -> list[Event]:
    reader = Reader(kafka)
    found = [decode(message.value(), Event) for message in read_ranges(reader, EVENTS, whole(reader, EVENTS))]
    reader.close()
    return [event for event in found if event.source == "verify" and event.symbol == symbol]


def _mend_what_was_done_to_the_topic(commands: Commands, kafka: Kafka, lake: Lake) -> None:
    """One candle is wrong, another incomplete: a replay corrects the first from the trades, klines the second."""
    reader = Reader(kafka)
    there = known_candles(reader, set(SYMBOLS), 0)
    reader.close()
    first, second = sorted(key for key in there if key[0] == "ETHUSDT")[2:4]
    right = there[first].candle
    _write(kafka, there[first], volume=right.volume + 1, revision=1)
    wait_for(lambda: _revision(lake, right) == 1)
    code, text = commands.run("replay", "--from-time", "1d", "--symbols", "ETHUSDT", "--publish")
    assert (code, text.splitlines()[-1]) == (0, "1 candles published as new revisions.")
    wait_for(lambda: _revision(lake, right) == 1000)
    code, text = commands.run("replay", "--from-time", "1d", "--publish")
    assert (code, text.splitlines()[-1]) == (0, "Nothing differs. Nothing was published.")

    whole_one = there[second].candle
    _write(kafka, there[second], trade_count=whole_one.trade_count - 1, is_complete=False, revision=1)
    wait_for(lambda: _revision(lake, whole_one) == 1)
    code, text = commands.run("repair")
    assert (code, text.splitlines()[-1]) == (0, "1 candles corrected from the exchange's klines.")
    assert commands.run("repair") == (0, "Nothing to correct.\n")
    wait_for(lambda: _revision(lake, whole_one) == 1000)
    assert _newest(lake, whole_one)["source"] == "klines"
    code, proof = commands.verdict()
    assert (code, only(proof)) == (0, RIGHT)


def _write(kafka: Kafka, known: Known, **changes: Any) -> None:
    writer = Writer(kafka)
    bad = msgspec.structs.replace(known.candle, **changes)
    writer.send(CANDLES, bad.symbol, encode(bad), partition=known.partition)
    writer.flush()


def _newest(lake: Lake, candle: Candle) -> dict[str, Any]:
    at = candle_rows([candle])["opened_at"].to_pylist()[0]
    (row,) = [row for row in lake.candles([candle.symbol]).to_pylist() if row["opened_at"] == at]
    return dict(row)


def _revision(lake: Lake, candle: Candle) -> int:
    return int(_newest(lake, candle)["revision"])
