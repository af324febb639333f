"""What a proof says: how many candles are equal, different, missing, repeated, and the first differences field by field.

Each window of the range is exactly one of `equal`, `different`, `missing`, `incomplete` and `unproved` (nothing was there to
compare it with). `duplicate` counts rows, of candles, trades and anomalies, that repeat another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from quantstream.core.day_condition import DayProof

DIFFERS, NOT_COMPARED = 1, 2  # exit codes
SHOWN = 1_000  # differences and the like that are listed of each symbol; the counts go on


class Difference(msgspec.Struct, frozen=True):
    """One field of one candle that is not the same everywhere; numbers as decimal text, None where there is no such candle."""

    symbol: str
    interval: str
    opened_at: str  # ISO 8601, UTC
    field: str
    lake: str | None
    recomputed: str | None
    klines: str | None

    def __str__(self) -> str:
        """Say which window, which field, and what each has."""
        lake, recomputed, klines = (text or "none" for text in (self.lake, self.recomputed, self.klines))
        return f"{self.opened_at} {self.field}: lake {lake}, from trades {recomputed}, exchange {klines}"


class SymbolProof(msgspec.Struct):
    """What was found of one symbol at one interval over `[start, end)`, ISO 8601."""

    symbol: str
    interval: str
    start: str = ""
    end: str = ""
    equal: int = 0
    different: int = 0
    missing: int = 0
    duplicate: int = 0
    incomplete: int = 0
    unproved: int = 0
    pending: int = 0  # newest candles whose trades are still on their way into the lake: left out
    scored_once: int = 0
    unscored: int = 0
    scored_twice: int = 0
    trades: int = 0
    missing_trades: int = 0
    differences: list[Difference] = []
    missing_windows: list[str] = []
    incomplete_windows: list[str] = []
    unproved_windows: list[str] = []
    duplicate_rows: list[str] = []
    scored_twice_windows: list[str] = []
    unscored_windows: list[str] = []
    missing_trade_ids: list[str] = []  # "first-last"

    @property
    def windows(self) -> int:
        """How many windows were looked at."""
        return self.equal + self.different + self.missing + self.incomplete + self.unproved

    def note(self, name: str, text: str) -> None:
        """Add to one of the lists of names, up to what is shown."""
        names: list[str] = getattr(self, name)
        if len(names) < SHOWN:
            names.append(text)


COUNTS = ("equal", "different", "missing", "duplicate", "incomplete", "scored_once")
TABLE = ("equal", "different", "missing", "duplicate", "incomplete")
MORE_COUNTS = ("unproved", "pending", "unscored", "scored_twice", "trades", "missing_trades")
LISTS = (
    "missing_windows",
    "incomplete_windows",
    "unproved_windows",
    "duplicate_rows",
    "scored_twice_windows",
    "unscored_windows",
    "missing_trade_ids",
)


class Proof(msgspec.Struct):
    """All symbols together, and in sentences what could not be looked at, and what was deleted on purpose once it was proved."""

    symbols: list[SymbolProof]
    not_compared: list[str] = []
    days: list[DayProof] = []
    deleted: list[str] = []

    def total(self, count: str) -> int:
        """Return the sum of a count over the symbols."""
        return sum(getattr(one, count) for one in self.symbols)

    @property
    def differences(self) -> list[Difference]:
        """Return the listed differences of all symbols."""
        return [difference for one in self.symbols for difference in one.differences]

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs, lacks or is there twice."""
        return not any(self.total(name) for name in ("different", "missing", "duplicate", "scored_twice"))

    @property
    def exit_code(self) -> int:
        """0: all compared and nothing differs; 1: something does; 2: something could not be compared."""
        return DIFFERS if not self.is_clean else NOT_COMPARED if self.not_compared else 0

    def as_json(self) -> str:
        """Return the documented shape: six counts and `differences`, then whatever else there is to say."""
        counts = {name: self.total(name) for name in (*COUNTS, *MORE_COUNTS)}
        lists = {name: _named(self.symbols, name) for name in LISTS}
        by_symbol = [
            {key: value for key, value in each.items() if key not in (*LISTS, "differences")} for each in self._each()
        ]
        shape: dict[str, Any] = {
            **{name: counts.pop(name) for name in COUNTS},
            "differences": [msgspec.structs.asdict(difference) for difference in self.differences],
            **counts,
            **lists,
            "not_compared": self.not_compared,
            "deleted": self.deleted,
            "symbols": by_symbol,
        }
        return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()

    def _each(self) -> Iterable[dict[str, Any]]:
        return (msgspec.structs.asdict(one) for one in self.symbols)


def _named(symbols: Iterable[SymbolProof], name: str) -> list[str]:
    return [f"{one.symbol} {one.interval} {text}" for one in symbols for text in getattr(one, name)]


def verify_lines(proof: Proof) -> list[str]:
    """Return a proof as lines: a table of the counts, then what there is to say."""
    titles = ["symbol", "", "windows", *(name.replace("_", " ") for name in TABLE)]
    rows = [
        [one.symbol, one.interval, f"{one.windows:,}", *(f"{getattr(one, name):,}" for name in TABLE)]
        for one in proof.symbols
    ]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = [
        "  ".join(
            [*(text.ljust(width) for text, width in cells[:2]), *(text.rjust(width) for text, width in cells[2:])]
        )
        for cells in (list(zip(row, widths, strict=True)) for row in [titles, *rows])
    ]
    return [*lines, span(proof), *findings(proof), conclusion(proof)]


def span(proof: Proof) -> str:
    """Return what was looked at: from when to when, how many trades, how many scores."""
    ranges = [(one.start, one.end) for one in proof.symbols if one.start]
    scores = f"{proof.total('scored_once'):,} candles scored once, {proof.total('unscored'):,} not yet"
    trades = f"{proof.total('trades'):,} trades, {proof.total('missing_trades'):,} ids missing"
    when = f"{min(ranges)[0]} to {max(end for _, end in ranges)}" if ranges else "nothing"
    return f"{when}; {trades}; {scores}"


def conclusion(proof: Proof) -> str:
    """Return the proof in one sentence."""
    windows = sum(one.windows for one in proof.symbols)
    equal = proof.total("equal")
    incomplete = proof.total("incomplete")
    rest = f" {incomplete:,} say themselves that they are incomplete." if incomplete else ""
    if not proof.is_clean:
        return f"Something differs: {equal:,} of {windows:,} candles are equal.{rest}"
    if proof.not_compared:
        return f"Nothing differs in what could be compared: {equal:,} of {windows:,} candles are equal.{rest}"
    whole = f"{equal:,} of {windows:,} candles are equal to their trades and to the exchange's klines"
    return f"Nothing differs: {whole}.{rest}"


def findings(proof: Proof) -> list[str]:
    """Return what is not as it should be, a sentence each, the gravest first; of long lists the first ones."""
    lines = [f"{d.symbol} {d.interval} {d}" for d in proof.differences[:SHOWN]]
    listed = (
        ("missing_windows", "missing: {}"),
        ("duplicate_rows", "there twice: {}"),
        ("scored_twice_windows", "scored more than once: {}"),
        ("missing_trade_ids", "trades missing: ids {}"),
        ("incomplete_windows", "incomplete by its own account: {}"),
        ("unproved_windows", "nothing there to compare it with: {}"),
        ("unscored_windows", "not scored: {}"),
    )
    for name, sentence in listed:
        names = [f"{one.symbol} {one.interval} {text}" for one in proof.symbols for text in getattr(one, name)]
        lines += [sentence.format(text) for text in names[:SHOWN]]
        lines += [f"… and {len(names) - SHOWN} more; --json lists them"] if len(names) > SHOWN else []
    pending = proof.total("pending")
    lines += [f"{pending} newest candles left out: their trades are not in the lake yet"] if pending else []
    lines += [f"Not compared: {sentence}" for sentence in proof.not_compared]
    return lines + [f"Deleted: {sentence}" for sentence in proof.deleted]
