"""What a command of proof or remedy is about: symbols, and moments by the exchange's clock."""

from __future__ import annotations

from collections.abc import Callable

from quantstream.binance.klines import exchange_time
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings
from streaming.reconcile.verify import newest_close

REST_TRIES = 3  # a person waits: 2 s for an exchange that is not there


def rest_of(settings: Settings) -> BlockingRest:
    """Return the exchange's REST door."""
    return BlockingRest(settings.endpoints.rest + settings.endpoints.api, tries=REST_TRIES)


def chosen(settings: Settings, symbols: str | None) -> tuple[str, ...]:
    """Return the symbols of a command line, else those configured.

    Raises: Misconfigured.
    """
    return settings.symbols if symbols is None else load_settings(symbols=symbols).symbols


def exchange_clock(rest: BlockingRest, lake: Lake) -> Callable[[], int]:
    """Return the exchange's clock; while it does not answer, the end of the newest candle stands for it."""

    def now() -> int:
        try:
            return exchange_time(rest)
        except (Unavailable, Misconfigured):
            newest = newest_close(lake)
            if newest is None:
                raise Misconfigured(
                    "the exchange does not answer and the lake is empty; give the time as ISO 8601"
                ) from None
            return newest

    return now
