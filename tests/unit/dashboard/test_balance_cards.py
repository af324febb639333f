"""The health page says which stage's balance does not close, and which symbols' days are not whole and why."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import generate_latest

from dashboard.balance_cards import DayConditions, condition_body, condition_tiles, stage_balances
from dashboard.stage_status import Sample, Stage
from quantstream.core.accounts import Account
from quantstream.core.day_condition import DayProof
from quantstream.core.time import DAY
from quantstream.lake.store import Lake
from quantstream.observability.balance import BalanceSheet
from quantstream.observability.metrics import Metrics
from quantstream.observability.metrics_page import parse_metrics
from streaming.sink.daily_accounts import keep_accounts
from tests.unit.dashboard.conftest import MIDNIGHT


def stage(name: str, *accounts: Account) -> Stage:
    """A stage as its own metrics show it."""
    metrics = Metrics(name)
    BalanceSheet(metrics).show([(f"S{n}", account) for n, account in enumerate(accounts)])
    return Stage(name, "ready", "", (Sample(0.0, parse_metrics(generate_latest(metrics.registry).decode())),))


def test_a_stage_that_does_not_add_up_is_named_with_its_counts() -> None:
    good, bad = Account(read=1_234, stored=1_200, duplicate=34), Account(read=5, stored=4)
    body = stage_balances([stage("sink", good, good), stage("detect", good, bad), Stage("broker", "ready")])
    assert '<b>sink</b></td><td><span class="up">closes</span></td><td>2,468</td><td>2,400</td><td>68</td>' in body
    assert '<b>detect</b></td><td><b class="down">1 symbols do not add up</b></td><td>1,239</td>' in body
    assert "broker" not in body


def test_stages_that_said_nothing_yet_are_not_said_to_close() -> None:
    assert "no stage has said anything" in stage_balances([Stage("sink", "down")])


def test_a_lake_without_accounts_is_left_alone_and_says_so(tmp_path: Path) -> None:
    found = DayConditions(Lake(str(tmp_path / "lake")))
    found.turn()
    assert "no day was looked at yet" in condition_body(found.rows)
    assert not (tmp_path / "lake").exists()


def test_days_that_are_not_whole_come_newest_first_with_why_and_the_last_row_of_a_day_counts(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    keep_accounts(lake, [DayProof("BTCUSDT", MIDNIGHT - DAY, equal=280, missing=8)], MIDNIGHT)
    days = [
        DayProof("BTCUSDT", MIDNIGHT - DAY, equal=288),
        DayProof("BTCUSDT", MIDNIGHT, equal=10, is_over=False),
        DayProof("ETHUSDT", MIDNIGHT - DAY, equal=287, incomplete=1),
        DayProof("XRPUSDT", MIDNIGHT - DAY, missing=288),
        DayProof("OLDUSDT", MIDNIGHT - 30 * DAY, missing=288),
    ]
    keep_accounts(lake, days, MIDNIGHT + 1)
    found = DayConditions(lake)
    found.turn()
    assert [(tile.label, tile.value, tile.tone) for tile in condition_tiles(found.rows)] == [
        ("Whole", "1", "up"),
        ("Pending", "1", "flat"),
        ("Degraded", "1", "warn"),
        ("Missing", "1", "down"),
    ]
    body = condition_body(found.rows)
    places = [
        body.index(text) for text in ("the day is not over", "none of 288 candles is there", "1 candles are incomplete")
    ]
    assert places == sorted(places)
    assert "OLDUSDT" not in body


def test_whole_days_need_no_table_and_names_are_escaped(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    keep_accounts(lake, [DayProof("BTCUSDT", MIDNIGHT, equal=288)], MIDNIGHT + DAY)
    found = DayConditions(lake)
    found.turn()
    assert condition_body(found.rows) == '<p class="qs-nothing">every day of every symbol is whole</p>'
    row = found.rows[0] | {"condition": "degraded", "symbol": "<b>", "why": "<i>"}
    assert "&lt;b&gt;" in condition_body([row])
    assert "&lt;i&gt;" in condition_body([row])
