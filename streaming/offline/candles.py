"""Recorded trades to candles without a broker: the same builder as the live path, so the same candles.

Files have no order of arrival: whatever the order of rows and of files, the candles are those of the trades sorted by id. Rows in
order go straight into the builder; the first that is not sends all of them through an external sort. Every row is accounted for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from quantstream.core.candle import Candle
from quantstream.core.candle_builder import DEFAULT_LATENESS
from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.time import interval_length
from quantstream.core.trade_ids import Gap
from quantstream.files import replacing
from quantstream.lake.schemas import candle_rows
from streaming.offline.counted_rows import Damaged, counted_rows
from streaming.offline.external_sort import Sorter, row_of, rows_of, void_row
from streaming.offline.merge_rows import Reconciler
from streaming.offline.ordered_trades import Disorder, OrderedSymbol
from streaming.offline.row_account import Account, clock
from streaming.recordings.found import Block, Found, Row
from streaming.recordings.readers import Given, read_found

NOTED = 5  # files or windows of a kind that a note names


@dataclass(frozen=True)
class Summary:
    """What a run over recordings found. `gaps` are the ids missing for good, per symbol; the account has all that was read."""

    trades: int
    duplicates: int
    candles: int
    gaps: dict[str, list[Gap]]
    account: Account


def write_candles(
    files: Sequence[Path],
    out: Path,
    interval: str = "5m",
    lateness: int = DEFAULT_LATENESS,
    given: Given | None = None,
) -> Summary:
    """Write the candles of recorded trades to `out` (`.parquet` or `.csv`), numbers as exact decimals.

    A file that cannot be read is set aside, and the others go on. Raises: Misconfigured for a wrong name; when no file holds a
    trade, what is wrong with the first; then nothing is written.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise Misconfigured(f"cannot write {out}: end its name in .parquet or .csv")
    if not files:
        raise Misconfigured("name at least one file of recorded trades")
    if not out.absolute().parent.is_dir():
        raise Misconfigured(f"cannot write {out}: there is no folder {out.parent}")
    for file in files:
        if not file.is_file():
            raise Misconfigured(f"there is no file {file}; check the name")
    interval_length(interval)
    run = _Run(files, out.absolute().parent, interval, lateness, given or Given())
    candles, account = run.candles()
    _write(candles, out)
    return Summary(
        trades=sum(candle.trade_count for candle in candles),
        duplicates=account.duplicates,
        candles=len(candles),
        gaps={symbol: account.gaps.get(symbol, []) for symbol in sorted({candle.symbol for candle in candles})},
        account=account,
    )


@dataclass
class _Run:
    """One run over files: in their order if they have one, else sorted; again without a file that turns out to be damaged."""

    files: Sequence[Path]
    folder: Path  # where there is room for what is sorted
    interval: str
    lateness: int
    given: Given
    aside: dict[Path, str] = field(default_factory=dict)
    error: BadRecord | Misconfigured | None = None  # what is wrong with the first file set aside

    def candles(self) -> tuple[list[Candle], Account]:
        """Return the candles and the account. Raises: as `write_candles`."""
        _ = self.given.layout  # named wrongly it is wrong for every file
        ordered = self._by_time()
        is_sorting = False
        while True:
            account = Account()
            try:
                build = self._sorted if is_sorting else self._straight
                candles = build([file for file in ordered if file not in self.aside], account)
                break
            except Disorder:
                is_sorting = True
            except Damaged as damaged:
                self._set_aside(damaged.path, damaged.error)
        account.set_aside = [reason for file, reason in self.aside.items()]
        if not candles:
            raise self._nothing(account)
        account.close()
        _note_zero_volumes(candles, account)
        return candles, account

    def _by_time(self) -> list[Path]:
        """Return the files that can be read by the time of their first trade."""
        first: list[tuple[int, Path]] = []
        for file in self.files:
            try:
                first.append((next(_times(read_found(file, self.given)), 0), file))
            except (BadRecord, Misconfigured) as error:
                self._set_aside(file, error)
        return [file for _, file in sorted(first, key=lambda each: each[0])]

    def _set_aside(self, file: Path, error: BadRecord | Misconfigured) -> None:
        self.aside[file] = str(error) if str(file) in str(error) else f"{file}: {error}"
        self.error = self.error or type(error)(self.aside[file])

    def _nothing(self, account: Account) -> BadRecord | Misconfigured:
        if self.error is not None:
            return self.error
        reason = next(account.names(), f"{self.files[0]} is empty" if not account.rows else "all rows were left out")
        return BadRecord(f"there are no trades to make candles of: {reason}")

    def _straight(self, files: Sequence[Path], account: Account) -> list[Candle]:
        """Build from rows as they come. Raises: Disorder, Damaged."""
        made = _Made(self.interval, self.lateness, account, is_sorted=False)
        for _, found in counted_rows(files, self.given, account):
            if isinstance(found, Block):
                account.placed += len(found.columns)
                made.add(found.symbol, made.of(found.symbol).block(found.columns))
            elif isinstance(found, Row):
                account.placed += 1
                made.add(found.trade.symbol, made.of(found.trade.symbol).trade(found.trade))
            else:
                made.of(found.symbol).void(found.first, found.last, found.at)
        return made.candles()

    def _sorted(self, files: Sequence[Path], account: Account) -> list[Candle]:
        """Build from rows put in order. Raises: Damaged."""
        symbols: dict[str, int] = {}
        sources: dict[str, int] = {}
        with (
            tempfile.TemporaryFile(dir=self.folder, prefix=".sorting-") as heap,
            tempfile.TemporaryFile(dir=self.folder, prefix=".sorted-") as kept,
        ):
            sorter = Sorter(heap)
            for place, found in counted_rows(files, self.given, account):
                source = sources.setdefault(place, len(sources))
                if isinstance(found, Block):
                    symbol = symbols.setdefault(found.symbol, len(symbols))
                    sorter.add(rows_of(found.columns, symbol, source, found.line))
                elif isinstance(found, Row):
                    symbol = symbols.setdefault(found.trade.symbol, len(symbols))
                    sorter.add_one(row_of(found.trade, symbol, source, found.line))
                else:
                    symbol = symbols.setdefault(found.symbol, len(symbols))
                    sorter.add_one(void_row(found.first, found.last, found.at, symbol, source, found.line))
            reconciler = Reconciler(kept, account, list(symbols), list(sources))
            for batch in sorter.merged():
                reconciler.take(batch)
            return self._from_order(reconciler, account)

    def _from_order(self, reconciler: Reconciler, account: Account) -> list[Candle]:
        made = _Made(self.interval, self.lateness, account, is_sorted=True)
        for code, rows in reconciler.ordered():
            symbol = reconciler.symbols[code]
            account.placed += int(np.count_nonzero(~rows["is_void"]))
            made.add(symbol, made.of(symbol).rows(rows))
        return made.candles()


class _Made:
    """The symbols of a run, each in order, and the newest revision of every candle."""

    def __init__(self, interval: str, lateness: int, account: Account, is_sorted: bool) -> None:
        self.interval, self.lateness, self.account, self.is_sorted = interval, lateness, account, is_sorted
        self.symbols: dict[str, OrderedSymbol] = {}
        self.newest: dict[tuple[str, int], Candle] = {}

    def of(self, symbol: str) -> OrderedSymbol:
        """Return where a symbol stands."""
        found = self.symbols.get(symbol)
        if found is None:
            found = OrderedSymbol(symbol, (self.interval,), self.lateness, self.account, self.is_sorted)
            self.symbols[symbol] = found
        return found

    def add(self, symbol: str, candles: Iterable[Candle]) -> None:
        """Note candles that closed, and trades that found no window any more."""
        for candle in candles:
            self.newest[symbol, candle.opened_at] = candle
        state = self.symbols[symbol].builder.state
        if state.late_trades:
            if not self.is_sorted:
                raise Disorder
            self.account.placed -= state.late_trades
            reason = f"{state.late_trades} trades up to {clock(state.latest_at)} are older than the first window"
            self.account.refuse(symbol, reason, state.late_trades)
            state.late_trades = 0

    def candles(self) -> list[Candle]:
        """Return all candles, by symbol and time."""
        for symbol, found in self.symbols.items():
            for candle in found.builder.open_candles():
                self.newest[symbol, candle.opened_at] = candle
        return [self.newest[key] for key in sorted(self.newest)]


def _times(found: Iterable[Found]) -> Iterator[int]:
    """Yield the times of trades, one for a block of them."""
    for each in found:
        if isinstance(each, Block):
            yield int(each.columns.at[0])
        elif isinstance(each, Row):
            yield each.trade.traded_at


def _note_zero_volumes(candles: Sequence[Candle], account: Account) -> None:
    """Say where trades came without quantities: false volumes that look true."""
    zero = [candle for candle in candles if candle.trade_count and not candle.volume]
    if zero:
        shown = ", ".join(f"{candle.symbol} {clock(candle.opened_at)}" for candle in zero[:NOTED])
        more = f" and {len(zero) - NOTED} more" if len(zero) > NOTED else ""
        account.notes.append(f"{len(zero)} candles have trades but a volume of zero, as their rows say: {shown}{more}")


def _write(candles: Sequence[Candle], out: Path) -> None:
    rows = candle_rows(candles, with_key=False)
    with replacing(out) as draft:
        if out.suffix == ".parquet":
            pyarrow.parquet.write_table(rows, draft)
            return
        plain = pa.table({name: _text(rows[name]) for name in rows.column_names})
        with draft.open("wb") as file:
            file.write(",".join(rows.column_names).encode() + b"\n")
            options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
            pyarrow.csv.write_csv(plain, file, options)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return decimals as plain text: Arrow prints small ones with an exponent, which few readers take for exact."""
    if not pa.types.is_decimal(column.type):
        return column
    return pa.array([f"{value:f}" for value in column.to_pylist()], pa.string())
