"""The data docs as the page shows them: read from the state folder, with links that lead to each other within the page.

A browser cannot open files of the machine that the page runs on. So the body of a data doc is shown in the page itself, and what
it links to becomes another address of the same page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote

from ml.validation import pages
from quantstream.core.errors import Unavailable

INDEX = "index"
SUFFIX = ".html"
BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL)
LINK = re.compile(r'<a href="([^":#]+\.html)"')


class DataDocs:
    """The pages under a state folder, by name: `index`, `candles/BTCUSDT/index`, `candles/BTCUSDT/2026-01-31`."""

    def __init__(self, state: Path) -> None:
        self.folder = pages.docs_folder(state.absolute())

    def names(self) -> list[str]:
        """Return the names of all pages. Raises: Unavailable."""
        try:
            return sorted(
                str(path.relative_to(self.folder))[: -len(SUFFIX)] for path in self.folder.rglob(f"*{SUFFIX}")
            )
        except OSError as error:
            raise Unavailable(f"the data docs in {self.folder} cannot be listed: {error}") from error

    def body(self, name: str) -> str:
        """Return a page's body, its links turned to addresses of this page.

        Raises: Unavailable, in a sentence that says where the page should be, when it is not there.
        """
        if name not in self.names():  # no other file is opened, whatever the address asks for
            raise Unavailable(self._lacking(name))
        try:
            text = (self.folder / f"{name}{SUFFIX}").read_text(encoding="utf-8")
        except OSError as error:
            raise Unavailable(f"the data doc {name} cannot be read: {error}") from error
        found = BODY.search(text)
        return LINK.sub(lambda link: _address(name, link[1]), found[1]) if found else ""

    def _lacking(self, name: str) -> str:
        if (self.folder / f"{INDEX}{SUFFIX}").is_file():
            return (
                f"there is no data doc {name}: a page of a day is there while the newest check finds it held; the page index "
                "lists what there is, quantstream quarantine list --changes what ever was"
            )
        return (
            f"no data docs are in {self.folder}. Either nothing was validated yet (the pipeline candles_validate does it), or it "
            "was by processes whose state folder is another one, as on a cluster, where each task of Airflow has its own: there "
            "the log of the task says what failed, and the lake's table quarantine what is held"
        )


def _address(name: str, target: str) -> str:
    page = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target)))
    return f'<a href="data_docs?page={quote(page.removesuffix(SUFFIX))}" target="_self"'
