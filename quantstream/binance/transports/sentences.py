"""The two sentences for a socket that does not open."""

from __future__ import annotations

from quantstream.core.errors import Misconfigured, Unavailable

OPEN_TIMEOUT = 10.0  # seconds


def no_address(url: str) -> Misconfigured:
    """Say that the address is none."""
    return Misconfigured(f"{_base(url)!r} is not a WebSocket address; set QUANTSTREAM_ENDPOINTS__WS to ws:// or wss://")


def no_answer(url: str, error: Exception) -> Unavailable:
    """Say that nobody answers there, or not as an exchange does."""
    return Unavailable(f"the exchange does not answer at {_base(url)}: {error or type(error).__name__}")


def _base(url: str) -> str:
    return url.partition("/stream?")[0]
