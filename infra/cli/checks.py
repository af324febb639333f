"""What can be known to be wrong before anything starts: symbols that the exchange lacks, an exchange out of reach, recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.time import LATEST, MINUTE
from quantstream.settings import Settings

TIMEOUT = 10.0  # seconds for the exchange's answer
WHOLE = 64 << 20  # bytes of recordings that are read to their end before the start; larger ones are only begun
FIVE_MINUTES = 5 * MINUTE  # of the candles that models judge
UNKNOWN_SYMBOLS = (-1100, -1121, -1122, -4108)  # of Binance; github.com/binance/binance-spot-api-docs, errors.md
TRADING, UNLISTED = "TRADING", ""
SPOT = "/api/v3"
AT_ONCE = 100  # symbols in one address: 3,000 of the 8,190 characters that servers take
NAMED = 20  # symbols that are named one by one

Get = Callable[[str], tuple[int, bytes]]


def check_exchange(settings: Settings, get: Get | None = None, seen: Collection[str] = ()) -> list[str]:
    """Make sure that the real exchange answers and trades every symbol; return those that it does not trade any more.

    `seen` are symbols that were followed before: one of them may be delisted, ingest sets it aside and says so.
    Raises: Misconfigured.
    """
    listed = _Listed(settings, get or _get)
    statuses = listed.statuses()
    wrong = [symbol for symbol in settings.symbols if statuses.get(symbol, UNLISTED) != TRADING]
    refused = [symbol for symbol in wrong if symbol not in seen]
    if refused:
        names = ", ".join(
            symbol + (f" ({statuses[symbol]})" if symbol in statuses else "") for symbol in refused[:NAMED]
        ) + (f" and {len(refused) - NAMED} more" if len(refused) > NAMED else "")
        raise Misconfigured(f"the exchange at {settings.endpoints.rest} does not trade {names}; check --symbols")
    return wrong


class _Listed:
    """What the exchange says of symbols, so many in a request as its address has room for."""

    def __init__(self, settings: Settings, get: Get) -> None:
        self._settings, self._get = settings, get
        self._url = settings.endpoints.rest.rstrip("/") + settings.endpoints.api + "/exchangeInfo"

    def statuses(self) -> dict[str, str]:
        """Return the status of each symbol that is listed.

        Raises: Misconfigured.
        """
        symbols, found = self._settings.symbols, dict[str, str]()
        if self._settings.endpoints.api != SPOT:  # futures: all or none
            return self._asked(self._url, symbols) or {}
        for start in range(0, len(symbols), AT_ONCE):
            part = symbols[start : start + AT_ONCE]
            names = quote(json.dumps(list(part), separators=(",", ":")))
            answer = self._asked(f"{self._url}?symbols={names}", part)
            if answer is None:  # one of them is unknown, and the exchange does not say which
                for symbol in part:
                    found |= self._asked(f"{self._url}?symbol={quote(symbol)}", [symbol]) or {}
            else:
                found |= answer
        return found

    def _asked(self, url: str, symbols: Sequence[str]) -> dict[str, str] | None:
        """Return what one answer says of the symbols, None when it knows one of them not."""
        rest = self._settings.endpoints.rest
        status, body = self._get(url)
        if status != 200:
            if _code(body) in UNKNOWN_SYMBOLS:
                return None
            raise Misconfigured(
                f"the exchange at {rest} refused with HTTP {status}; try later, or use --exchange simulated"
            )
        try:
            rows = json.loads(body)["symbols"]
            found = {str(row["symbol"]): str(row["status"]) for row in rows}
        except (ValueError, LookupError, TypeError, RecursionError):
            raise Misconfigured(
                f"what answers at {rest} is not the exchange: it does not say which symbols it trades; "
                "see QUANTSTREAM_ENDPOINTS__REST"
            ) from None
        wanted = set(symbols)
        return {symbol: status for symbol, status in found.items() if symbol in wanted}


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
    from streaming.recordings.readers import NoTrades, read_trades

    read_all = sum(file.stat().st_size for file in files if file.is_file()) <= WHOLE
    symbols: dict[str, None] = {}
    for file in files:
        try:
            symbols |= _symbols((trade.symbol for trade in read_trades(file)), read_all)
        except NoTrades:
            continue  # a quiet day: the others may do
        except BadRecord as error:
            raise Misconfigured(str(error)) from None
    if not symbols:
        raise Misconfigured(f"{', '.join(map(str, files))} holds no trade; name another recording")
    return tuple(symbols)


def recorded_candles(files: Sequence[Path]) -> int | None:
    """Return how many candles of 5 minutes recordings reach over, None when they are too large to be read before the start.

    Raises: Misconfigured when they cannot be read.
    """
    from streaming.recordings.readers import read_all

    if sum(file.stat().st_size for file in files if file.is_file()) > WHOLE:
        return None
    first, last = LATEST, 0
    try:
        for trade in read_all(files):
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
        held_files = json.loads((folder / "exchange" / "clock.json").read_text())["market"].get("files", "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # nothing was played here yet; a damaged file the exchange itself will name
    files = None if recordings is None else ",".join(f"{path.name}:{path.stat().st_size}" for path in recordings)
    if held_files != files:
        names = ", ".join(part.rpartition(":")[0] for part in str(held_files).split(","))
        held = f"the recording of {names}" if held_files else "a synthetic market"
        raise Misconfigured(
            f"{folder} holds {held}; keep another market apart with --state DIR, or remove this one with quantstream reset"
        )
