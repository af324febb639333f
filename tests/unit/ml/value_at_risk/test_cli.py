"""`quantstream var`: three holdings from a file, symbols, a time of before, and a sentence for what makes no sense."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ml.value_at_risk.cli import register
from quantstream import features
from quantstream.core.errors import QuantStreamError
from quantstream.core.time import utc
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from tests.unit.ml import markets

FRAMES = {
    "BTCUSDT": markets.candles(36 * 288, 41, price=60_000.0),
    "ETHUSDT": markets.candles(36 * 288, 42, price=3_000.0),
    "SOLUSDT": markets.candles(36 * 288, 43, price=150.0),
    "NEWUSDT": markets.candles(36 * 288, 44).iloc[-8 * 288 :],
    "LATEUSDT": markets.candles(36 * 288, 45).iloc[: 35 * 288],
    "ETHBTC": markets.candles(36 * 288, 46, price=0.05),
}
END = utc(int(features.opened_at_us(FRAMES["BTCUSDT"])[-1]) + features.STEP_US)
HELD = "symbol,quantity\nBTCUSDT,0.5\nETHUSDT,-4\nSOLUSDT,100\n"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for symbol, frame in FRAMES.items():
        markets.write_candles(lake, symbol, frame)
    return lake


@pytest.fixture
def run(lake: Lake, tmp_path: Path):
    def called(*words: str, held: str | None = None, setting: str = "") -> Result:
        app = typer.Typer()
        symbols = ("BTCUSDT", "ETHUSDT")
        register(app, lambda state: Settings(lake=lake.url, symbols=symbols, positions=setting))
        if held is not None:
            (tmp_path / "positions.csv").write_text(held)
            words = ("--positions", str(tmp_path / "positions.csv"), *words)
        return CliRunner().invoke(app, list(words))

    return called


def sentence(result: Result) -> str:
    """What a person reads of an error: the command's own door prints it."""
    assert isinstance(result.exception, QuantStreamError)
    return str(result.exception)


def test_three_holdings_have_todays_risk_each_and_together(run) -> None:
    result = run("--json", held=HELD)
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert told["told_at"] == f"{END:%Y-%m-%dT%H:%M:%SZ}"
    assert told["troubles"] == []
    assert [one["symbol"] for one in told["positions"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    for one in told["positions"]:
        assert one["value"] == pytest.approx(float(one["quantity"]) * FRAMES[one["symbol"]]["close"].iloc[-1], rel=1e-6)
    assert told["book"]["quote"] == "USDT"
    for horizon in ("1h", "1d"):
        for level in ("95", "99"):
            book = told["book"]["risks"][horizon][level]
            alone = [one["risks"][horizon][level]["value_at_risk"] for one in told["positions"]]
            assert 0 < book["value_at_risk"] < sum(alone)
            assert book["diversification"] == pytest.approx(1 - book["value_at_risk"] / sum(alone))
            assert book["expected_shortfall"] > book["value_at_risk"]
    assert sum(told["book"]["tail_shares"]["1d"].values()) == pytest.approx(1)


def test_the_table_has_a_line_for_each_holding_and_the_book(run) -> None:
    result = run(held=HELD)
    lines = result.output.splitlines()
    assert lines[0] == f"Told at the close of {END:%Y-%m-%d %H:%M} UTC; losses in the quote currency."
    assert [line.split()[0] for line in lines if line][1:] == [
        *("next", "BTCUSDT", "ETHUSDT", "SOLUSDT", "book", "The"),
        *("next", "BTCUSDT", "ETHUSDT", "SOLUSDT", "book", "The"),
    ]
    assert result.exit_code == 0


def test_the_file_of_the_setting_is_taken_unless_another_or_symbols_are_named(run, tmp_path: Path) -> None:
    file = tmp_path / "book.json"
    file.write_text('{"SOLUSDT": 1}')
    assert "SOLUSDT" in run(setting=str(file)).output
    assert "SOLUSDT" not in run("--symbols", "btcusdt", setting=str(file)).output


def test_without_a_file_the_symbols_that_are_followed_are_told_for_both_sides(run) -> None:
    told = json.loads(run("--json").output)
    assert set(told["symbols"]) == {"BTCUSDT", "ETHUSDT"}
    assert set(told["symbols"]["BTCUSDT"]) == {"close", "sigma", "long", "short"}


def test_a_close_of_before_is_told_of_what_was_there_then(run) -> None:
    at = END - timedelta(hours=5, minutes=2)
    told = json.loads(run("--symbols", "BTCUSDT", "--at", f"{at:%Y-%m-%dT%H:%M}", "--json").output)
    assert told["told_at"] == f"{END - timedelta(hours=5, minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    now = json.loads(run("--symbols", "BTCUSDT", "--json").output)
    assert told["symbols"]["BTCUSDT"]["sigma"] != now["symbols"]["BTCUSDT"]["sigma"]


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("BTCUSDT,1\nFOOUSDT,1", "FOOUSDT: the lake has no candles of it; is the name right, and is it followed?"),
        (
            "BTCUSDT,1\nNEWUSDT,1",
            "21 are needed, the week before and the day after not counted: no value at risk",
        ),
        ("BTCUSDT,1\nLATEUSDT,1", "24 hours before the others': no value at risk"),
        ("BTCUSDT,1\nETHBTC,1", "its positions are worth BTC and USDT, which are not added up here"),
    ],
)
def test_what_has_no_figure_is_said_and_the_book_has_none(run, held: str, said: str) -> None:
    result = run(held=f"symbol,quantity\n{held}\n")
    assert result.exit_code == 1
    assert said in result.output
    assert "no figure for the book" in result.output
    assert "BTCUSDT" in result.output
    assert json.loads(run("--json", held=f"symbol,quantity\n{held}\n").output)["book"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--symbols", "FOOUSDT"), "the lake has no candles of FOOUSDT; is the name right?"),
        (("--symbols", ","), "--symbols names none"),
        (("--positions", "gone.csv", "--symbols", "BTCUSDT"), "name --positions or --symbols, not both"),
        (("--positions", "gone.csv"), "the positions in gone.csv cannot be read: No such file or directory"),
        (("--as-of", "2024-02-01"), "say of which close with --at"),
        (("--at", "yesterday"), "'yesterday' is not a moment"),
        (("--at", "2019-01-01"), "before 2019-01-01 00:00 UTC; is the name right?"),
        (("--recompute", "5"), "has no stored forecasts"),
    ],
)
def test_nonsense_is_a_sentence(run, words: tuple[str, ...], said: str) -> None:
    assert said in sentence(run(*words))


def test_candles_that_do_not_say_when_they_were_known_are_not_taken_for_known(run) -> None:
    at = f"{datetime(2024, 2, 1):%Y-%m-%d}"
    assert "does not say when they became known" in sentence(run("--symbols", "BTCUSDT", "--at", at, "--as-of", at))
