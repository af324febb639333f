"""What a local address says of itself, or that it says nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infra.embedded.readiness import ask


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Serve one connection with some bytes, and keep it open until the test is done."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                done.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        done.set()
        thread.join(30)


def test_a_refusal_is_returned_with_its_body() -> None:
    with answering(b"HTTP/1.1 503 Not Ready\r\nContent-Length: 7\r\n\r\nwaiting") as address:
        assert ask(address) == (503, b"waiting")


def test_a_refusal_that_breaks_off_is_no_answer() -> None:
    with answering(b"HTTP/1.1 503 Not Ready\r\nContent-Length: 7\r\n\r\nwai") as address:
        assert ask(address, 0.3) is None
