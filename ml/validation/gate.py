"""The gate between the lake and the models: what fails a critical expectation is held in the lake's table `quarantine`, by day.

A symbol's other days still teach. What a validation finds is held once, in the words of the expectation; a day that meets it
again (after a repair, say) is released. A person's word stands: what one released stays so while the finding is the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation import engine, pages
from ml.validation.candle_frames import LENGTH, SETTLE, Frames, candle_frames
from ml.validation.column_types import column_types
from ml.validation.engine import Finding
from ml.validation.incremental.checked_months import Checked, remember, remembered
from ml.validation.incremental.history import History
from ml.validation.incremental.month_findings import Found, joined
from ml.validation.incremental.month_spans import groups, is_over
from ml.validation.incremental.stretches import Stretch
from ml.validation.market import NO_MARKET, Market, read_market, references
from ml.validation.other_frames import feature_frames, score_frames, trade_frames
from ml.validation.outages import Outage, declared
from ml.validation.report import Report
from ml.validation.shelf import Shelf
from quantstream import features
from quantstream.core.time import DAY, LATEST, SCORED, micros, utc
from quantstream.lake.quarantine import GATE, HELD, RELEASED, Change, Quarantine, note, quarantine_of
from quantstream.lake.store import Lake

log = logging.getLogger(__name__)
TABLES = ("candles", "trades", "features", "scores")
BY_MONTH = ("candles", "features")  # whose months are checked once and again when something changed
RECENT = 60.0  # seconds: to open a table of thousands of symbols takes one


@dataclass(frozen=True)
class Looked:
    """What there is to say of one symbol's rows, and what of it is to be remembered."""

    found: Found
    results: Mapping[str, Any]  # the library's, by frame
    version: int
    checked: Mapping[str, Checked] | None = None  # by month, if that is another than what is known
    keeps: bool = False  # months that were not looked at have findings
    months: int = 0
    months_anew: int = 0


@dataclass
class Gate:
    """One validation run over many symbols; `at` is our time.

    `clock` tells the exchange's time (µs). Where it is not told, only what is over by ours must be there, and nothing is taken
    for of the future.
    """

    lake: Lake
    symbols: Sequence[str]  # that are known: they stand for the market
    state: Path
    clock: Callable[[], int | None]
    at: datetime
    run: str = ""
    skips: bool = False  # of futures: single trades' ids have gaps
    outages: Sequence[Outage] = field(default_factory=declared)
    anew: bool = False  # read everything, also months that were checked and have not changed since
    _market: tuple[int, int, Market] = (0, 0, NO_MARKET)  # from when to when (µs) it was read
    _history: tuple[float, History] | None = None  # when it was opened, in seconds of this process

    def check(self, table: str, symbol: str, start: datetime | None = None, end: datetime | None = None) -> Report:
        """Validate one symbol's rows of a table over `[start, end)`, hold and release days, write report and data docs.

        Of candles and features without bounds, months that were checked before are not read again unless something changed that
        they depend on: what was found then counts. Raises: Misconfigured when a suite cannot be read, Unavailable when the lake
        cannot.
        """
        is_by_month = table in BY_MONTH and start is None and end is None and self.history().months(symbol)
        looked = self._by_month(table, symbol) if is_by_month else self._at_once(table, symbol, start, end)
        found = looked.found
        changes = self._changes(table, symbol, found.findings, list(found.days))
        note(self.lake, changes)
        if looked.checked is not None:
            remember(self.lake, table, symbol, looked.checked)
        held = _why_held(quarantine_of(self.lake), table, symbol)
        report = self._report(table, symbol, looked, changes, held)
        pages.write(self.shelf, report, looked.results, looked.keeps)
        for finding in found.findings:
            if not finding.is_critical:
                log.warning("%s %s: %s", symbol, table, finding.on(min(finding.days)))
        log.info("%s", report)
        return report

    def _at_once(self, table: str, symbol: str, start: datetime | None, end: datetime | None) -> Looked:
        version = self.lake.version(table if table != "features" else "candles")
        frames = self._frames(table, symbol, start, end)
        run = self._run(table, frames)
        return Looked(Found.of(frames, run), run.results, version)

    def _by_month(self, table: str, symbol: str) -> Looked:
        """Look at the months that changed, and put what they come to beside what is known of the others."""
        history = self.history()
        held = sorted({str(one.day) for one in quarantine_of(self.lake).held("candles", symbol)})
        seen = {month: history.seen(table, symbol, month, held) for month in history.months(symbol)}
        known = remembered(self.lake, table, symbol)
        kept = {} if self.anew else {name: one.found for name, one in known.items() if seen.get(name) == one.seen}
        fresh, results = dict[str, Found](), dict[str, Any]()
        for first, last in groups(seen.keys() - kept.keys()):
            if first not in fresh:
                stretch, found, some = self._look(table, Stretch(history, symbol, first, last), held)
                fresh |= {month: found.within({month}) for month in stretch.months}
                results |= some
        parts = {**kept, **fresh}
        asked = engine.suite_of(table)["expectations"]
        order = [(one["type"], engine.columns_of(one["kwargs"]), one["severity"]) for one in asked]
        found = joined([parts[month] for month in seen], order)
        checked = {name: Checked(seen[name], parts[name]) for name in seen if is_over(name, history.now, SETTLE)}
        keeps = any(kept[name].findings for name in kept.keys() - fresh.keys())
        counts = len(seen), len(fresh)
        return Looked(found, results, history.version, checked if checked != known else None, keeps, *counts)

    def _look(self, table: str, stretch: Stretch, held: Sequence[str]) -> tuple[Stretch, Found, Mapping[str, Any]]:
        if table == "features":
            frames = stretch.feature_frames(held)
        elif (some := stretch.candle_frames(self._candle_frames)) is not None:
            frames = some
        else:
            log.info(
                "all of a history is checked, as something goes on for weeks in it", extra={"symbol": stretch.symbol}
            )
            return self._look(table, stretch.whole, held)
        run = self._run(table, frames)
        return stretch, Found.of(frames, run), run.results

    def _run(self, table: str, frames: Mapping[str, pd.DataFrame]) -> engine.Run:
        return engine.run(table, frames, {"now": self.clock() or LATEST, "features": list(features.NAMES)})

    def _frames(self, table: str, symbol: str, start: datetime | None, end: datetime | None) -> dict[str, pd.DataFrame]:
        if table == "features":
            frames = feature_frames(self.lake.candle_frame([symbol], SCORED, start, end))
            return {"rows": frames.rows, "days": frames.days}
        begun = self.now()  # what was due then must be there; what came while it was read is not of the future
        stored = self.lake.read(table, [symbol], start, end)
        if table != "trades":
            stored = stored.filter(pc.field("interval") == SCORED)
        return {
            **_named(self._frames_of(table, symbol, stored, begun)),
            "columns": column_types(self.lake, table, symbol),
        }

    def _frames_of(self, table: str, symbol: str, stored: pa.Table, now: int) -> Frames:
        if table == "candles":
            return candle_frames(stored, symbol, self.market(), self.outages, now)
        return trade_frames(stored, self.skips) if table == "trades" else score_frames(stored)

    def _candle_frames(self, stretch: Stretch, stored: pa.Table, times: tuple[int, int], is_first: bool) -> Frames:
        market, now = self.market(*times), stretch.history.now
        return candle_frames(stored, stretch.symbol, market, self.outages, now, is_first)

    def history(self) -> History:
        """Return the candles as they were a minute ago at most, opened once for many symbols. Raises: Unavailable."""
        at = time.monotonic()
        if self._history is None or at - self._history[0] > RECENT:
            self._history = at, History.at(self.lake, self.now, references(self.symbols), self.outages)
        return self._history[1]

    @property
    def shelf(self) -> Shelf:
        """Where reports and data docs lie."""
        return Shelf.of(self.lake, self.state)

    def now(self) -> int:
        """Return the exchange's time in µs, ours where it does not tell."""
        return self.clock() or micros(self.at)

    def market(self, start: int = 0, end: int = LATEST) -> Market:
        """Return the market of the symbols' candles over `[start, end)` (µs) at least, read once a run if it can be."""
        if len(self.symbols) < 2:
            return NO_MARKET
        since, until, market = self._market
        if not since <= start < end <= until:
            since, until = (min(start, since), max(end, until)) if until else (start, end)
            market = read_market(self.lake, self.symbols, LENGTH, utc(max(0, since - DAY)), utc(until))
            self._market = since, until, market
        return market

    def _changes(self, table: str, symbol: str, findings: Sequence[Finding], days: Sequence[str]) -> list[Change]:
        """Return what is to be held, and what is to be released, after what was found on these days."""
        quarantine = quarantine_of(self.lake)
        wrong = {
            (day, one.expectation): one.on(day) for one in reversed(findings) if one.is_critical for day in one.days
        }
        rows = {
            (day, one.expectation): one.days[day] for one in reversed(findings) if one.is_critical for day in one.days
        }
        changes = []
        for (day, expectation), reason in sorted(wrong.items()):
            if quarantine.is_news(table, symbol, date.fromisoformat(day), expectation, reason):
                changes.append(self._change(table, symbol, day, expectation, HELD, reason, rows[day, expectation]))
        for one in quarantine.held(table, symbol):
            day = str(one.day)
            if one.by == GATE and day in days and (day, one.expectation) not in wrong:
                changes.append(self._change(table, symbol, day, one.expectation, RELEASED, "the day meets it now"))
        return changes

    def _change(
        self, table: str, symbol: str, day: str, expectation: str, what: str, reason: str, rows: int = 0
    ) -> Change:
        return Change(symbol, date.fromisoformat(day), table, expectation, what, reason, self.at, GATE, self.run, rows)

    def _report(
        self, table: str, symbol: str, looked: Looked, changes: Sequence[Change], held: Mapping[str, str]
    ) -> Report:
        found, times = looked.found, looked.found.times.values()
        new = tuple(dict.fromkeys(str(one.day) for one in changes if one.is_held))
        released = tuple(dict.fromkeys(str(one.day) for one in changes if not one.is_held and str(one.day) not in held))
        usable = sum(rows for day, rows in found.days.items() if day not in held)
        is_short = usable < engine.suite_of(table)["meta"].get("fewest_rows", 0)
        return Report(
            table=table,
            symbol=symbol,
            outcome="held" if new else "short" if is_short else "passed",
            is_enough=not is_short,
            rows=sum(found.days.values()),
            usable_rows=usable,
            days=len(found.days),
            first=str(utc(min(first for first, _ in times))) if times else "",
            last=str(utc(max(last for _, last in times))) if times else "",
            table_version=looked.version,
            checked_at=self.at.isoformat(timespec="seconds"),
            run=self.run,
            expectations=found.expectations,
            findings=found.findings,
            held=held,
            newly_held=new,
            released=released,
            outages=found.outages,
            data_docs=self.shelf.where(f"{pages.folder_of(table, symbol)}/index.html"),
            months=looked.months,
            months_anew=looked.months_anew,
        )


def _why_held(quarantine: Quarantine, table: str, symbol: str) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for one in quarantine.held(table, symbol):
        reasons.setdefault(str(one.day), one.reason)
    return reasons


def _named(frames: Frames) -> dict[str, pd.DataFrame]:
    return {"rows": frames.rows, "days": frames.days}
