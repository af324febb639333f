"""Data docs: named by table, symbol and day, and whole without the internet."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ml.validation import pages
from ml.validation.shelf import Shelf
from tests.unit.ml.validation.markets import AT, BAD, ROWS, SYMBOLS, gate, lake_of

FAULTY = SYMBOLS[1]
FOREIGN = re.compile(r"(?:https?:)?//[\w.-]+\.\w+|<script|<link|<img|@import|url\(")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    lake = lake_of(folder / "lake", {FAULTY: lambda frame: frame.drop(index=range(3 * ROWS + 5, 3 * ROWS + 9))})
    for symbol in (FAULTY, SYMBOLS[0]):
        gate(lake, folder).check("candles", symbol)
    pages.write_index(Shelf(str(folder)))
    return folder


def test_pages_are_named_by_table_symbol_and_day(state: Path) -> None:
    docs = state / "data_docs"
    assert sorted(str(path.relative_to(docs)) for path in docs.rglob("*.html")) == [
        "candles/AAAUSDT/index.html",
        f"candles/BBBUSDT/{BAD}.html",
        "candles/BBBUSDT/days.html",
        "candles/BBBUSDT/index.html",
        "index.html",
    ]


def test_no_page_asks_anything_of_the_internet(state: Path) -> None:
    found = {path.name: FOREIGN.findall(path.read_text()) for path in (state / "data_docs").rglob("*.html")}
    assert {name: urls for name, urls in found.items() if urls} == {}


def test_the_pages_say_what_failed_where_and_what_to_do(state: Path) -> None:
    docs = state / "data_docs"
    day = (docs / "candles" / FAULTY / f"{BAD}.html").read_text()
    assert f"<h1>candles {FAULTY} {BAD}</h1>" in day
    assert "expect_day_to_be_whole" in day
    assert f"quantstream quarantine release {FAULTY} {BAD}" in day
    library = (docs / "candles" / FAULTY / "days.html").read_text()
    assert "Expectation Validation Result" in library
    assert "Failed" in library
    assert f"candles {FAULTY}: days" in library
    assert "__none__" not in library
    assert f'<a href="candles/{FAULTY}/index.html">{FAULTY}</a>' in (docs / "index.html").read_text()


def test_a_page_of_a_day_goes_when_the_day_is_released(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: lambda frame: frame.drop(index=[3 * ROWS + 5])})
    gate(lake, tmp_path).check("candles", FAULTY)
    folder = tmp_path / pages.folder_of("candles", FAULTY)
    assert (folder / f"{BAD}.html").exists()
    (tmp_path / "lake" / "candles").rename(tmp_path / "old")
    lake_of(tmp_path / "new")
    (tmp_path / "new" / "candles").rename(tmp_path / "lake" / "candles")
    gate(lake, tmp_path, at=AT + timedelta(hours=1)).check("candles", FAULTY)
    assert sorted(path.name for path in folder.iterdir()) == ["index.html"]


def test_validation_needs_no_tensorflow() -> None:
    code = (
        "import sys; import ml.validation.pipeline, ml.validation.cli; from ml.validation import engine; engine._library(); "
        "print([name for name in ('tensorflow', 'keras', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
