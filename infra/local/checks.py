"""What can be known to be wrong before anything starts: symbols that the exchange lacks, an exchange out of reach, recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

from quantstream.errors import BadRecord, Misconfigured
from quantstream.market import LATEST, MINUTE
from quantstream.settings import Settings

TIMEOUT = 10.0  # seconds for the exchange's answer
WHOLE = 64 << 20  # bytes of recordings that are read to their end before the start; larger ones are only begun
FIVE_MINUTES = 5 * MINUTE  # of the candles that models judge
UNKNOWN_SYMBOL = -1121  # Binance's error code; github.com/binance/binance-spot-api-docs, errors.md

Get = Callable[[str], tuple[int, bytes]]


def check_exchange(settings: Settings, get: Get | None = None) -> None:
    """Make sure that the real exchange answers and trades every symbol.

    Raises: Misconfigured.
    """
    base = settings.endpoints.rest.rstrip("/") + settings.endpoints.api
    names = json.dumps(list(settings.symbols), separators=(",", ":"))
    status, body = (get or _get)(f"{base}/exchangeInfo?symbols={quote(names)}")
    if status == 200:
        return
    if _code(body) != UNKNOWN_SYMBOL:
        raise Misconfigured(
            f"the exchange at {settings.endpoints.rest} refused with HTTP {status}; try later, or use --exchange simulated"
        )
    unknown = [
        symbol
        for symbol in settings.symbols
        if _code((get or _get)(f"{base}/exchangeInfo?symbol={quote(symbol)}")[1]) == UNKNOWN_SYMBOL
    ]
    raise Misconfigured(
        f"the exchange at {settings.endpoints.rest} does not trade {', '.join(unknown or settings.symbols)}; check --symbols"
    )


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
    except (URLError, OSError, ValueError) as error:
        host = url.split("/api/")[0]
        reason = getattr(error, "reason", error)
        raise Misconfigured(
            f"the exchange at {host} cannot be reached ({reason}); check the network, or use --exchange simulated"
        ) from None


def _code(body: bytes) -> int:
    try:
        return int(json.loads(body)["code"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return 0


def recorded_symbols(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the symbols of recordings, in the order in which they appear.

    Raises: Misconfigured when a file is missing, of no known shape, damaged or without a trade.
    """
    from streaming.recordings import read_trades

    read_all = sum(file.stat().st_size for file in files if file.is_file()) <= WHOLE
    symbols: dict[str, None] = {}
    for file in files:
        try:
            found = _symbols((trade.symbol for trade in read_trades(file)), read_all)
        except BadRecord as error:
            raise Misconfigured(str(error)) from None
        if not found:
            raise Misconfigured(f"{file} holds no trade; name another recording")
        symbols |= found
    return tuple(symbols)


def recorded_candles(files: Sequence[Path]) -> int | None:
    """Return how many candles of 5 minutes recordings reach over, None when they are too large to be read before the start.

    Raises: Misconfigured when they cannot be read.
    """
    from streaming.recordings import read_trades

    if sum(file.stat().st_size for file in files if file.is_file()) > WHOLE:
        return None
    first, last = LATEST, 0
    try:
        for file in files:
            for trade in read_trades(file):
                first, last = min(first, trade.traded_at), max(last, trade.traded_at)
    except BadRecord as error:
        raise Misconfigured(str(error)) from None
    return max(0, last // FIVE_MINUTES - first // FIVE_MINUTES)


def _symbols(names: Iterable[str], read_all: bool) -> dict[str, None]:
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if not read_all:
            break
    return found


def check_same_market(folder: Path, recordings: Sequence[Path] | None) -> None:
    """Make sure that a state folder does not hold another market: their trades would mix in one log.

    `recordings` is empty for the synthetic market, None for the real one.

    Raises: Misconfigured.
    """
    try:
        kept = json.loads((folder / "exchange" / "clock.json").read_text())["market"]
    except (OSError, ValueError, KeyError):
        return  # nothing was played here yet; a damaged file the exchange itself will name
    files = None if recordings is None else ",".join(f"{path.name}:{path.stat().st_size}" for path in recordings)
    if kept.get("files", "") != files:
        names = ", ".join(part.rpartition(":")[0] for part in kept.get("files", "").split(","))
        held = f"the recording of {names}" if kept.get("files") else "a synthetic market"
        raise Misconfigured(
            f"{folder} holds {held}; keep another market apart with --state DIR, or remove this one with quantstream reset"
        )
