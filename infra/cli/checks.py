"""Checks before anything starts: symbols that the exchange lacks, an exchange out of reach, recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantstream.binance.endpoint_weights import SPOT_API
from quantstream.binance.protocols import UnknownSymbol
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import BadRecord, Misconfigured, Unavailable
from quantstream.core.time import LATEST, SCORED_LENGTH
from quantstream.settings import Settings

TRIES = 2  # a person waits
WHOLE = 64 << 20  # bytes of recordings that are read to their end before the start; larger ones are only begun
TRADING, UNLISTED = "TRADING", ""
AT_ONCE = 100  # symbols in one address: 3,000 of the 8,190 characters that servers take
NAMED = 20  # symbols that are named one by one

Get = Callable[[str, Mapping[str, str]], Any]


def check_exchange(settings: Settings, get: Get | None = None, seen: Collection[str] = ()) -> list[str]:
    """Make sure that the real exchange answers and trades every symbol; return those that it does not trade any more.

    `seen` are symbols that were followed before: one of them may be delisted, ingest sets it aside and says so.
    Raises: Misconfigured.
    """
    base = settings.endpoints.rest + settings.endpoints.api
    statuses = _statuses(settings, get or BlockingRest(base, tries=TRIES).get)
    wrong = [symbol for symbol in settings.symbols if statuses.get(symbol, UNLISTED) != TRADING]
    refused = [symbol for symbol in wrong if symbol not in seen]
    if refused:
        names = ", ".join(
            symbol + (f" ({statuses[symbol]})" if symbol in statuses else "") for symbol in refused[:NAMED]
        ) + (f" and {len(refused) - NAMED} more" if len(refused) > NAMED else "")
        raise Misconfigured(f"the exchange at {settings.endpoints.rest} does not trade {names}; check --symbols")
    return wrong


def _statuses(settings: Settings, get: Get) -> dict[str, str]:
    """Return the status of each symbol that is listed, asking for so many at once as an address has room for.

    Raises: Misconfigured.
    """
    symbols, found, rest = settings.symbols, dict[str, str](), settings.endpoints.rest
    if settings.endpoints.api != SPOT_API:  # futures: all or none
        return _listed(rest, get, {}, symbols) or {}
    for start in range(0, len(symbols), AT_ONCE):
        part = symbols[start : start + AT_ONCE]
        answer = _listed(rest, get, {"symbols": json.dumps(list(part), separators=(",", ":"))}, part)
        if answer is None:  # one of them is unknown, and the exchange does not say which
            for symbol in part:
                found |= _listed(rest, get, {"symbol": symbol}, [symbol]) or {}
        else:
            found |= answer
    return found


def _listed(rest: str, get: Get, query: Mapping[str, str], symbols: Collection[str]) -> dict[str, str] | None:
    """Return what one answer says of the symbols, None when it knows one of them not."""
    try:
        answer = get("/exchangeInfo", query)
    except UnknownSymbol:
        return None
    except (Misconfigured, Unavailable) as error:
        raise Misconfigured(f"{error}; check the network, or use --exchange simulated") from None
    try:
        statuses = {str(row["symbol"]): str(row["status"]) for row in answer["symbols"]}
    except (LookupError, TypeError):
        raise Misconfigured(
            f"what answers at {rest} is not the exchange: it does not say which symbols it trades; "
            "see QUANTSTREAM_ENDPOINTS__REST"
        ) from None
    wanted = set(symbols)
    return {symbol: status for symbol, status in statuses.items() if symbol in wanted}


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
    return max(0, last // SCORED_LENGTH - first // SCORED_LENGTH)


def _symbols(names: Iterable[str], read_all: bool) -> dict[str, None]:
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if not read_all:
            break
    return found


def check_same_market(folder: Path, recordings: Sequence[Path] | None, kind: str = "spot") -> None:
    """Make sure that a state folder does not hold another market: their trades would mix in one log.

    `recordings` is empty for the synthetic market, None for the real one; `kind` is spot or futures.

    Raises: Misconfigured.
    """
    try:
        kept = json.loads((folder / "exchange" / "clock.json").read_text())["market"]
        held_files = kept.get("files", "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # nothing was played here yet; a damaged file the exchange itself will name
    files = None if recordings is None else ",".join(f"{path.name}:{path.stat().st_size}" for path in recordings)
    held_kind = kept.get("market", "spot")
    if held_files != files or held_kind != kind:
        names = ", ".join(part.rpartition(":")[0] for part in str(held_files).split(","))
        held = f"the recording of {names}" if held_files else "a synthetic market"
        held += f" of {held_kind}" if held_kind != kind else ""
        raise Misconfigured(
            f"{folder} holds {held}; keep another market apart with --state DIR, or remove this one with quantstream reset"
        )
