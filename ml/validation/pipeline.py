"""What the nightly pipeline, training and the command run: the gate over the symbols and the lake of the settings."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

from pydantic import SecretStr

from ml.validation import pages
from ml.validation.gate import Gate
from ml.validation.report import Report
from ml.validation.shelf import Shelf
from ml.validation.takeover import take_over
from quantstream import engine
from quantstream.binance.klines import exchange_time
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import Unavailable
from quantstream.core.time import utc
from quantstream.engine import Done
from quantstream.lake.store import Lake
from quantstream.settings import Endpoints, Kafka, Settings

log = logging.getLogger(__name__)
FRESH = timedelta(hours=1)  # a training right after the pipeline's gate does not ask again
RECENT = timedelta(days=7)  # of trades and scores: a symbol's years of trades are checked as they come, not every night
CLOCK_TRIES = 2


def gate_of(
    settings: Settings,
    run: str = "",
    rest: BlockingRest | None = None,
    at: datetime | None = None,
    anew: bool = False,
) -> Gate:
    """Return a gate over the lake; files of before there was a table of the quarantine are taken over first.

    `at` is our time [now]. `anew` reads all months again, also those that were checked and have not changed since.

    Raises: Misconfigured, Unavailable.
    """
    lake, at = Lake(settings.lake_url), at or datetime.now(UTC)
    take_over(lake, settings.state, at)
    skips = settings.endpoints.api != Endpoints().api  # futures
    return Gate(lake, settings.symbols, settings.state.absolute(), _clock(settings, rest), at, run, skips, anew=anew)


def validate(gate: Gate, symbols: Sequence[str], tables: Sequence[str]) -> list[Report]:
    """Check some symbols' rows of some tables: candles and features where something changed, trades and scores of the last days.

    Raises: Misconfigured, Unavailable.
    """
    reports = []
    for table in tables:
        start = _midnight(utc(gate.now()) - RECENT) if table in ("trades", "scores") else None
        for symbol in symbols:
            if gate.lake.has("candles" if table == "features" else table):
                reports.append(gate.check(table, symbol, start))
    return reports


def validate_each(
    settings: Settings, symbols: Sequence[str], tables: Sequence[str], run: str = "", anew: bool = False
) -> Iterator[Done[str, list[Report]]]:
    """Check many symbols where QUANTSTREAM_DASK says, and yield each with its reports or what it ended in, as they are ready.

    Workers of a cluster reach the lake, and where that is a folder the state folder under the same path, for reports and pages.
    Raises: Misconfigured or Unavailable for a cluster that is none.
    """
    place = settings.model_copy(update={"kafka": Kafka(), "studies": SecretStr("")})  # passwords stay here
    work = partial(_validated, _Order(place, tuple(tables), run, datetime.now(UTC), anew))
    yield from engine.spread(work, symbols, settings.dask)
    pages.write_index(_shelf(settings))


@dataclass(frozen=True)
class _Order:
    """What the symbols of one run have in common."""

    settings: Settings
    tables: tuple[str, ...]
    run: str
    at: datetime
    anew: bool


def _validated(order: _Order, symbol: str) -> list[Report]:
    return validate(_gate(order), [symbol], order.tables)


@lru_cache(maxsize=1)
def _gate(order: _Order) -> Gate:
    """Return one gate for all symbols that this process is asked of a run: it reads the market once."""
    return gate_of(order.settings, order.run, at=order.at, anew=order.anew)


def before_training(settings: Settings) -> None:
    """Check the candles of symbols whose newest check is not fresh: whoever starts a training by hand passes the gate, too.

    Raises: Misconfigured, Unavailable.
    """
    lake = Lake(settings.lake_url)
    take_over(lake, settings.state, datetime.now(UTC))
    stale = [symbol for symbol in settings.symbols if not _is_fresh(settings, symbol)]
    if stale and lake.has("candles"):
        for done in validate_each(settings, stale, ["candles"], "before training"):
            if done.error is not None:
                raise done.error


def _is_fresh(settings: Settings, symbol: str) -> bool:
    found = _shelf(settings).read(pages.report_path("candles", symbol))
    try:
        checked_at = datetime.fromisoformat(json.loads(found or b"{}")["checked_at"])
    except (ValueError, KeyError):
        return False
    return timedelta(0) <= datetime.now(UTC) - checked_at < FRESH


def _shelf(settings: Settings) -> Shelf:
    return Shelf.of(Lake(settings.lake_url), settings.state.absolute())


def _clock(settings: Settings, rest: BlockingRest | None) -> Callable[[], int | None]:
    """Return what tells the exchange's time in µs: its own clock, asked once where time passes there as it does here.

    A simulated market's day lasts less than an hour: it is asked each time, and None where it does not tell, as ours is behind.
    """
    rest = rest or BlockingRest(settings.endpoints.rest + settings.endpoints.api, tries=CLOCK_TRIES)

    def asked() -> int | None:
        try:
            return exchange_time(rest)
        except Unavailable as error:
            log.warning("the exchange does not tell its time, ours stands for it: %s", error)
            return None

    if settings.exchange == "simulated":
        return asked
    told = asked()
    ahead = told - _ours() if told is not None else 0
    return lambda: _ours() + ahead


def _ours() -> int:
    return time.time_ns() // 1000


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
