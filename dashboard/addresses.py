"""Where processes say how they are when no embedded stack describes them: in a cluster, each pod behind a service's name."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from quantstream.core.errors import Misconfigured

READYZ = "/readyz"


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses behind a name, in order; none when the name is not known now."""
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(address[4][0]) for address in found})


def parse_stages(text: str) -> dict[str, str]:
    """Return the address of each process of a setting `NAME=http://HOST:PORT[/PATH],…`; without a path it is asked `/readyz`.

    Raises: Misconfigured.
    """
    addresses = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, url = part.partition("=")
        split = urlsplit(url)
        if not name or split.scheme != "http" or not split.hostname:
            raise Misconfigured(f"QUANTSTREAM_STAGES: {part!r} is not NAME=http://HOST:PORT")
        addresses[name] = url if split.path.strip("/") else url.rstrip("/") + READYZ
    return addresses


def pod_addresses(
    stages: dict[str, str], resolve: Callable[[str, int], Sequence[str]] = resolve
) -> dict[str, str | None]:
    """Return an address for each pod of each process: `score`, `score/2`, …; a name that is unknown now keeps its own."""
    found: dict[str, str | None] = {}
    for name, url in stages.items():
        split = urlsplit(url)
        port = split.port or 80
        hosts = resolve(str(split.hostname), port) or [str(split.hostname)]
        for number, host in enumerate(hosts, 1):
            found[name if number == 1 else f"{name}/{number}"] = f"http://{host}:{port}{split.path}"
    return found
