"""What the documentation is held against: the repository's files and the names in its modules, read without importing any."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("quantstream", "streaming", "ml", "dashboard", "dags", "infra", "bench")
DOTTED = re.compile(rf"`((?:{'|'.join((*PACKAGES, 'tests'))})(?:\.[A-Za-z_]\w*)+)`")
FILE = re.compile(r"(?<![\w./*<{$-])((?:[\w-]+/)*[\w.-]+\.(?:py|sh|toml|bats))(?![\w/])")
FOLDER = re.compile(rf"`((?:{'|'.join((*PACKAGES, 'tests', 'docs'))})(?:/[\w-]+)*)/`")


@cache
def files() -> frozenset[str]:
    """Every file that is or will be in the repository, as a path from its root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


@cache
def folders() -> frozenset[str]:
    """Every folder with a file in it."""
    return frozenset(str(folder) for name in files() for folder in PurePosixPath(name).parents)


def pages() -> list[str]:
    """The Markdown files, as paths from the root."""
    return sorted(name for name in files() if name.endswith(".md"))


def rooms() -> Iterator[tuple[str, str]]:
    """Yield each package's folder and the first line of its docstring, in the order of the map."""
    found = [str(PurePosixPath(name).parent) for name in files() if PurePosixPath(name).name == "__init__.py"]
    own = [folder for folder in found if folder.split("/")[0] in PACKAGES]
    for folder in sorted(own, key=lambda folder: (PACKAGES.index(folder.split("/")[0]), folder)):
        yield folder, (ast.get_docstring(parsed(f"{folder}/__init__.py")) or "").partition("\n")[0]


@cache
def parsed(name: str) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def is_there(dotted: str) -> bool:
    """Tell whether `package.module.Class.method` names something that the module itself defines, or a module or package."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count])
        module = next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in files()), None)
        if module is not None:
            return _defines(parsed(module).body, parts[count:])
    return dotted.replace(".", "/") in folders()


def _defines(body: list[ast.stmt], names: list[str]) -> bool:
    if not names:
        return True
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == names[0]:
            return _defines(node.body, names[1:])
        if len(names) == 1 and names[0] in _assigned(node):
            return True
    return False


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
