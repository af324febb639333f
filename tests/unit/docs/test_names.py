"""Pages, docstrings and comments name only files, folders and functions that there are: a move leaves no wrong signpost."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from tests.unit.docs.tree import DOTTED, FILE, FOLDER, PACKAGES, ROOT, files, folders, is_there, pages, parsed

ELSEWHERE = {
    "bench/NAME.py",  # any of them
    "kafka-topics.sh",  # Kafka's own
    "keda.sh",  # a name in Kubernetes
    "config/gitleaks.toml",  # another project's
}
MODULES = sorted(name for name in files() if name.endswith(".py") and name.split("/")[0] in (*PACKAGES, "tests"))


def wrong(text: str, page: str) -> list[str]:
    """Return what a page or module names that is not there."""
    base = PurePosixPath(page).parent
    named = [name for name in FILE.findall(text) if name not in ELSEWHERE and not _is_file(name, base)]
    named += [name for name in FOLDER.findall(text) if name not in folders()]
    return named + [name for name in DOTTED.findall(text) if not is_there(name) and not _is_file(name, base)]


def _is_file(name: str, base: PurePosixPath) -> bool:
    """Tell whether a file is meant: from the root, from the page's folder, or by the last parts of its path."""
    return name in files() or str(base / name) in files() or any(each.endswith(f"/{name}") for each in files())


def prose(name: str) -> Iterator[str]:
    """Yield the comments and docstrings of a module."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("page", pages())
def test_a_page_names_only_what_there_is(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert wrong(re.sub(r'^```python title="[^"]+"', "", text, flags=re.MULTILINE), page) == []  # what an example adds


def test_docstrings_and_comments_name_only_what_there_is() -> None:
    found = {name: lost for name in MODULES for text in prose(name) if (lost := wrong(text, name))}
    assert found == {}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("see `quantstream/core/trade.py` and trade_ids.py", []),
        ("see `quantstream/core/trades.py`, lost.py", ["quantstream/core/trades.py", "lost.py"]),
        ("in `streaming/ingest/` or `streaming/sockets/`", ["streaming/sockets"]),
        ("`ml.training.train.fit`, `ml.training.fit`, `quantstream.core`", ["ml.training.fit"]),
    ],
)
def test_what_is_not_there_is_found(text: str, lost: list[str]) -> None:
    assert wrong(text, "README.md") == lost
