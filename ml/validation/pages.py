"""Data docs for people: what was asked of each symbol's rows, what failed on which day, and the library's own pages of that.

Pages are named by table, symbol and day, the newest run's only, under `data_docs` on the shelf. Nothing in them comes from the
internet: the library's page is taken without its links to style sheets and scripts elsewhere, and styled here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from ml.validation import engine
from ml.validation.shelf import Shelf

if TYPE_CHECKING:
    from ml.validation.report import Report

DOCS, REPORTS, SUFFIX = "data_docs", "validation", ".html"
INDEX = f"{DOCS}/index{SUFFIX}"
FRAMES = ("rows", "days", "columns")  # that a suite looks at
FOREIGN = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<nav class=\"navbar navbar-expand.*?</nav>\s*</div>\s*</nav>"
    r"|<style\b.*?</style>|<footer\b.*?</footer>",
    re.DOTALL,
)
MAIN = re.compile(r'<div class="container-fluid pt-4.*(?=</body>)', re.DOTALL)
CALLS = re.compile(  # to elsewhere, and to pages of the library's that are not written
    r"<a\s[^>]*href=[\"'](?:https?://|[^\"'#]*\.html)[^>]*>(.*?)</a>", re.DOTALL
)
HANDLERS = re.compile(r'\son\w+="[^"]*"')


def folder_of(table: str, symbol: str) -> str:
    """Return where on the shelf the pages of a symbol's table are."""
    return f"{DOCS}/{table}/{symbol}"


def report_path(table: str, symbol: str) -> str:
    """Return where on the shelf the newest report of a symbol's table is, as JSON."""
    return f"{REPORTS}/{table}/{symbol}.json"


def write(shelf: Shelf, report: Report, results: Mapping[str, Any], keeps: bool = False) -> None:
    """Write the report and its pages: `index.html`, a page for each held day, the library's `results` of frames that failed.

    The library's pages of before stay if it `keeps` them: what they are of was not looked at anew. Raises: Unavailable.
    """
    folder, failed = folder_of(report.table, report.symbol), _failed(results)
    there = {PurePosixPath(name).stem: name for name in shelf.names(folder) if name.endswith(SUFFIX)}
    kept = {name for name in there if name in FRAMES} - failed.keys() if keeps else set()
    pages = {"index": _page("symbol", report=report, asked=_asked(report), frames=sorted({*failed, *kept}))}
    for day in report.held:
        pages[day] = _page("day", report=report, day=day, findings=[one for one in report.findings if day in one.days])
    for name, result in failed.items():
        of = f"{report.table} {report.symbol}: {name}"
        title = f"{of} that were read, checked {report.checked_at}"
        body = _at_home(engine.page_of(result, of, report.run, report.checked_at))
        pages[name] = _page("library", title=title, body=body)
    for name, text in pages.items():
        shelf.write(f"{folder}/{name}{SUFFIX}", text.encode())
    for name in there.keys() - pages.keys() - kept:
        shelf.remove(there[name])
    shelf.write(report_path(report.table, report.symbol), json.dumps(asdict(report), indent=2).encode() + b"\n")


def write_index(shelf: Shelf) -> None:
    """Write the page that lists every table and symbol by their newest reports. Raises: Unavailable."""
    reports = [json.loads(shelf.read(name) or b"{}") for name in shelf.names(REPORTS) if name.endswith(".json")]
    shelf.write(INDEX, _page("index", reports=reports).encode())


def _asked(report: Report) -> list[dict[str, Any]]:
    """Return every expectation of the suite in words, and on how many days it failed."""
    failed = {(one.expectation, one.column, one.severity): len(one.days) for one in report.findings}
    rows = []
    for one in engine.suite_of(report.table)["expectations"]:
        key = one["type"], engine.columns_of(one["kwargs"]), one["severity"]
        rows.append(
            {
                "name": one["type"],
                "meaning": one["meta"]["notes"]["content"][0],
                "days": failed.get(key, 0),
                "severity": key[2],
            }
        )
    return rows


def _failed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the library's results of frames that failed, by the frame's name: of the others there is nothing to see."""
    return {name: result for name, result in results.items() if not result.success}


def _at_home(page: str) -> str:
    """Return the body of the library's page without what it would fetch from elsewhere."""
    main = MAIN.search(FOREIGN.sub("", page))
    return HANDLERS.sub("", CALLS.sub(r"\1", main.group(0))) if main else ""


def _page(name: str, **values: Any) -> str:
    return _template(name).render(**values)


@cache
def _template(name: str) -> Template:
    pages = Environment(
        loader=PackageLoader("ml.validation", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(f"{name}.html.jinja")
