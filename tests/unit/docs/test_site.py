"""The site's pages, `llms.txt` and AsyncAPI document, without MkDocs: every page is in it, every link leads somewhere."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement

from infra import docs_site
from quantstream.messages.asyncapi import document
from quantstream.messages.topics import TOPICS
from tests.unit.docs.tree import ROOT, files, pages, rooms

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs")
    docs_site.build(target)
    return target


def anchor(heading: str) -> str:
    """Return a heading's anchor, as GitHub and MkDocs make it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


@pytest.mark.parametrize("page", pages())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        name, _, fragment = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not name or target.resolve().relative_to(ROOT).as_posix() in files(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE) if fragment else []
        assert not fragment or fragment in map(anchor, headings), link


@pytest.mark.parametrize("page", pages())
def test_a_list_or_table_begins_after_an_empty_line_or_a_heading(page: str) -> None:
    """MkDocs would make a paragraph of it; GitHub is more lenient."""
    parts = (ROOT / page).read_text(encoding="utf-8").split("```")
    text = "```".join(part if number % 2 == 0 else "" for number, part in enumerate(parts))
    assert re.findall(r"^(?![-*] |[|#\s]|\d+\. ).+\n(?:[-*] |\d+\. |\|).*", text, re.MULTILINE) == []


def test_every_page_of_the_repository_is_in_the_site_and_begins_with_its_title(site: Path) -> None:
    laid = {path.relative_to(site / "pages").as_posix() for path in (site / "pages").rglob("*.md")}
    assert set(pages()) <= laid
    assert [name for name in laid if not (site / "pages" / name).read_text(encoding="utf-8").startswith("# ")] == []
    nav = yaml.safe_load((site / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(path for part in nav for some in part.values() for each in some for path in each.values()) == sorted(
        laid
    )


def test_there_is_a_reference_page_for_each_room_with_all_its_modules(site: Path) -> None:
    for folder, line in rooms():
        if folder.split("/")[0] in docs_site.PACKAGES:
            name = folder.replace("/", ".")
            text = (site / "pages" / "reference" / f"{name}.md").read_text(encoding="utf-8")
            assert line in text
            modules = {each for each in files() if str(PurePosixPath(each).parent) == folder and each.endswith(".py")}
            own = {PurePosixPath(each).stem for each in modules} - {"__init__", "__main__"}
            assert set(re.findall(r"^::: (\S+)$", text, re.MULTILINE)) == {f"{name}.{module}" for module in own}


def test_llms_txt_is_a_title_a_summary_and_lists_of_links_to_every_page(site: Path) -> None:
    text = (site / "pages" / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# QuantStream\n\n> ")
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)(?:: .+)?$", text, re.MULTILINE)
    assert all((site / "pages" / link).exists() for link in listed)
    assert {path.relative_to(site / "pages").as_posix() for path in (site / "pages").rglob("*.md")} <= set(listed)
    other = [line for line in text.splitlines() if line and not re.match(r"# |> |## |- \[", line)]
    assert other == []


def test_the_topics_are_there_for_programs_and_for_people(site: Path) -> None:
    assert json.loads((site / "pages" / "asyncapi.json").read_text(encoding="utf-8")) == document()
    page = (site / "pages" / "topics.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == [topic.name for topic in TOPICS]
    assert "| `quote_volume` | text, `^[0-9]+\\.[0-9]{16}$` |" in page
    assert "Written by aggregate, corrections." in page


def test_what_the_site_is_built_with_is_locked() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["docs"]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "docs" / "requirements.txt").read_text(), re.MULTILINE))
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[requirement.name]), text


def test_a_wrong_call_is_answered_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        docs_site.main([])
    assert ended.value.code == 2
    assert "the following arguments are required: folder" in capsys.readouterr().err
