"""`quantstream verify`, `replay`, `repair` and the gaps that `candles` tells, as a person meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from infra.cli.commands import app
from infra.embedded.free_ports import free_port
from infra.embedded.state import Stack, State
from quantstream.lake.store import Lake
from streaming.__main__ import main
from streaming.reconcile.cli import COMMANDS
from tests.unit.streaming.lakes import SYMBOL, fill, live_candles, walk

TRADES = walk()
CANDLES = live_candles(TRADES)
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command on a state whose stack was started once and is down now: nothing answers but the lake."""
    nowhere = free_port()
    addresses = {
        "QUANTSTREAM_SYMBOLS": SYMBOL,
        "QUANTSTREAM_ENDPOINTS__REST": f"http://127.0.0.1:{nowhere}",
        "QUANTSTREAM_KAFKA__BOOTSTRAP": f"127.0.0.1:{nowhere}",
    }
    for name in addresses:  # the command takes them from stack.json into its environment: undone after the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    state = State.at(tmp_path)
    state.write(Stack(**{**asdict(Stack({}, "", {}, "", {})), "settings": addresses}))
    monkeypatch.setattr("quantstream.binance.rest.FIRST_PAUSE", 0.01)
    for command in ("replay", "repair"):
        monkeypatch.setattr(f"streaming.reconcile.commands.{command}_command.BROKER_PATIENCE", 0.5)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--state", str(tmp_path)])

    return invoke


def lake_of(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_with_the_stack_down_the_rest_is_proved_and_what_was_not_is_said(run: Run, tmp_path: Path) -> None:
    fill(lake_of(tmp_path), TRADES, CANDLES)
    done = run("verify")
    assert done.exit_code == 2
    table, not_compared, end = done.stdout.splitlines()[:2], *done.stdout.splitlines()[-2:]
    assert [line.split() for line in table] == [
        ["symbol", "windows", "equal", "different", "missing", "duplicate", "incomplete"],
        [SYMBOL, "5m", "12", "12", "0", "0", "0", "0"],
    ]
    assert not_compared.startswith("Not compared: the exchange's klines, for the exchange at http://127.0.0.1:")
    assert end == "Nothing differs in what could be compared: 12 of 12 candles are equal."


def test_a_difference_is_told_field_by_field_and_ends_with_one(run: Run, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(CANDLES[1], trade_count=61)
    fill(lake_of(tmp_path), TRADES, [CANDLES[0], wrong, *CANDLES[2:]])
    done = run("verify")
    assert done.exit_code == 1
    assert "BTCUSDT 5m 2024-08-08T23:50:00Z trade_count: lake 61, from trades 60, exchange none" in done.stdout
    assert done.stdout.splitlines()[-1] == "Something differs: 11 of 12 candles are equal."
    shape = json.loads(run("verify", "--json").stdout)
    assert (shape["different"], shape["differences"][0]["field"]) == (1, "trade_count")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify"], "there is no lake with candles at"),
        (["verify", "--from", "noon"], "'noon' is not a moment; write 2024-08-08T23:55"),
        (["replay"], "say where to begin: --from-offset P:N (repeatable) or --from-time T"),
        (["replay", "--from-time", "1h", "--from-offset", "0:0"], "one of them"),
        (["replay", "--from-offset", "0:0"], "no Kafka broker answers at 127.0.0.1:"),
        (["repair"], "no Kafka broker answers at 127.0.0.1:"),
        (["verify", "--symbols", "BTC/USDT"], "is not a symbol"),
        (["verify", "--form", "1d"], "unrecognized arguments: --form 1d; see quantstream verify --help"),
        (["repair", "--to", "1d"], "unrecognized arguments: --to 1d; see quantstream repair --help"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_two(run: Run, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("quantstream: ")
    assert words in line


def test_people_and_jobs_have_the_same_options_and_texts(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(lake_of(tmp_path), TRADES, CANDLES)
    done = run("verify", "--symbols", SYMBOL, "--from", "2024-08-08")
    capsys.readouterr()
    code = main(["verify", "--symbols", SYMBOL, "--from", "2024-08-08", "--state", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (code, capsys.readouterr().out)
    for command, text in COMMANDS.items():
        assert text in " ".join(run(command, "--help").stdout.split())


@pytest.mark.data
def test_the_gaps_of_a_recording_are_told_for_each_symbol(data: Path, tmp_path: Path) -> None:
    file = data / "trades" / "rest_trades_with_id_gap_2026-05-29.jsonl"
    done = CliRunner().invoke(app, ["candles", str(file), "--out", str(tmp_path / "candles.csv")])
    assert done.exit_code == 3
    gaps = [line.partition(" trade ids missing")[0] for line in done.stdout.splitlines() if "missing" in line]
    assert gaps == ["BNBUSDT: 3,998", "BTCUSDT: 16,649", "ETHUSDT: 17,415"]
