"""A lake and a registry that can be away for a while."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote, unquote
from urllib.request import urlopen

from quantstream.core.errors import Unavailable

ADDRESS = "CHAOS_REGISTRY"  # in the stages' environment
HOLD = 5.0  # seconds that a request is left without an answer at most while the registry is away
TIMEOUT = 2.0  # seconds after which the stages give one up


class LakeFolder:
    """A lake whose folder is reached over a link: swapped at once for one that leads nowhere, as a store that is not mounted."""

    def __init__(self, link: Path) -> None:
        """Make the folder and the link to it."""
        self.link, self.there = link, link.with_name(f"{link.name}.there")
        self.nowhere = link.with_name(f"{link.name}.nowhere")
        self.there.mkdir(parents=True)
        self.nowhere.touch()  # a file: below it nothing can be made or opened
        self.come_back()

    def go_away(self) -> None:
        """Let nobody open it."""
        self._point(self.nowhere / "lake")

    def come_back(self) -> None:
        """Let it be as it was."""
        self._point(self.there)

    def _point(self, target: Path) -> None:
        new = self.link.with_name(f"{self.link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        os.replace(new, self.link)


class RegistryServer:
    """Says over HTTP which version is the champion, and at times says nothing."""

    def __init__(self, champions: Mapping[str, str]) -> None:
        """`champions` are versions by registered name."""
        answers = self.answers = threading.Event()
        answers.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not answers.wait(HOLD):
                    self.close_connection = True
                    return
                body = json.dumps(champions.get(unquote(self.path.strip("/")))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads that."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def go_away(self) -> None:
        """Leave requests without an answer."""
        self.answers.clear()

    def come_back(self) -> None:
        """Answer again."""
        self.answers.set()

    @contextmanager
    def serving(self) -> Iterator[RegistryServer]:
        """Serve from a thread."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.answers.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever gave up has gone."""


def champion(url: str, name: str) -> str | None:
    """Ask the registry, as a stage does.

    Raises: Unavailable.
    """
    try:
        with urlopen(f"{url}/{quote(name)}", timeout=TIMEOUT) as answer:
            version = json.loads(answer.read())
    except (URLError, OSError, ValueError) as error:
        raise Unavailable(f"the registry at {url} did not answer: {error}") from error
    return None if version is None else str(version)
