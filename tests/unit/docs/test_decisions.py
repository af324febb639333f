"""Every decision is a short dated file, and the index lists each once, by date."""

from __future__ import annotations

import re
from datetime import date

import pytest

from tests.unit.docs.tree import ROOT

FOLDER = ROOT / "docs" / "decisions"
FILES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SHAPE = re.compile(
    r"# (?P<title>.+)\nDate: (?P<date>[\d-]+)\n(?:Replaced by: \[.+\]\(.+\.md\)\n)?"
    r"\n\*\*Decision\.\*\* .+\n\n\*\*Why\.\*\* .+\n",
    re.DOTALL,
)
LONGEST = 1_200  # characters: a decision is read in half a minute


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_decision_is_a_title_a_date_what_and_why(path) -> None:
    text = path.read_text(encoding="utf-8")
    found = SHAPE.fullmatch(text)
    assert found, "title, Date, **Decision.**, **Why.** are what a decision consists of"
    assert path.name.startswith(f"{date.fromisoformat(found['date'])}-")
    assert len(text) < LONGEST


def test_the_index_lists_each_decision_once_by_date_with_its_title() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d-]+) \| \[(.+)\]\((.+\.md)\) \|$", text, re.MULTILINE)
    titles = {path.name: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in FILES}
    assert {name: title for _, title, name in rows} == titles
    assert len(rows) == len(titles)
    assert [day for day, _, _ in rows] == sorted(name[:10] for name in titles)
    assert all(name.startswith(day) for day, _, name in rows)
