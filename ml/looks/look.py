"""One look at held-out data as a line of a chain: each line's hash includes that of the line before.

So a line that was removed or edited is found: the hash of the next one does not fit any more. A chain cannot tell of its own end,
so the number of the last line is kept beside it (`ml.looks.table`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from ml.data.dataset import Dataset, Rows
from quantstream.core.rolling import Floats
from quantstream.core.time import utc

BYTES = 16  # of a hash
PARTS, DIGITS = 16, 7


class Look(msgspec.Struct, frozen=True):
    """What was evaluated, on which rows, how, when, by whom. `candidate` tells what was tried from everything else tried."""

    looked_at: datetime  # our clock
    by: str  # a command, or a pipeline's run
    kind: str  # of the model
    candidate: str  # a registered name and version, or a digest of what came out
    role: str  # candidate, champion, reference, trial
    data: str  # where the rows are from, for a person
    data_hash: str  # of the rows: symbols, opening times, closes
    symbols: tuple[str, ...]
    first: datetime  # opening times of the first and the last candle that were judged
    last: datetime
    rows: int
    settings: str  # JSON
    code: str
    figures: str  # JSON: what was found
    number: int = 0  # from 1 on
    before: str = ""  # hash of the line before
    hash: str = ""

    def linked(self, number: int, before: str) -> Look:
        """Return it as the line of this number after the line of hash `before`."""
        line = msgspec.structs.replace(self, number=number, before=before)
        return msgspec.structs.replace(line, hash=line.digest())

    def digest(self) -> str:
        """Return the hash of all else that it says, the line before included."""
        said = msgspec.json.encode(
            {name: value for name, value in msgspec.structs.asdict(self).items() if name != "hash"}
        )
        return hashlib.blake2b(said, digest_size=BYTES).hexdigest()

    def shares_rows(self, other: Look) -> bool:
        """Tell whether two looks saw candles of the same symbol and time, be they the same rows or not."""
        overlaps = self.first <= other.last and other.first <= self.last
        return overlaps and not set(self.symbols).isdisjoint(other.symbols)


def faults(lines: Sequence[Look], newest: int | None) -> list[str]:
    """Say what is wrong with a chain; `newest` is the number that the last line must have, None where nobody knows."""
    found, before, number = list[str](), "", 0
    for line in lines:
        if line.number != number + 1:
            found.append(
                f"{_lines(number + 1, line.number - 1)} gone"
                if line.number > number
                else f"line {line.number} is there twice"
            )
        elif line.before != before:
            found.append(
                f"line {line.number} does not follow the line before it: one of the two is another than it was"
            )
        if line.hash != line.digest():
            found.append(f"line {line.number} was edited: its hash is of another text")
        before, number = line.hash, line.number
    if newest is not None and newest > number:
        found.append(f"{_lines(number + 1, newest)} gone")
    return found


def of_rows(data: Dataset, rows: Rows) -> dict[str, Any]:
    """Return what a look says of the rows it saw: hash, symbols, first, last, rows."""
    ordered, seen, names = np.sort(rows), hashlib.blake2b(digest_size=BYTES), list[str]()
    for name, (start, end) in zip(data.symbols, data.spans, strict=True):
        own = ordered[slice(*np.searchsorted(ordered, (start, end)))]
        if len(own):
            names.append(name)
            seen.update(name.encode())
            for values in (data.opened_at[own], np.asarray(data.close[own], dtype=np.float64)):
                seen.update(np.ascontiguousarray(values).tobytes())
    at = data.opened_at[ordered]
    first, last = (utc(int(one)) for one in (at.min(), at.max()))
    return {"data_hash": seen.hexdigest(), "symbols": tuple(names), "first": first, "last": last, "rows": len(rows)}


def came_out(losses: Mapping[str, Floats]) -> str:
    """Return a digest of losses, (rows,) each: trials with the same one are one candidate, whatever their code was called.

    It is of the means of `PARTS` parts to `DIGITS` digits: two machines' sums differ in the last ones.
    """
    seen = hashlib.blake2b(digest_size=BYTES // 2)
    for name, values in sorted(losses.items()):
        means = [float(part.mean()) for part in np.array_split(values, min(PARTS, len(values)) or 1)]
        seen.update(f"{name} {len(values)} {' '.join(f'{one:.{DIGITS}g}' for one in means)};".encode())
    return seen.hexdigest()


def _lines(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
