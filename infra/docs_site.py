"""The documentation site, laid out for MkDocs, and for machines: `python -m infra.docs_site build/docs`.

The pages lie where they lie in the repository, so that links mean the same in both. Made from the code: a reference page for each
package, the topics as AsyncAPI, and `llms.txt` (llmstxt.org), which lists every page's Markdown.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantstream.messages.asyncapi import document

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {
    "Guide": ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"),
    "Models": ("docs/MODELS.md", "docs/FEATURES.md", "expectations/README.md", "mlruns/README.md"),
    "Operations": ("infra/RUNBOOK.md", "infra/SCALING.md", "infra/k8s/README.md", "docs/SECURITY.md"),
    "Simulated exchange": ("streaming/exchange/README.md",),
    "Measurements": ("bench/README.md", "bench/RESULTS.md", "docs/MUTANTS.md"),
    "Decisions": ("docs/decisions/README.md", "docs/decisions/2*.md"),
}
ASSETS = ("LICENSE", "docs/*.png", "bench/*.svg")
PACKAGES = ("quantstream", "streaming", "ml", "dashboard", "infra")  # with reference pages
TOPICS_PAGE, ASYNCAPI, LLMS = "topics.md", "asyncapi.json", "llms.txt"


@dataclass(frozen=True)
class Page:
    """A page: its path in the site, its title, its first sentence, and its Markdown."""

    path: str
    title: str
    summary: str
    text: str

    @classmethod
    def of(cls, path: str, text: str) -> Page:
        """Return a page of Markdown that begins with a heading."""
        title, _, rest = text.partition("\n")
        prose = next((part for part in rest.strip().split("\n\n") if part[:1] not in tuple("#|-`!>*")), "")
        sentence = " ".join(prose.split()).partition(". ")[0]
        return cls(path, title.removeprefix("# "), sentence.rstrip(".:"), text)


def sections(root: Path = ROOT) -> dict[str, list[Page]]:
    """Return the pages of each section, those made from the code last."""
    found = {
        name: [_read(root, path) for pattern in patterns for path in sorted(root.glob(pattern))]
        for name, patterns in SECTIONS.items()
    }
    return {**found, "Topics": [topics_page(document())], "Reference": list(reference(root))}


def _read(root: Path, path: Path) -> Page:
    return Page.of(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def reference(root: Path = ROOT) -> Iterator[Page]:
    """Yield a page for each package: what its docstring says, then its modules by mkdocstrings."""
    for package in PACKAGES:
        for init in sorted((root / package).rglob("__init__.py")):
            folder = init.parent
            name = ".".join(folder.relative_to(root).parts)
            about = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
            modules = [path for path in sorted(folder.glob("*.py")) if path.stem not in ("__init__", "__main__")]
            entries = "".join(f"\n::: {name}.{path.stem}\n" for path in modules)
            yield Page.of(f"reference/{name}.md", f"# {name}\n{about}\n{entries}")


def topics_page(described: Mapping[str, Any]) -> Page:
    """Return the topics for people: who writes and reads each, and the fields of its values."""
    lines = [
        "# Topics",
        f"Every Kafka topic, its key, who writes and reads it, and what its values hold. For programs: [{ASYNCAPI}]({ASYNCAPI})",
        "(AsyncAPI 3, JSON Schema draft 7), made from the types that are encoded.",
    ]
    for name, channel in described["channels"].items():
        kafka = channel["bindings"]["kafka"]
        config = ", ".join(f"`{key}` {_plain(value)}" for key, value in kafka["topicConfiguration"].items())
        lines += ["", f"## {name}", f"{kafka['partitions']} partitions by default; {config}."]
        for verb, action in (("Written", "send"), ("Read", "receive")):
            who = _who(described["operations"], name, action)
            lines += ["", f"{verb} by {', '.join(who)}."] if who else []
        for message in channel["messages"].values():
            lines += ["", *_fields(described, message)]
    return Page.of(TOPICS_PAGE, "\n".join(lines) + "\n")


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _who(operations: Mapping[str, Any], topic: str, action: str) -> list[str]:
    wanted = (action, f"#/channels/{topic}")
    return [
        name.partition("_")[0]
        for name, each in operations.items()
        if (each["action"], each["channel"]["$ref"]) == wanted
    ]


def _fields(described: Mapping[str, Any], message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one kind of value."""
    schema = described["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
    key = message["bindings"]["kafka"]["key"]["description"]
    yield from (
        f"### {message['name']}",
        schema["description"],
        "",
        f"Key: {key}.",
        "",
        "| field | type |",
        "| --- | --- |",
    )
    for name, each in schema["properties"].items():
        yield f"| `{name}` | {_type(each)} |"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "pattern" in schema:
        return f"text, `{schema['pattern']}`".replace("|", "\\|")
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def llms_text(pages: Mapping[str, Sequence[Page]]) -> str:
    """Return the list of pages for machines."""
    home = pages["Guide"][0]
    lines = [f"# {home.title}", "", f"> {home.summary}", ""]
    for name, some in pages.items():
        lines += [f"## {name}", ""]
        lines += [f"- [{page.title}]({page.path})" + (f": {page.summary}" if page.summary else "") for page in some]
        if name == "Topics":
            lines.append(f"- [AsyncAPI 3 document]({ASYNCAPI}): every topic, its messages and their JSON Schema")
        lines.append("")
    return "\n".join(lines)


def navigation(pages: Mapping[str, Sequence[Page]]) -> list[dict[str, Any]]:
    """Return MkDocs' `nav`."""
    return [{name: [{page.title: page.path} for page in some]} for name, some in pages.items()]


def build(target: Path, root: Path = ROOT) -> None:
    """Write pages, assets and MkDocs' configuration into a folder, in place of what it held."""
    pages, folder = sections(root), target / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    for page in (page for some in pages.values() for page in some):
        _write(folder / page.path, page.text)
    for path in (path for pattern in ASSETS for path in root.glob(pattern)):
        _write(folder / path.relative_to(root), path.read_bytes())
    _write(folder / ASYNCAPI, json.dumps(document(), indent=1, ensure_ascii=False))
    _write(folder / LLMS, llms_text(pages))
    config = {
        "INHERIT": str(root / "mkdocs.yml"),
        "docs_dir": "pages",
        "site_dir": "site",
        "plugins": {"mkdocstrings": {"handlers": {"python": {"paths": [str(root)]}}}},
        "nav": navigation(pages),
    }
    _write(target / "mkdocs.yml", json.dumps(config, indent=1))  # JSON is YAML


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def main(arguments: Iterable[str]) -> int:
    """Lay the site out in the folder that is named."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.docs_site", description="Lay the documentation out for MkDocs."
    )
    parser.add_argument("folder", type=Path, help="where pages and configuration go, e.g. build/docs")
    build(parser.parse_args(list(arguments)).folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
