"""`backup` and `restore` as a person types them: one line of what was done, one sentence of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.__main__ import main
from tests.unit.quantstream.lake.test_store import Lake
from tests.unit.quantstream.lake.upkeep.test_backups import commit


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    found = Lake(str(tmp_path / "lake"))
    commit(found, 0)
    monkeypatch.setenv("QUANTSTREAM_LAKE", found.url)
    return found


def test_a_lake_goes_and_comes_back(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backups = str(tmp_path / "backups")
    assert main(["backup", "lake", "--backups", backups]) == 0
    assert '"candles": {"version": 1, "rows": 3}' in capsys.readouterr().out
    assert main(["restore", "lake", "--backups", backups, "--list"]) == 0
    stamp = capsys.readouterr().out.strip()
    assert main(["restore", "lake", "--backups", backups, "--to", str(tmp_path / "anew"), "--at", stamp]) == 0
    assert capsys.readouterr().out.startswith(f"backup {stamp} of the lake is at {tmp_path / 'anew'}")
    assert Lake(str(tmp_path / "anew")).read("candles").equals(lake.read("candles"))


@pytest.mark.parametrize(
    ("argv", "code", "output"),
    [
        (["backup", "models", "--backups", "B"], 2, "say where the models are, with --of URL"),
        (["backup", "lake", "--backups", "B", "--keep-days", "0"], 2, "'0' is not a number of days; write 1 to 3650"),
        (["backup", "lake"], 2, "the following arguments are required: --backups"),
        (["backup", "postgres", "--of", "not-there", "--backups", "B"], 1, "not-there cannot be opened"),
        (
            ["backup", "models", "--of", "empty", "--backups", "B"],
            1,
            "there is nothing at empty to be backed up; no model was trained yet",
        ),
        (["restore", "models", "--backups", "empty/B", "--to", "T"], 1, "cannot be opened"),
        (["restore", "models", "--backups", "empty", "--to", "T"], 2, "there is no backup of the models"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    argv: list[str],
    code: int,
    output: str,
    tmp_path: Path,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    if "empty" in argv and argv[0] == "restore":
        Path("empty", "models").mkdir()
    assert main(argv) == code
    errors = capsys.readouterr().err
    assert output in errors
    assert errors.startswith(f"{argv[0]}: ")
    assert errors.count("\n") == 1 or "cannot be opened" in errors
