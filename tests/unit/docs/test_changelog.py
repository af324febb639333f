"""The changelog is in the form of Keep a Changelog, newest first, and knows the version; a commit's hook is what CI calls."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import yaml

from tests.unit.docs.tree import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_versions_are_newest_first_and_end_with_the_first() -> None:
    titles = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", title) for title in titles[1:]]
    assert all(dated)
    found = [(tuple(map(int, each.groups()[:3])), date.fromisoformat(each[4])) for each in dated if each]
    assert found == sorted(found, reverse=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert tuple(map(int, version.split("."))) == found[0][0]


def test_changes_are_lists_under_the_kinds_in_their_order() -> None:
    for release in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]
        for part in re.split(r"^### .+\n", release, flags=re.MULTILINE)[1:]:
            assert all(line.startswith(("- ", "  ")) for line in part.splitlines() if line)


def test_before_a_commit_the_same_is_asked_as_by_ci() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [(hook["entry"], hook["pass_filenames"], hook["always_run"]) for hook in hooks] == [
        ("make check", False, True)
    ]
