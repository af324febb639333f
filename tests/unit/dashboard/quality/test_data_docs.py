"""The data docs within the page: what validation wrote is shown, its links stay in the page, and no other file is opened."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.quality.data_docs import DataDocs
from ml.validation import pages
from ml.validation.shelf import Shelf
from quantstream.core.errors import Unavailable
from tests.unit.ml.validation.markets import BAD, ROWS, SYMBOLS, gate, lake_of

VIEW = Path(__file__).resolve().parents[4] / "dashboard" / "views" / "data_docs_view.py"
FAULTY = SYMBOLS[1]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    lake = lake_of(folder / "lake", {FAULTY: lambda frame: frame.drop(index=range(3 * ROWS + 5, 3 * ROWS + 9))})
    gate(lake, folder).check("candles", FAULTY)
    pages.write_index(Shelf(str(folder)))
    (folder / "secret.html").write_text("<body>no doc</body>")
    return folder


def drawn(state: Path, page: str = "") -> str:
    app = AppTest.from_file(str(VIEW), default_timeout=60)
    app.session_state["sources"] = SimpleNamespace(docs=DataDocs(Shelf(str(state))))
    if page:
        app.query_params["page"] = page
    app.run()
    assert not app.exception
    return "".join(each.proto.body for each in app.get("html"))


def test_the_page_shows_the_index_and_where_it_lies(state: Path) -> None:
    page = drawn(state)
    assert f'<a href="data_docs?page=candles/{FAULTY}/index" target="_self">{FAULTY}</a>' in page
    assert f"{state}/data_docs/index.html" in page
    assert "<style" not in page


def test_every_link_of_every_page_leads_to_a_page_that_is_there(state: Path) -> None:
    docs = DataDocs(Shelf(str(state)))
    names = docs.names()
    assert f"candles/{FAULTY}/{BAD}" in names
    for name in names:
        body = docs.body(name)
        assert body
        assert set(re.findall(r"data_docs\?page=([^\"]*)", body)) <= set(names)
        assert re.findall(r'<a href="(?!data_docs\?|#)[^"]*"', body) == []


def test_a_held_day_says_what_failed(state: Path) -> None:
    assert "expect_day_to_be_whole" in drawn(state, f"candles/{FAULTY}/{BAD}")


@pytest.mark.parametrize(
    "page", ["../secret", "candles/BBBUSDT/../../../secret", "/etc/passwd", "candles/BBBUSDT/1999-01-01"]
)
def test_only_data_docs_are_opened(state: Path, page: str) -> None:
    with pytest.raises(Unavailable, match="there is no data doc"):
        DataDocs(Shelf(str(state))).body(page)
    assert "there is no data doc" in drawn(state, page)


def test_docs_of_a_lake_on_object_storage_are_shown_whatever_state_folder_they_were_made_with(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: lambda frame: frame.drop(index=range(3 * ROWS + 5, 3 * ROWS + 9))})
    away = replace(lake, url=f"file://{lake.url}")
    for pod, symbol in (("one", FAULTY), ("other", SYMBOLS[0])):
        checked = gate(away, tmp_path / pod)
        report = checked.check("candles", symbol)
        pages.write_index(checked.shelf)
        assert report.data_docs == f"{away.url}/_checks/data_docs/candles/{symbol}/index.html"
        assert not (tmp_path / pod).exists()
    docs = DataDocs(Shelf.of(away, tmp_path / "page"))
    assert {f"candles/{FAULTY}/{BAD}", f"candles/{SYMBOLS[0]}/index", "index"} <= {*docs.names()}
    assert FAULTY in docs.body("index")
    assert SYMBOLS[0] in docs.body("index")
    gate(away, tmp_path / "third").check("candles", FAULTY)
    assert "days" in docs.body(f"candles/{FAULTY}/index")


def test_a_state_folder_that_is_elsewhere_is_said(tmp_path: Path) -> None:
    page = drawn(tmp_path)
    assert "whose lake is a folder and whose state folder is another one" in page
    assert not (tmp_path / "data_docs").exists()
