"""A late trade of a day that retention deleted does not bring the day back: it is refused by name, and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.time import DAY
from quantstream.lake.upkeep import retention
from quantstream.lake.upkeep.retention import retain
from quantstream.messages.topics import TRADES
from streaming.sink.deleted_days import OF_A_DELETED_DAY
from streaming.sink.stage import SinkStage
from tests.unit.streaming.sink.test_stage import PARTS, T0, Scene, count, trade

A_DAY = DAY // 1_000_000  # a second a trade: so many ids later it is the next day
LATER = [A_DAY * 3 + number for number in (1, 2)]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A lake whose first day lacks a trade, and days that are proved, whatever is said of it."""
    monkeypatch.setattr(retention, "_unproved", lambda *_: "")
    scene = Scene(tmp_path / "lake")
    scene.put(1, 2, 4)
    scene.put(7, symbol="ETHUSDT", partition=1)
    return scene


def forget_old_days(scene: Scene) -> None:
    assert retain(scene.lake, 8, T0 + 10 * DAY).rows == 4
    assert scene.ids() == LATER


def balance(stage: SinkStage) -> dict[str, tuple[int, int]]:
    return {symbol: (account.read, account.dead) for symbol, account in stage.accounts()}


def closes(stage: SinkStage) -> bool:
    return all(
        account.read
        == account.stored + account.duplicate + account.dead + account.refused + account.passed + account.waiting
        for _, account in stage.accounts()
    )


@pytest.mark.parametrize("is_new_process", [True, False])
def test_a_late_trade_of_a_deleted_day_becomes_a_dead_letter_and_a_duplicate_stays_one(
    scene: Scene, is_new_process: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stage = scene.sink()
    stage.turn()
    scene.put(*LATER)
    stage.turn()
    forget_old_days(scene)
    if is_new_process:
        stage = scene.sink()
    duplicates = count(stage, "duplicate")
    scene.put(3, 4)  # one never seen, one that was stored before its day was deleted
    scene.put(LATER[-1] + 1)
    with caplog.at_level(logging.WARNING):
        stage.turn()
    assert scene.ids() == [*LATER, LATER[-1] + 1]
    (dead,) = scene.dead()
    assert dead.reason == OF_A_DELETED_DAY
    assert (count(stage, "refused"), count(stage, "duplicate") - duplicates) == (1, 1)
    assert balance(stage)["BTCUSDT"] == (8, 1)
    assert closes(stage)
    assert "late trades of days whose trades are deleted become dead letters" in caplog.text
    scene.put(3)
    stage.turn()
    assert len(scene.dead()) == 1  # told once: again it is a duplicate


def test_late_trades_of_days_that_are_there_and_of_other_symbols_are_stored(scene: Scene) -> None:
    stage = scene.sink()
    stage.turn()
    scene.put(*LATER)
    stage.turn()
    forget_old_days(scene)
    scene.put(A_DAY * 3 - 5)  # of the day before, which had no trades, and so was not deleted
    scene.put(5, symbol="XRPUSDT", partition=1)
    stage.turn()
    assert scene.ids() == [A_DAY * 3 - 5, *LATER]
    assert scene.ids("XRPUSDT") == [5]
    assert scene.dead() == []
    assert closes(stage)


def test_where_nothing_is_deleted_late_trades_are_stored_as_ever(scene: Scene) -> None:
    stage = scene.sink()
    stage.turn()
    scene.put(*LATER)
    stage.turn()
    scene.put(3)
    stage.turn()
    assert scene.ids() == [1, 2, 3, 4, *LATER]
    assert scene.dead() == []


def test_a_trade_too_large_for_a_column_is_refused_likewise(scene: Scene) -> None:
    stage = scene.sink()
    stage.turn()
    scene.put(*LATER)
    stage.turn()
    forget_old_days(scene)
    large = trade(3)
    large = type(large)(large.symbol, 3, 3, 3, 10**19, large.quantity, large.traded_at, False)
    scene.broker.append(TRADES, "BTCUSDT", trade_event(large), PARTS[0][1])
    stage.turn()
    assert scene.ids() == LATER
    assert [one.reason for one in scene.dead()] == [OF_A_DELETED_DAY]
    assert closes(stage)
