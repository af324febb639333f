"""Which port each part listens on: the named one, else the next free one, with a sentence for the person when it moved."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantstream.core.errors import Misconfigured

INTERNAL = range(20_000, 32_000)
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")  # the ports that Linux gives to outgoing connections
ROOM = 1_000
TRIES = 50


@dataclass(frozen=True)
class Choice:
    """A port, and what to tell the person when it is not the one they expect."""

    port: int
    note: str = ""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: a connection that is ending is no holder
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(avoid: Collection[int] = (), rng: random.Random | None = None) -> int:
    """Return a port for internal use that nothing listens on, at random so that two stacks seldom choose the same.

    Raises: Misconfigured when no free one is found.
    """
    rng = rng or random.SystemRandom()
    ports = internal_ports()
    for _ in range(TRIES):
        port = rng.choice(ports)
        if port not in avoid and is_free(port):
            return port
    raise Misconfigured(f"no free port found between {ports.start} and {ports.stop}; stop something that listens there")


def free_ports(count: int, avoid: Collection[int] = ()) -> list[int]:
    """Return that many different free ports.

    Raises: Misconfigured when not enough are found.
    """
    found: list[int] = []
    for _ in range(count):
        found.append(free_port([*avoid, *found]))
    return found


def internal_ports(outgoing: Path = OUTGOING) -> range:
    """Return the ports to choose internal ones from: none that an outgoing connection may take before we listen there."""
    try:
        low, high = map(int, outgoing.read_text().split())
    except (OSError, ValueError):
        return INTERNAL
    if low >= INTERNAL.stop or high < INTERNAL.start:
        return INTERNAL
    below, above = range(max(low - len(INTERNAL), 1_024), low), range(high + 1, 65_536)
    free = max(below, above, key=len)
    return free if len(free) >= ROOM else INTERNAL


def choose(name: str, wanted: int, is_named: bool, avoid: Collection[int] = ()) -> Choice:
    """Return the port for a user's page: the wanted one, or the next free one unless the person named it.

    Raises: Misconfigured when a named port is taken, or none is free nearby.
    """
    if not 0 < wanted < 65_536:
        raise Misconfigured(f"{wanted} is not a port for {name}; use one between 1 and 65535")
    if wanted not in avoid and is_free(wanted):
        return Choice(wanted)
    taken = f"port {wanted} for {name} is taken by {holder(wanted)}"
    if is_named:
        raise Misconfigured(f"{taken}; stop that or name another with --{name}-port")
    for port in range(wanted + 1, min(wanted + TRIES, 65_536)):
        if port not in avoid and is_free(port):
            return Choice(port, f"{taken}; using {port} (name another with --{name}-port)")
    raise Misconfigured(f"{taken} and so are the next {TRIES}; name a free one with --{name}-port")


def holder(port: int, find: Callable[[int], int | None] | None = None) -> str:
    """Name the process that listens on a port, as far as this user may know."""
    import psutil

    pid = (find or _listening_pid)(port)
    if pid is not None:
        with suppress(psutil.Error):
            return f"{psutil.Process(pid).name()} (pid {pid})"
    return "another process"


def _listening_pid(port: int) -> int | None:
    import psutil

    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                return int(connection.pid) if connection.pid else None
    return None
