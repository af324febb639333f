"""`quantstream ledger` in a person's hands: one account in words, JSON and CSV, and a sentence for each misuse."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ml.backtest import cli, fill_checks, fills, stored_prices
from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.lake.schemas import SCHEMAS, SHADOW_SCORES
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from tests.unit.ml.backtest import acted

MARKET = acted.market()
COUNT = 60


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("acted") / "lake"))
    acted.fill(lake, MARKET, acted.alternating(COUNT))
    return lake


def run(lake: Lake, *words: str) -> Result:
    app = typer.Typer()
    app.command()(cli.command(lambda state: Settings(state=Path(lake.url).parent / "state", lake=lake.url)))
    return CliRunner().invoke(app, words)


def said(lake: Lake, *words: str) -> str:
    done = run(lake, *words)
    assert done.exit_code == 0, done.exception or done.output
    return done.stdout


def test_the_account_adds_up_and_every_row_is_in_the_file(lake: Lake, tmp_path: Path) -> None:
    words = ("--costs", "futures", "--spread-bp", "2", "--latency", "250ms", "--notional", "500", "--check")
    found = json.loads(said(lake, *words, "--json", "--csv", str(tmp_path / "rows.csv")))
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["scores"] - found["holds"] == COUNT - COUNT // 3
    assert found["costs"] == {"fee_bp": 4.0, "spread_bp": 2.0, "slippage_bp": 0.0, "side_bp": 5.0}
    filled = [row for row in rows if row["entered_at"]]
    for name in ("gross", "fees", "slippage", "net"):
        assert sum(Decimal(row[name]) for row in filled) == Decimal(found["figures"][name])
    for row in filled:
        assert Decimal(row["net"]) == Decimal(row["gross"]) - Decimal(row["fees"]) - Decimal(row["slippage"])
        assert 499 < Decimal(row["quantity"]) * Decimal(row["entry_price"]) <= 500
    assert found["figures"]["trades"] == len(filled) == sum(found["filled_by"].values())
    plain = said(lake, *words)
    assert found["verdict"] in plain
    assert "no fill looked ahead" in plain
    assert "entered at the first trade 250 ms after the score or later" in plain


def test_a_fill_that_looks_ahead_makes_the_check_fail(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheats(order: fills.Order, tape: fills.Tape, rules: fills.Rules) -> Any:
        found = fills.fill(order, tape, rules)
        return found._replace(entry=int(tape.price[0])) if isinstance(found, fills.Position) else found

    monkeypatch.setattr(stored_prices, "faults", lambda one, tape, rules: fill_checks.faults(one, tape, rules, cheats))
    done = run(lake, "--check")
    assert isinstance(done.exception, QuantStreamError)
    assert "of the fills looked where they could not: BTCUSDT 2023-11-16T" in str(done.exception)


WRONG = [
    (("--symbols", "NONEUSDT"), "the lake has no scores of NONEUSDT; it has scores of BTCUSDT"),
    (("--from", "2024-02-01", "--to", "2024-01-01"), "--to must be later than --from, and 2024-01-01T00:00 is not"),
    (("--from", "yesterday"), "'yesterday' is not a moment"),
    (("--fee-bp", "-3"), "a fee of −3 bp is none"),
    (("--spread-bp", "x"), "--spread-bp 'x' is no number of basis points"),
    (("--costs", "free"), "'free' names no costs; choose one of taker, maker, futures"),
    (("--costs", "maker", "--fee-bp", "1"), "both name the fee"),
    (("--latency", "soon"), "--latency 'soon' is no length of time; write one like 250ms, 1s or 5m"),
    (("--latency", "1h"), "a latency of an hour or more is longer than what a score speaks of"),
    (("--stop-latency", "-1s"), "--stop-latency '-1s' is no length of time"),
    (("--notional", "0"), "--notional is how much each trade is worth; write a number above 0"),
    (("--notional", "all"), "--notional 'all' is no amount of money"),
    (("--clock", "wall"), "--clock 'wall' is none; write score or candle"),
    (("--version", "99"), "has no signal of version 99 in what was asked for"),
    (("--from", "2031-01-01"), "has no signal in what was asked for"),
    (("--csv", "none/x.csv"), "its folder must be there"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_each_misuse_gets_one_sentence(lake: Lake, words: tuple[str, ...], sentence: str) -> None:
    done = run(lake, *words)
    assert isinstance(done.exception, QuantStreamError), done.output
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


def test_a_lake_that_is_not_there_or_holds_no_scores_gets_one_sentence(tmp_path: Path) -> None:
    done = run(Lake(str(tmp_path / "none")))
    assert isinstance(done.exception, Misconfigured)
    assert "there are no scores at" in str(done.exception)
    assert not (tmp_path / "none").exists()
    empty = Lake(str(tmp_path / "empty"))
    for name in ("scores", SHADOW_SCORES):
        empty.append(name, SCHEMAS[name].empty_table())
    for words in ((), ("--symbols", "BTCUSDT"), ("--version", "1")):
        done = run(empty, *words)
        assert isinstance(done.exception, QuantStreamError), done.output
        assert "no signal" in str(done.exception) or "has no scores of BTCUSDT; it has scores of none" in str(
            done.exception
        )


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(lake: Lake, tmp_path: Path) -> None:
    place = tmp_path / "x.csv"
    place.write_text("mine")
    assert "is there already" in str(run(lake, "--csv", str(place)).exception)
    assert place.read_text() == "mine"
    said(lake, "--csv", str(place), "--force")
    assert place.read_text().startswith("symbol,opened_at,")
