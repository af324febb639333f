"""The data docs as the page shows them: read from where validation puts them, with links that lead to each other within the page.

A browser cannot open files of the machine that the page runs on. So the body of a data doc is shown in the page itself, and what
it links to becomes another address of the same page.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, unquote

from ml.validation import pages
from ml.validation.pages import SUFFIX
from ml.validation.shelf import Shelf
from quantstream.core.errors import Unavailable

INDEX = "index"
BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL)
LINK = re.compile(r'<a href="([^":#]+\.html)"')


class DataDocs:
    """The pages on a shelf, by name: `index`, `candles/BTCUSDT/index`, `candles/BTCUSDT/2026-01-31`."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def names(self) -> list[str]:
        """Return the names of all pages. Raises: Unavailable."""
        begin = len(f"{pages.DOCS}/")
        return [one[begin : -len(SUFFIX)] for one in self.shelf.names(pages.DOCS) if one.endswith(SUFFIX)]

    def where(self, name: str) -> str:
        """Return where a page lies, for people."""
        return self.shelf.where(_path(name))

    def body(self, name: str) -> str:
        """Return a page's body, its links turned to addresses of this page.

        Raises: Unavailable, in a sentence that says where the page should be, when it is not there.
        """
        names = self.names()
        found = (
            self.shelf.read(_path(name)) if name in names else None
        )  # no other file is opened, whatever is asked for
        if found is None:
            raise Unavailable(self._lacking(name, INDEX in names))
        text = BODY.search(found.decode())
        return LINK.sub(lambda link: _address(name, link[1]), text[1]) if text else ""

    def _lacking(self, name: str, has_index: bool) -> str:
        if has_index:
            return (
                f"there is no data doc {name}: a page of a day is there while the newest check finds it held; the page index "
                "lists what there is, quantstream quarantine list --changes what ever was"
            )
        return (
            f"no data docs are in {self.shelf.where(pages.DOCS)}. Either nothing was validated yet (the pipeline candles_validate"
            " does it), or it was by processes whose lake is a folder and whose state folder is another one: there the log "
            "of the task says what failed, and the lake's table quarantine what is held"
        )


def _path(name: str) -> str:
    return f"{pages.DOCS}/{name}{SUFFIX}"


def _address(name: str, target: str) -> str:
    page = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target)))
    return f'<a href="data_docs?page={quote(page.removesuffix(SUFFIX))}" target="_self"'
