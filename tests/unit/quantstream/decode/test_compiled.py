"""Loops are compiled once and kept; what cannot be kept, is damaged or was made of something else is compiled again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantstream.decode import compiled, warm
from quantstream.decode.trade_id_index import find_new

SOURCE = """
from steps import STEP
from quantstream.decode.compiled import INT, NUMBERS, loop, part


@part(NUMBERS, INT)
def _next(values, at):
    return values[at] + STEP


@loop(NUMBERS, INT)
def add_up(values, count):
    total = 0
    for at in range(count):
        total += _next(values, at)
    return total
"""
PRINTED = "import numpy, sys, summing; print(summing.add_up.over(numpy.arange(4))(4), 'numba' in sys.modules)"


@pytest.fixture(autouse=True)
def compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiled.PLAIN, raising=False)  # make coverage runs loops as Python


def summed(folder: Path, step: int) -> str:
    """Return what a process prints that uses the loop with a constant of another module: the sum, and if it compiled."""
    (folder / "steps.py").write_text(f"STEP = {step}")
    (folder / "summing.py").write_text(SOURCE)
    environment = {**os.environ, compiled.FOLDER: str(folder / "loops"), "PYTHONPATH": f"{folder}:{os.getcwd()}"}
    command = [sys.executable, "-B", "-c", PRINTED]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_loop_is_compiled_once_and_again_when_a_constant_is_another_or_its_file_is_damaged(tmp_path: Path) -> None:
    assert summed(tmp_path, 3) == "18 True"
    assert summed(tmp_path, 3) == "18 False"
    (kept,) = (tmp_path / "loops").iterdir()
    assert summed(tmp_path, 40) == "166 True"
    kept.write_bytes(kept.read_bytes()[:-100])
    assert summed(tmp_path, 3) == "18 True"


def test_a_loop_runs_as_the_python_it_is_written_in_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.PLAIN, "1")
    assert summed(tmp_path, 3) == "18 False"
    assert not (tmp_path / "loops").exists()


def test_loops_that_cannot_be_kept_are_compiled_all_the_same_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(compiled.FOLDER, str(tmp_path / "file" / "loops"))
    monkeypatch.setattr(compiled, "_told", set())
    spaces: list[dict[str, object]] = []
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            module = tmp_path / f"unkept{number}.py"
            module.write_text(SOURCE.replace("from steps import STEP", f"STEP = {number}"))
            spaces.append({"__name__": module.stem})
            exec(compile(module.read_text(), module, "exec"), spaces[-1])
    found = [space["add_up"].over(np.arange(4))(4) for space in spaces]  # type: ignore[attr-defined]
    assert (found, len(caplog.records)) == ([6, 10], 1)
    assert "every start compiles them" in caplog.text


def test_an_array_that_is_not_as_declared_is_refused() -> None:
    numbers, flags = np.zeros(4, np.int64), np.zeros(4, np.bool_)
    rows = [numbers] * 6
    with pytest.raises(ValueError, match="where a whole one of int64 belongs"):
        find_new.over(*rows[:5], numbers.astype(np.int32), flags, numbers, numbers, flags)
    with pytest.raises(ValueError, match="one with gaps"):
        find_new.over(*rows[:5], np.zeros(8, np.int64)[::2], flags, numbers, numbers, flags)
    with pytest.raises(ValueError, match="longer"):
        find_new.over(*rows)


def test_whatever_has_a_loop_is_compiled_beforehand() -> None:
    files = Path(warm.__file__).parent.glob("*.py")
    with_loops = {f"quantstream.decode.{file.stem}" for file in files if "\n@loop(" in file.read_text()}
    code = "import sys, quantstream.decode.warm; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert with_loops
    assert with_loops <= set(done.stdout.split())
