"""`exchangeInfo` as values: every symbol that the exchange lists, with its status, steps and day of listing.

Source of every field: github.com/binance/binance-spot-api-docs, rest-api.md and filters.md; developers.binance.com, USDⓈ-M
futures, "Exchange Information".
"""

from __future__ import annotations

from typing import Any

from quantstream.binance.rest import BlockingRest
from quantstream.core.decimals import to_units
from quantstream.core.errors import BadRecord, DataRejected
from quantstream.core.instrument import Instrument
from quantstream.core.time import EARLIEST, LATEST, to_micros

STEPS = {"tick": ("PRICE_FILTER", "tickSize"), "lot": ("LOT_SIZE", "stepSize")}
LEAST = (("NOTIONAL", "minNotional"), ("MIN_NOTIONAL", "minNotional"), ("MIN_NOTIONAL", "notional"))


def fetch_instruments(rest: BlockingRest) -> tuple[int, list[Instrument]]:
    """Return the exchange's time (µs) and all that it lists then.

    Raises: Unavailable, Misconfigured, DataRejected for an answer that is no list of symbols.
    """
    answer = rest.get("/exchangeInfo")
    try:
        at, rows = to_micros(int(answer["serverTime"])), answer["symbols"]
        found = [parse_instrument(row) for row in rows]
    except (LookupError, TypeError, ValueError, OverflowError, BadRecord) as error:
        raise DataRejected(f"what {rest.address} lists cannot be read, nothing was noted: {error}") from error
    if not found or not EARLIEST <= at < LATEST:
        raise DataRejected(f"{rest.address} lists no symbol, or gives no time: nothing was noted")
    return at, found


def parse_instrument(row: Any) -> Instrument:
    """Return one row of `exchangeInfo`.

    Raises: BadRecord for one that does not say which symbol it is of, or how that stands: it would count as delisted.
    """
    if not isinstance(row, dict) or not all(
        isinstance(row.get(name), str) and row[name] for name in ("symbol", "status")
    ):
        raise BadRecord(f"{str(row)[:120]} names no symbol and status")
    filters = {one.get("filterType"): one for one in row.get("filters") or () if isinstance(one, dict)}
    least = [_units(filters, kind, name) for kind, name in LEAST]
    at = row.get("onboardDate")
    return Instrument(
        symbol=row["symbol"],
        status=row["status"],
        base=str(row.get("baseAsset", "")),
        quote=str(row.get("quoteAsset", "")),
        **{step: _units(filters, *where) for step, where in STEPS.items()},
        min_notional=max(least),
        listed_at=to_micros(at) if type(at) is int and EARLIEST <= to_micros(at) < LATEST else 0,
    )


def _units(filters: dict[Any, dict[str, Any]], kind: str, name: str) -> int:
    text = filters.get(kind, {}).get(name)
    return to_units(text) if isinstance(text, str) else 0
