"""Which code made a model: the commit, what an image was built of, or the package's version."""

from __future__ import annotations

import re

import pytest

from ml.training import code_version


def test_in_a_repository_it_is_the_commit_and_in_an_image_what_it_was_built_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(code_version.BAKED, raising=False)
    assert re.fullmatch(
        r"commit [0-9a-f]{40}( with changes)?|quantstream .*|an unknown version of quantstream",
        code_version.code_version(),
    )
    monkeypatch.setenv(code_version.BAKED, "abc123")
    assert code_version.code_version() == "commit abc123"


def test_without_git_it_is_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(code_version.BAKED, code_version.UNKNOWN)
    monkeypatch.setenv("PATH", "")
    assert code_version.code_version() in ("an unknown version of quantstream", "quantstream 0.1.0")
