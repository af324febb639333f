"""The proof of one symbol: which of its windows are due, and day by day what is there, whatever other symbols do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.day_condition import COUNTS as DAY_COUNTS
from quantstream.core.day_condition import DayProof, expected
from quantstream.core.moments import moment_text
from quantstream.core.time import DAY, SCORED, utc, window_start
from quantstream.core.trade_ids import Sequence as Ids
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.deleted_trades import DeletedTrades
from streaming.reconcile.compare import Stored, field_text, judge, stored_candles
from streaming.reconcile.exchange_klines import Exchange
from streaming.reconcile.proof_report import SHOWN, Difference, SymbolProof
from streaming.reconcile.recompute import COLUMNS, DayOfTrades, candles_of, last_before, lengths_of


@dataclass
class Span:
    """The windows of one interval that are looked at: those that open in `[start, end)`, µs."""

    start: int
    end: int
    proof: SymbolProof
    close: int | None = None  # of the window before, for flat ones
    corrected: int = 0  # candles that have a revision

    def opens(self, start: int, end: int, length: int) -> range:
        """Return the opening times that lie in `[start, end)` as well; `start` is a day's boundary."""
        return range(max(start, self.start), min(end, self.end), length)


@dataclass
class SymbolRun:
    """One symbol: which windows are due, then day by day what is there."""

    lake: Lake
    exchange: Exchange
    symbol: str
    intervals: Sequence[str]
    gone: DeletedTrades | None = None  # of the symbol's trades
    spans: dict[str, Span] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    ids: Ids = field(default_factory=Ids)
    ids_skip: bool | None = None  # what the first day with trades says
    days: dict[int, DayProof] = field(default_factory=dict)
    first: int = 0  # opening of the symbol's first candle, as far as was asked, µs
    trouble: str = ""  # of the exchange

    def __getstate__(self) -> dict[str, Any]:
        """What was found travels between processes; what it was found in does not."""
        return {**self.__dict__, "lake": None, "exchange": None}

    def run(self, start: int | None, end: int | None) -> None:
        """Go through the days."""
        self._find_spans(start, end)
        self.first = min((span.start for span in self.spans.values() if span.end), default=0)
        spans = [span for span in self.spans.values() if span.start < span.end]
        if not spans:
            return
        first, last = min(span.start for span in spans), max(span.end for span in spans)
        for day in range(window_start(first, DAY), last, DAY):
            before = self._totals()
            self._day(max(day, first), min(day + DAY, last))
            found = self.days[day] = DayProof(self.symbol, day)
            for name, count in self._totals().items():
                setattr(found, name, count - before[name])
        self._count_missing_trades()

    def all_days(self, first: int, start: int | None, horizon: int) -> Iterable[DayProof]:
        """Yield every day that should be there up to `horizon` (µs), from the symbol's first, else from `first` on."""
        begin, lengths = max(self.first or first, start or 0), lengths_of(self.intervals)
        covered = {length: self.spans[interval].end or begin for interval, length in lengths.items()}
        for day in range(window_start(begin, DAY), horizon, DAY):
            found = self.days.get(day, DayProof(self.symbol, day))
            for length, end in covered.items():
                missing, pending = expected(day, max(begin, end), horizon, [length])
                found.missing, found.pending = found.missing + missing, found.pending + pending
            found.is_over = day + DAY <= horizon
            if found.candles:
                yield found

    def _totals(self) -> dict[str, int]:
        spans = self.spans.values()
        return {name: sum(getattr(span.proof, name) for span in spans) for name in DAY_COUNTS} | {
            "corrected": sum(span.corrected for span in spans)
        }

    def _find_spans(self, start: int | None, end: int | None) -> None:
        """Say which windows are due at each interval, from the lake's own candles."""
        columns = ["symbol", "opened_at", "interval", "source", "last_trade_id"]
        rows = self.lake.read("candles", [self.symbol], columns=columns)
        newest_id = self._newest_trade_id(rows)
        for interval, length in lengths_of(self.intervals).items():
            mine = rows.filter(pc.field("interval") == interval)
            counted = mine if start is not None else mine.filter(pc.field("source") == "trades")
            proof = SymbolProof(self.symbol, interval)
            if not counted.num_rows:
                self.spans[interval] = Span(0, 0, proof)
                self.not_compared.append(f"{self.symbol} {interval}: the lake holds no candles built from trades yet")
                continue
            opened = counted["opened_at"].cast(pa.int64())
            span = Span(pc.min(opened).as_py(), pc.max(mine["opened_at"].cast(pa.int64())).as_py() + length, proof)
            if start is not None:
                span.start = max(span.start, start + -start % length)
            self._leave_deleted(span, interval, is_asked_for=start is not None)
            if end is None:
                self._leave_pending(span, mine, length, newest_id)
            else:
                span.end = self._given_end(end, length, span.end)
            proof.start, proof.end = moment_text(span.start), moment_text(max(span.start, span.end))
            self.spans[interval] = span

    def _leave_deleted(self, span: Span, interval: str, is_asked_for: bool) -> None:
        """Leave the windows out whose trades retention has deleted, and say so: they are neither missing nor compared again."""
        if self.gone is None or span.start >= self.gone.before:
            return
        before = self.lake.candles([self.symbol], interval, utc(self.gone.before - DAY), utc(self.gone.before))
        closes = stored_candles(before)
        span.start, span.close = self.gone.before, closes[-1].close if closes else None
        sentence = (
            f"{self.symbol} {interval}: trades deleted by retention up to {self.gone.last_day}; "
            "its candles until then are kept as they were verified"
        )
        (self.not_compared if is_asked_for else self.deleted).append(sentence)

    def _given_end(self, end: int, length: int, stored_end: int) -> int:
        """Return the end that was asked for, but not after what the exchange has closed."""
        end = window_start(end, length)
        if end <= stored_end:
            return end
        now = self.exchange.now()
        return stored_end if now is None else max(stored_end, min(end, window_start(now, length)))

    def _newest_trade_id(self, candles: pa.Table) -> int:
        """Return the newest trade id in the lake, read after the candles were: it may be behind them, see `pending`."""
        if not candles.num_rows:
            return NO_TRADE_ID
        around = pc.max(candles["opened_at"]).as_py() - (utc(DAY) - utc(0))
        rows = self.lake.read("trades", [self.symbol], around, columns=["symbol", "last_trade_id"])
        return int(pc.max(rows["last_trade_id"]).as_py()) if rows.num_rows else NO_TRADE_ID

    def _leave_pending(self, span: Span, candles: pa.Table, length: int, newest_id: int) -> None:
        """Leave the newest candles out whose trades the sink has yet to write: it commits one table after the other."""
        late = candles.filter(pc.field("last_trade_id") > newest_id)
        if late.num_rows:
            first = pc.min(late["opened_at"].cast(pa.int64())).as_py()
            if first >= span.end - 2 * DAY:
                span.proof.pending = max(0, (span.end - max(first, span.start)) // length)
                span.end = max(first, span.start)

    def _day(self, start: int, end: int) -> None:
        bounds = (utc(start), utc(end))
        candles = self.lake.read("candles", [self.symbol], *bounds)
        found = self.lake.read("trades", [self.symbol], *bounds, columns=COLUMNS)
        trades = DayOfTrades(found, lengths_of(self.intervals), self.ids, self.ids_skip)
        self.ids_skip = trades.skips if trades.count else self.ids_skip
        rows = stored_candles(candles)
        for interval, length in lengths_of(self.intervals).items():
            span = self.spans[interval]
            opens = span.opens(start, end, length)
            if opens:
                mine = [row for row in rows if row.interval == interval and row.opened_at in opens]
                self._compare(interval, span, opens, mine, trades)
                self._count_scores(interval, span, opens, mine)
        self._count_repeated(start, end, trades)

    def _compare(self, interval: str, span: Span, opens: range, rows: Sequence[Stored], trades: DayOfTrades) -> None:
        recomputed = self._recomputed(interval, span, opens, trades)
        klines = self.exchange.klines(self.symbol, interval, opens.start, opens[-1] + opens.step)
        newest = {row.opened_at: row for row in sorted(rows, key=lambda row: (row.revision, row.is_complete))}
        span.corrected += sum(row.revision > 0 for row in newest.values())
        for opened_at in opens:
            found = (newest.get(opened_at), recomputed.get(opened_at), (klines or {}).get(opened_at))
            verdict, fields = judge(*found, has_klines=klines is not None)
            if verdict == "absent":
                continue
            setattr(span.proof, verdict, getattr(span.proof, verdict) + 1)
            if verdict in ("missing", "incomplete", "unproved"):
                span.proof.note(f"{verdict}_windows", moment_text(opened_at))
            for name in fields:
                self._note_difference(span.proof, opened_at, name, found)
        for name, count in _repeated(
            f"candle {moment_text(row.opened_at)} revision {row.revision} from {row.source}" for row in rows
        ):
            span.proof.duplicate += count
            span.proof.note("duplicate_rows", name)

    def _recomputed(self, interval: str, span: Span, opens: range, trades: DayOfTrades) -> dict[int, Candle]:
        if span.close is None and opens[0] not in trades.windows[interval]:
            before = last_before(self.lake, self.symbol, opens[0])
            span.close = before.price if before else None
        candles = candles_of(self.symbol, interval, trades, opens, span.close)
        if candles:
            span.close = candles[max(candles)].close
        return candles

    def _note_difference(
        self, proof: SymbolProof, opened_at: int, name: str, found: tuple[Stored | None, Candle | None, Candle | None]
    ) -> None:
        if len(proof.differences) < SHOWN:
            texts = (field_text(candle, name) for candle in found)
            proof.differences.append(Difference(self.symbol, proof.interval, moment_text(opened_at), name, *texts))

    def _count_scores(self, interval: str, span: Span, opens: range, rows: Iterable[Stored]) -> None:
        """Count the scores of the candles as they first came; a later revision is not judged again."""
        if interval != SCORED:
            return
        bounds = (utc(opens.start), utc(opens[-1] + opens.step))
        scores = self.lake.read("scores", [self.symbol], *bounds, columns=["symbol", "interval", "opened_at"])
        scores = scores.filter(pc.field("interval") == interval)
        counts = Counter(scores["opened_at"].cast(pa.int64()).to_pylist())
        for opened_at in sorted({row.opened_at for row in rows if row.source == "trades" and row.revision == 0}):
            count = counts[opened_at]
            name = "scored_once" if count == 1 else "scored_twice" if count else "unscored"
            setattr(span.proof, name, getattr(span.proof, name) + 1)
            if count != 1:
                span.proof.note(f"{name}_windows", moment_text(opened_at))

    def _count_repeated(self, start: int, end: int, trades: DayOfTrades) -> None:
        """Count what is there twice beside candles; it is noted at the first interval, for it belongs to none."""
        proof = next(iter(self.spans.values())).proof
        proof.trades += trades.count
        proof.duplicate += len(trades.repeated)
        for trade_id in trades.repeated:
            proof.note("duplicate_rows", f"trade {trade_id}")
        flagged = self.lake.read("anomalies", [self.symbol], utc(start), utc(end), columns=["symbol", "trade_id"])
        for name, count in _repeated(f"anomaly of trade {number}" for number in flagged["trade_id"].to_pylist()):
            proof.duplicate += count
            proof.note("duplicate_rows", name)

    def _count_missing_trades(self) -> None:
        proof = next(iter(self.spans.values())).proof
        for gap in self.ids.open_gaps:
            if gap.after:  # what came before the first trade was never promised
                proof.missing_trades += gap.missing
                proof.note("missing_trade_ids", f"{gap.first}-{gap.last}")
                if (day := self.days.get(window_start(gap.before, DAY))) is not None:
                    day.missing_trades += gap.missing


def _repeated(names: Iterable[str]) -> list[tuple[str, int]]:
    """Return each name that is there more than once, with how many times too often."""
    return [(name, count - 1) for name, count in Counter(names).items() if count > 1]
