"""The gate between the lake and the models: what fails a critical expectation is held in the lake's table `quarantine`, by day.

A symbol's other days still teach. What a validation finds is held once, in the words of the expectation; a day that meets it
again (after a repair, say) is released. A person's word stands: what one released stays so while the finding is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation import engine, pages
from ml.validation.candle_frames import LENGTH, Frames, candle_frames
from ml.validation.column_types import column_types
from ml.validation.engine import Finding
from ml.validation.market import NO_MARKET, Market, read_market
from ml.validation.other_frames import feature_frames, score_frames, trade_frames
from ml.validation.outages import Outage, declared
from ml.validation.report import Report
from quantstream import features
from quantstream.core.time import LATEST, SCORED, micros, utc
from quantstream.lake.quarantine import GATE, HELD, RELEASED, Change, Quarantine, note, quarantine_of
from quantstream.lake.store import Lake

log = logging.getLogger(__name__)
TABLES = ("candles", "trades", "features", "scores")


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
    _market: Market | None = None

    def check(self, table: str, symbol: str, start: datetime | None = None, end: datetime | None = None) -> Report:
        """Validate one symbol's rows of a table over `[start, end)`, hold and release days, write report and data docs.

        Raises: Misconfigured when a suite cannot be read, Unavailable when the lake cannot.
        """
        version = self.lake.version(table if table != "features" else "candles")
        frames = self._frames(table, symbol, start, end)
        found = engine.run(table, frames, {"now": self.clock() or LATEST, "features": list(features.NAMES)})
        days = sorted(set(frames["rows"]["day"]))
        changes = self._changes(table, symbol, found.findings, days)
        note(self.lake, changes)
        held = _why_held(quarantine_of(self.lake), table, symbol)
        report = self._report(table, symbol, frames, found, changes, held, version)
        pages.write(self.state, report, found)
        for finding in found.findings:
            if not finding.is_critical:
                log.warning("%s %s: %s", symbol, table, finding.on(min(finding.days)))
        log.info("%s", report)
        return report

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

    def now(self) -> int:
        """Return the exchange's time in µs, ours where it does not tell."""
        return self.clock() or micros(self.at)

    def market(self) -> Market:
        """Return the market of the symbols' candles, read once a run."""
        if self._market is None:
            self._market = read_market(self.lake, self.symbols, LENGTH) if len(self.symbols) > 1 else NO_MARKET
        return self._market

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
        self,
        table: str,
        symbol: str,
        frames: Mapping[str, pd.DataFrame],
        found: engine.Run,
        changes: Sequence[Change],
        held: Mapping[str, str],
        version: int,
    ) -> Report:
        rows, by_day = frames["rows"], frames["days"]
        outages = {}
        if "declared" in by_day:
            lacking = by_day[by_day["declared"] > 0]
            outages = dict(zip(lacking["day"].astype(str), lacking["declared"].astype(int).tolist(), strict=True))
        new = tuple(dict.fromkeys(str(one.day) for one in changes if one.is_held))
        released = tuple(dict.fromkeys(str(one.day) for one in changes if not one.is_held and str(one.day) not in held))
        usable = int((~rows["day"].isin(list(held))).sum())
        is_short = usable < engine.suite_of(table)["meta"].get("fewest_rows", 0)
        times = rows["opened_at" if "opened_at" in rows else "traded_at"]
        return Report(
            table=table,
            symbol=symbol,
            outcome="held" if new else "short" if is_short else "passed",
            is_enough=not is_short,
            rows=len(rows),
            usable_rows=usable,
            days=rows["day"].nunique(),
            first=str(utc(int(times.min()))) if len(rows) else "",
            last=str(utc(int(times.max()))) if len(rows) else "",
            table_version=version,
            checked_at=self.at.isoformat(timespec="seconds"),
            run=self.run,
            expectations=found.expectations,
            findings=found.findings,
            held=held,
            newly_held=new,
            released=released,
            outages=outages,
            data_docs=str(pages.folder_of(self.state, table, symbol) / "index.html"),
        )


def _why_held(quarantine: Quarantine, table: str, symbol: str) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for one in quarantine.held(table, symbol):
        reasons.setdefault(str(one.day), one.reason)
    return reasons


def _named(frames: Frames) -> dict[str, pd.DataFrame]:
    return {"rows": frames.rows, "days": frames.days}
