"""What the exchange's refusals mean: to wait, to ask otherwise, or to correct what was asked.

Source: github.com/binance/binance-spot-api-docs, rest-api.md ("HTTP Return Codes") and errors.md.
"""

from __future__ import annotations

import msgspec

from quantstream.binance.protocols import NotOffered, UnknownSymbol
from quantstream.core.errors import Misconfigured

UNKNOWN = (-1121, -1122, -4108)  # no such symbol; not the status wanted; settled or delisted
REFUSED_FOR_NOW = (418, 429)  # banned; asked too much
NOT_OFFERED = (401, 403, 404, 451)  # the market-data-only hosts, hosts that ask for a key, and countries shut out


class _Refusal(msgspec.Struct):
    code: int = 0
    msg: str = ""


def raise_for_good(base: str, path: str, symbol: str, status: int, body: bytes) -> None:
    """Raise what asking once more does not fix; return when it may.

    Raises: UnknownSymbol, Misconfigured, NotOffered.
    """
    code, text = reason_of(body)
    if symbol and code in UNKNOWN:
        raise UnknownSymbol(
            f"the exchange at {base} knows no symbol {symbol} ({code}); its /exchangeInfo names those it has"
        )
    if status == 400:
        kind = UnknownSymbol if symbol else Misconfigured
        raise kind(f"the exchange at {base} refused {path}{symbol and ' for '}{symbol}: {text}")
    if status in NOT_OFFERED and path == "/historicalTrades":
        raise NotOffered(f"the exchange at {base} gives out no single trades (HTTP {status})")
    if status in NOT_OFFERED:
        raise NotOffered(
            f"the exchange at {base} refuses {path} ({status} {text}); if it is not served where you are, "
            "set QUANTSTREAM_ENDPOINTS__REST to another of its hosts"
        )


def reason_of(body: bytes) -> tuple[int, str]:
    """Return the exchange's own code and text, 0 and what was answered where it says none."""
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        refusal = _Refusal()
    return refusal.code, refusal.msg or body[:200].decode(errors="replace")


def retry_after(header: str) -> float:
    """Return the seconds of a `Retry-After`, 0 without one."""
    return float(header) if header.isdecimal() else 0.0
