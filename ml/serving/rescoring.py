"""Live scores made once more from the lake: the same candles, the same version, and so the same numbers, to the last bit.

What an auditor asks: is this what the model said, and of what? The candles are those that the scorer held then
(`known_histories`), corrections that came later left out; the memory of outcomes follows from them. Novelty, which widens
intervals and forbids trades, is taken from the score itself: it is another model's part, and can be scored again by itself.
What a version scored as a challenger, in the champion's shadow, is compared as well as what it scored in service.
So are the costs by which the signal acted: a setting, which may be another by now.
Bits are those of one kind of machine: a processor with other vector instructions may round exponentials and products otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.calendar.stored import take_up
from ml.models.parts.thresholds import COST_OF_BEFORE
from ml.serving.known_histories import Places, StoredCandles
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from ml.serving.scoring import ModelSet, score, with_novelty
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import SCORED, micros, utc
from quantstream.features import COLUMNS, STEP_US, Series
from quantstream.lake.schemas import SHADOW_SCORES
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS, registered_name
from quantstream.messages.payloads import Score

READ = ("opened_at", "interval", "revision", "is_complete", "known_at", *COLUMNS)
Part = dict[str, Any]
Row = dict[str, Any]  # of one of the tables of scores
COST = "round_trip_cost"
SIGNAL = ("action", "buy", "hold", "sell")
SIGNAL_SINCE = ("usually_up", "tail_lean", "expected_return", COST)


@dataclass(frozen=True)
class Difference:
    """A score that does not come out as it was stored, or of which it is not certain that it does."""

    symbol: str
    opened_at: str  # of the scored candle
    why: str
    then: Part
    now: Part
    is_shadow: bool = False  # whether it was scored as a challenger

    def __str__(self) -> str:
        """Say it in one line."""
        where = " in the shadow" if self.is_shadow else ""
        return f"{self.symbol} {self.opened_at}{where}: {self.why}{_apart(self)}"


@dataclass
class Rescored:
    """What became of the scores of one version."""

    model: str
    version: str
    scores: int = 0
    shadow: int = 0  # of these, as a challenger
    undated: int = 0  # of before the scorer said which candles it held; compared all the same
    different: list[Difference] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "equal": self.scores - len(self.different)}

    def lines(self) -> list[str]:
        """Return it in words: a line, and one of each score that differs."""
        scores, different = f"{self.scores:,} scores by {self.model} {self.version}", len(self.different)
        if self.shadow:
            scores += f" ({self.shadow:,} in the shadow)"
        first = f"{scores}, {different:,} of them not the same" if different else f"{scores}, all equal to the last bit"
        if self.undated:
            first += f"; {self.undated:,} are of before the scorer said which candles it held"
        return [first, *map(str, self.different)]


def named_version(model: str, version: str) -> tuple[str, str]:
    """Return registered name and number of what a person names: `quantstream-risk/3`, `risk/3`, or a kind and `3`.

    Raises: Misconfigured.
    """
    name, _, number = version.rpartition("/")
    names = {each: registered_name(kind) for kind in MODEL_KINDS for each in (kind, registered_name(kind))}
    if not number.isdecimal() or (name or model) not in names or (name and model and names.get(model) != names[name]):
        raise Misconfigured(
            f"--version {version!r} names no version of one model; write it like {registered_name('risk')}/3, or add "
            f"--model and one of {', '.join(MODEL_KINDS)}"
        )
    return names[name or model], number


def rescore(
    lake: Lake, loaded: LoadedModel, start: datetime, end: datetime, symbols: Sequence[str] | None = None
) -> Rescored:
    """Score the candles opened in `[start, end)` again whose score has a part by this version, and compare the part.

    Raises: DataRejected when there is none; Unavailable.
    """
    take_up(lake)
    result = Rescored(loaded.name, loaded.version)
    served = lake.scores(symbols, SCORED, start, end, with_quarantined=True)
    shadowed = _shadow_scores(lake, symbols, start, end)
    found = {*served["symbol"].to_pylist(), *shadowed["symbol"].to_pylist()}
    for symbol in sorted(found if symbols is None else found & set(symbols)):
        champions = served.filter(pc.equal(served["symbol"], symbol)).to_pylist()
        own = [row for row in champions if _is_by(loaded, row)]
        beside = shadowed.filter(pc.equal(shadowed["symbol"], symbol)).to_pylist()
        aside = _with_novelty([row for row in beside if _is_by(loaded, row)], champions)
        result.scores += len(own) + len(aside)
        result.shadow += len(aside)
        result.undated += sum(not row.get("history_digest") for row in (*own, *aside))
        result.different += _differences(lake, loaded, symbol, own)
        result.different += [replace(one, is_shadow=True) for one in _differences(lake, loaded, symbol, aside)]
    if not result.scores:
        raise DataRejected(f"no score of that time has a part by {loaded.name} {loaded.version}")
    return result


def _is_by(loaded: LoadedModel, row: Row) -> bool:
    return dict(row["models"] or ()).get(loaded.name) == loaded.version


def _shadow_scores(lake: Lake, symbols: Sequence[str] | None, start: datetime, end: datetime) -> pa.Table:
    rows = lake.read(SHADOW_SCORES, symbols, start, end)
    return rows.filter(pc.equal(rows["interval"], SCORED))


def _with_novelty(shadowed: Sequence[Row], champions: Sequence[Row]) -> list[Row]:
    """Shadow scores with the novelty of their candle; those of older releases lack it, the champion's score has it."""
    known = {(row["opened_at"], row["revision"]): row["novelty"] for row in champions}
    return [
        row if row["novelty"] is not None else {**row, "novelty": known.get((row["opened_at"], row["revision"]))}
        for row in shadowed
    ]


def _differences(lake: Lake, loaded: LoadedModel, symbol: str, rows: Sequence[Row]) -> Iterator[Difference]:
    if not rows:
        return
    histories = _Histories(_candles(lake, symbol, rows), symbol)
    for row in rows:
        digest, at = row.get("history_digest") or "", micros(row["opened_at"])
        then = _stored_part(loaded.model.kind, row)
        found = histories.series(_oldest(row), at, row["revision"], int(digest, 16) if digest else None)
        if found is None:
            yield Difference(symbol, str(row["opened_at"]), "the lake has no such candle", then, {})
            continue
        series, is_proved = found
        now = _part_now(loaded, histories.memory, symbol, series, row)
        if why := _why(then == now, is_proved, bool(digest)):
            yield Difference(symbol, str(row["opened_at"]), why, then, now)


def _apart(one: Difference) -> str:
    """What of a part is another."""
    if not one.now:
        return ""
    names = [name for name in {**one.then, **one.now} if one.then.get(name) != one.now.get(name)]
    return "".join(f"; {name} {one.then.get(name)} then, {one.now.get(name)} now" for name in names)


def _why(is_equal: bool, is_proved: bool, is_dated: bool) -> str:
    """What is wrong with a score; nothing where its part is the same, of the same candles as far as that is said."""
    if is_equal and (is_proved or not is_dated):
        return ""
    if is_proved:
        return "of the same candles comes another result: another machine, other libraries, or another code"
    if is_dated:
        return "the lake's candles are not those that it was made of" + ("; its part is the same" if is_equal else "")
    return "it does not say which candles it was made of, and of those known then comes another result"


class _Histories:
    """The histories of one symbol's scores, in order of time, and what the model remembers from one to the next."""

    def __init__(self, candles: StoredCandles, symbol: str) -> None:
        self.candles, self.symbol = candles, symbol
        self.memory = Memory()
        self._rows: Places = np.empty(0, dtype=np.intp)
        self._edits = 0

    def series(self, first: int, newest: int, revision: int, digest: int | None) -> tuple[Series, bool] | None:
        """Return the candles that a score was made of, and whether these are the ones."""
        found = self.candles.history(first, newest, revision, digest)
        if found is None:
            return None
        rows = found.rows
        gone = len(self._rows) + 1 - len(rows)  # if it went on by one candle, so many left at its start
        if gone < 0 or not np.array_equal(self._rows[gone:], rows[:-1]):
            self._edits += 1
        self._rows = rows
        columns = dict(zip(COLUMNS, self.candles.values[:, rows], strict=True))
        return Series(self.candles.at[rows], columns, revision, self._edits), found.is_proved


def _oldest(row: Row) -> int:
    """When the oldest candle opened that a score was made of, µs; where it does not say, the oldest that any is made of."""
    said = row.get("history_from")
    return micros(said) if said else micros(row["opened_at"]) - (HISTORY - 1) * STEP_US


def _candles(lake: Lake, symbol: str, rows: Sequence[Row]) -> StoredCandles:
    """All revisions of the candles that some scores of a symbol may have been made of."""
    oldest = min(_oldest(row) for row in rows)
    newest = max(micros(row["opened_at"]) for row in rows)
    found = lake.read("candles", [symbol], utc(oldest), utc(newest + 1), columns=["symbol", *READ])
    return StoredCandles(found.filter(pc.equal(found["interval"], SCORED)))


def _part_now(loaded: LoadedModel, memory: Memory, symbol: str, series: Series, row: Mapping[str, Any]) -> Part:
    kind, cost = loaded.model.kind, row.get(COST)
    [made] = score(
        ModelSet(**{kind: loaded}), {symbol: series}, 0, memory, cost=COST_OF_BEFORE if cost is None else cost
    )
    if loaded.name not in made.models:
        return {"abstained": made.abstained}
    part = _part(kind, made if kind == "anomaly" else with_novelty(made, row["novelty"]))
    return {name: part[name] for name in _names(kind, row)}


def _part(kind: str, made: Score) -> Part:
    if kind == "forecast":
        return {"forecasts": [msgspec.structs.asdict(forecast) for forecast in made.forecasts]}
    if kind == "signal":
        assert made.signal is not None
        return {**msgspec.structs.asdict(made.signal), "reasons": list(made.reasons)}
    return {"risk": made.risk} if kind == "risk" else {"novelty": made.novelty}


def _stored_part(kind: str, row: Mapping[str, Any]) -> Part:
    return {name: row[name] for name in _names(kind, row)}


def _names(kind: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model of a kind said in a score: one of before the costs were said knew no more of the direction either."""
    if kind == "signal":
        return (*SIGNAL, *(SIGNAL_SINCE if row.get(COST) is not None else ()), "reasons")
    return {"forecast": ("forecasts",), "risk": ("risk",), "anomaly": ("novelty",)}[kind]
