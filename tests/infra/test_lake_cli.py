"""`quantstream sql`, `export`, `ledger` and `lake migrate` as a person calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.commands import app
from quantstream.lake.store import Lake
from tests.unit.quantstream.lake.filled import filled, put_by_day

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a lake that versions before this one made."""
    folder = tmp_path_factory.mktemp("state")
    made = filled(folder / "made")
    put_by_day(made, Lake(str(folder / "lake")))
    return folder


@pytest.fixture
def command(state: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("QUANTSTREAM_LAKE", "QUANTSTREAM_STATE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--state", str(state)])


def test_a_lake_of_before_is_asked_and_exported_and_after_its_migration_says_the_same(
    command: Command, tmp_path: Path
) -> None:
    query = "select symbol, count(*) n, max(close) highest from candles where interval = '5m' group by all order by n, symbol"
    before = command("sql", query)
    assert before.stdout.splitlines()[1] == "BTCUSDT   24  2.00000011"
    export = ("export", "candles", "--symbols", "BTCUSDT", "--from", "2025-11-23", "--to", "2025-12-01")
    for name in ("before.csv", "after.csv"):
        done = command(*export, "--output", str(tmp_path / name))
        assert done.stdout == f"16 rows written to {tmp_path / name}\n", done.exception
        if name == "before.csv":
            assert "candles: month was added" in command("lake", "migrate").stdout
    assert command("sql", query).stdout == before.stdout
    assert "nothing was changed" in command("lake", "migrate").stdout


def test_a_file_a_version_and_a_time_are_options_and_what_is_wrong_is_a_sentence(
    command: Command, tmp_path: Path
) -> None:
    place = tmp_path / "x.parquet"
    assert command("sql", "from candles", "--output", str(place)).stdout.endswith(f" rows written to {place}\n")
    assert "is there already" in str(command("sql", "from candles", "--output", str(place)).exception)
    counted = command("sql", "select count(*) n from candles", "--version", "candles=0", "--format", "csv")
    assert counted.stdout == "n\n0\n"
    early = command("sql", "select count(*) n from candles", "--as-of", "2025-11-20", "--format", "json")
    assert early.stdout == '{"n": 0}\n'
    assert "write it like candles=12" in str(command("sql", "from candles", "--version", "12").exception)
    assert "is not a moment" in str(command("sql", "from candles", "--as-of", "noon").exception)


def test_a_ledger_of_a_lake_without_scores_is_a_sentence(command: Command) -> None:
    done = command("ledger", "--costs", "maker", "--json")
    assert "there are no scores at" in str(done.exception)
    assert done.stdout == ""
