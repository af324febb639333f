"""Logs as the command shows them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from infra.cli.process_logs import find, show
from quantstream.core.errors import Misconfigured


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ingest.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "score.log").write_text("four\n")
    return tmp_path


def test_last_lines_of_one_log(folder: Path) -> None:
    out = io.StringIO()
    show(folder, "ingest", follow=False, lines=2, out=out)
    assert out.getvalue() == "two\nthree\n"


def test_all_logs_each_under_its_name(folder: Path) -> None:
    out = io.StringIO()
    show(folder, None, follow=False, lines=1, out=out)
    assert out.getvalue() == "==> ingest <==\nthree\n==> score <==\nfour\n"


def test_unknown_name_lists_the_known_ones(folder: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no log of 'inges'; known are ingest, score"):
        find(folder, "inges")


def test_folder_without_logs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="run quantstream up first"):
        find(tmp_path, None)
