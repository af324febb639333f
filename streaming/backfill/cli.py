"""`backfill` as a command: what it takes, and what it says. `quantstream backfill` and `python -m streaming backfill` are this.

Exit codes: 0 all that was asked for is in the lake, 3 some of it is not and is named, 2 misused or something was away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from quantstream import engine
from quantstream.binance.archive import BEGINNING, KINDS, MARKETS, ArchiveFile, Series, is_archived, market_of_api
from quantstream.binance.klines import exchange_time
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import utc
from quantstream.lake.store import Lake
from quantstream.settings import Endpoints, Settings
from quantstream.settings_loader import load_settings
from streaming.backfill.folder import folder_beside
from streaming.backfill.reports import SAID_EVERY, Order, SeriesReport
from streaming.backfill.run import Run

TEXT = "Bring years of the exchange's public archive into the lake: checked, and never twice; exit 0 only if all of it is there."
NOT_WHOLE = 3
MOST_CONNECTIONS = 32
CLOCK_TRIES = 2
OF_A_WORKER = 2  # connections: one file is fetched while another is imported
SHOWN = 20  # sentences of a kind about a series
SettingsOf = Callable[[Path | None], Settings]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in the one sentence that every other error is."""

    def error(self, message: str) -> NoReturn:
        raise Misconfigured(f"{message}; see {self.prog} --help")


def main(
    argv: Sequence[str],
    program: str = "python -m streaming",
    settings_of: SettingsOf = lambda state: load_settings(state=state),
    speaker: str = "backfill",
) -> int:
    """Run the command and return its exit code. `settings_of` gives the settings that go with a state folder."""
    try:
        given = _parser(program).parse_args(argv)
        settings = settings_of(given.state)
        rest = settings.endpoints.rest + settings.endpoints.api
        ahead = _ahead(rest)
        order = _order(given, settings, (datetime.now(UTC) + ahead).date())
        place = _Place(
            lake=settings.lake_url,
            archive=_archive(settings.endpoints, given.kind),
            rest=rest,
            history=(settings.endpoints.history_rest or settings.endpoints.rest) + settings.endpoints.api,
            intervals=settings.intervals,
            lateness=settings.lateness_ms * 1000,
            folder=folder_beside(settings.lake_url, settings.state),
            ahead=ahead,
        )
        reports = _spread(place, order, settings.dask) if settings.dask else _run(place, order)
    except QuantStreamError as error:
        sys.stderr.write(f"{speaker}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{speaker}: stopped; what was imported stays, and is not repeated by the next run\n")
        return 130
    sys.stdout.write("\n".join([json.dumps(_plain(reports))] if given.json else _lines(reports)) + "\n")
    return 0 if all(report.is_whole for report in reports) else NOT_WHOLE


@dataclass(frozen=True)
class _Place:
    """Where from and where to: what all series have in common, wherever they are imported."""

    lake: str
    archive: str
    rest: str
    history: str
    intervals: tuple[str, ...]
    lateness: int  # µs
    folder: Path
    ahead: timedelta  # of the exchange's clock to ours


def _run(place: _Place, order: Order) -> list[SeriesReport]:
    """Import series in this process, one after the other."""
    rests = BlockingRest(place.rest), BlockingRest(place.history)
    run = Run(
        *(Lake(place.lake), place.archive, rests[0], place.intervals, place.lateness, _say),
        *(lambda: datetime.now(UTC) + place.ahead, place.folder, rests[1]),
    )
    return asyncio.run(run.run(order))


def _spread(place: _Place, order: Order, dask: str) -> list[SeriesReport]:
    """Import series on a cluster, each by one worker, for its files follow one another; some connections of a worker's own."""
    given = replace(order, connections=min(order.connections, OF_A_WORKER))
    reports, said = dict[Series, SeriesReport](), time.monotonic()
    for series, report in engine.each(partial(_one, place, given), order.series, dask):
        reports[series] = report
        if time.monotonic() - said >= SAID_EVERY:
            _say(f"{series}: {len(reports):,} of {len(order.series):,} series are done")
            said = time.monotonic()
    return [reports[series] for series in order.series]


def _one(place: _Place, order: Order, series: Series) -> SeriesReport:
    return _run(place, replace(order, series=[series]))[0]


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"{program} backfill", description=TEXT, allow_abbrev=False)
    option = parser.add_argument
    option("--symbols", metavar="A,B", help="as the exchange writes them [default: the configured ones]")
    option("--from", dest="first", metavar="DAY", help="like 2024-01-01 [default: QUANTSTREAM_HISTORY_DAYS ago]")
    option("--to", dest="after", metavar="DAY", help="up to here, not included [default: now]")
    option("--kind", choices=KINDS, default="klines", help="of trades the candles are made here [default: klines]")
    option("--interval", default="5m", help="of the klines [default: 5m]")
    option("--market", choices=MARKETS, help="[default: that of QUANTSTREAM_ENDPOINTS__API]")
    option("--connections", type=int, default=8, metavar="N", help="at a time [default: 8]")
    option("--json", action="store_true", help="one JSON object instead of lines")
    option("--state", type=Path, metavar="DIR", help="state folder [default: .quantstream]")
    return parser


def _order(given: argparse.Namespace, settings: Settings, today: date) -> Order:
    """Return what was asked for. Raises: Misconfigured."""
    names = settings.symbols if given.symbols is None else [name.strip() for name in given.symbols.split(",")]
    market = market_of_api(settings.endpoints.api)
    if given.market not in (None, market):
        raise Misconfigured(
            f"--market {given.market}: a lake holds one market, and QUANTSTREAM_ENDPOINTS__API={settings.endpoints.api} is "
            f"{market}; set it and QUANTSTREAM_ENDPOINTS__REST, and name a lake of its own with QUANTSTREAM_LAKE"
        )
    if market == "futures/cm" and given.kind != "klines":
        raise Misconfigured(
            f"{given.kind} of {market} count contracts, of which no exact candle can be made; its klines can: --kind klines"
        )
    interval = given.interval if given.kind == "klines" else ""
    series = [Series(name, given.kind, interval, market) for name in dict.fromkeys(names)]
    first = today - timedelta(days=settings.history_days) if given.first is None else _day("--from", given.first)
    now = today + timedelta(days=1)
    after = now if given.after is None else _day("--to", given.after)
    if first >= after:
        raise Misconfigured(f"--from {first} does not lie before --to {after}; name an earlier first day")
    if first < BEGINNING:
        raise Misconfigured(f"--from {first}: nothing in the archive is older than {BEGINNING}")
    if after > now:
        raise Misconfigured(f"--to {after} is not over yet; the last day that is ended on {today - timedelta(days=1)}")
    if not 1 <= given.connections <= MOST_CONNECTIONS:
        raise Misconfigured(f"--connections {given.connections}: give 1 to {MOST_CONNECTIONS}")
    return Order(series, first, after, given.connections)


def _archive(endpoints: Endpoints, kind: str) -> str:
    """Return the address of the archive that holds what REST tells, empty when nobody named one. Raises: Misconfigured."""
    if endpoints.archive != Endpoints().archive or is_archived(endpoints.rest):
        return endpoints.archive
    unnamed = f"of what {endpoints.rest} tells no archive is known; QUANTSTREAM_ENDPOINTS__ARCHIVE may name one"
    if kind != "klines":
        raise Misconfigured(unnamed)
    _say(f"{unnamed}; REST is asked for all")
    return ""


def _ahead(rest: str) -> timedelta:
    """Return by how much the exchange's clock is ahead of ours, nothing when it does not answer: the archive may all the same."""
    try:
        return utc(exchange_time(BlockingRest(rest, tries=CLOCK_TRIES))) - datetime.now(UTC)
    except Unavailable as error:
        _say(f"by this machine's clock, for {error}")
        return timedelta()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{option} {text[:40]!r} is no day; write it like 2024-01-31") from None


def _lines(reports: Sequence[SeriesReport]) -> Iterator[str]:
    for report in reports:
        rest = f" ({report.by_rest} over REST)" if report.by_rest else ""
        before = f"; {report.done_before:,} files were done before" if report.done_before else ""
        before += f"; of {report.present_before:,} files all was there already" if report.present_before else ""
        yield (
            f"{report.series}: {report.stored:,} {report.series.unit} written, {report.present:,} were there already, "
            f"of {report.rows:,} rows in {report.files:,} files{rest}{before}"
        )
        if report.left:
            yield f"  {report.left:,} rows of the last two days are left to the live path, which brings them itself"
        if report.duplicates:
            yield f"  {report.duplicates:,} rows were repeated and count once"
        if report.absent:
            yield f"  not in the archive: {_spans(report.absent)}"
        for title, found in (("missing", report.holes), ("not imported", report.failed), ("refused", report.reasons)):
            yield from (f"  {title}: {one}" for one in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"  … and {len(found) - SHOWN:,} more"
        if report.refused > len(report.reasons):
            yield f"  {report.refused:,} rows were refused in all"


def _spans(files: Sequence[ArchiveFile]) -> str:
    """Name days as few spans."""
    spans = list[list[date]]()
    for file in sorted(files, key=lambda file: file.first):
        if spans and spans[-1][1] == file.first:
            spans[-1][1] = file.after
        else:
            spans.append([file.first, file.after])
    texts = [
        str(first) if after - first == timedelta(days=1) else f"{first} to {after - timedelta(days=1)}"
        for first, after in spans
    ]
    more = f" and {len(texts) - SHOWN} more spans" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _plain(reports: Sequence[SeriesReport]) -> dict[str, object]:
    """Return reports as plain values, by series."""
    found: dict[str, object] = {}
    names = (
        "files",
        "done_before",
        "present_before",
        "by_rest",
        "rows",
        "stored",
        "present",
        "left",
        "duplicates",
        "refused",
    )
    for report in reports:
        found[str(report.series)] = {
            **{name: getattr(report, name) for name in names},
            "absent": [file.name for file in report.absent],
            "missing": [[hole.start.isoformat(), hole.end.isoformat(), hole.windows] for hole in report.holes],
            "failed": report.failed,
            "reasons": report.reasons,
            "is_whole": report.is_whole,
        }
    return found
