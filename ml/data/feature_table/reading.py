"""A version of the table `features` as a dataset, with its lineage: small ones in memory, of large ones what is asked for.

Every part's rows are held against the checksum that it was written with, so that what is read is what was made, or nothing is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml.data.dataset import Dataset
from ml.data.disk_rows import Columns, DiskRows, Scratch, bits_of
from ml.data.feature_table.columns import DATA, EXACT, IN_MEMORY, INDEX, LABELS, TABLE, made_by
from ml.data.feature_table.months import month_at
from ml.data.feature_table.parts import rows_hash
from quantstream import features
from quantstream.core.errors import Broken, DataRejected, Misconfigured
from quantstream.lake import partition_files
from quantstream.lake.partition_files import Made, Part
from quantstream.lake.store import Lake

WIDTH = len(features.NAMES)
KINDS: dict[str, np.dtype[Any]] = {
    "symbol": np.dtype(np.int32),
    "opened_at": np.dtype(np.int64),
    **dict.fromkeys(INDEX[1:], np.dtype(np.float64)),
}


@dataclass(frozen=True)
class Lineage:
    """What a training learnt from: enough to read the same rows again, and to see that they are the same."""

    table: str
    version: int
    rows: int
    rows_hash: str  # of all parts' checksums
    made_by: str  # definitions of features and labels
    candles_versions: tuple[int, int]  # of the table `candles`: the oldest and the newest that a part was made of
    corrected: int  # parts in which candles are of a later revision than the first
    parts: dict[str, list[str]]  # symbol → months

    def tags(self) -> dict[str, str]:
        """Return what a search over runs goes by."""
        return {
            "features_table": self.table,
            "features_version": str(self.version),
            "features_rows": str(self.rows),
            "features_hash": self.rows_hash,
            "lake_version": str(self.candles_versions[1]),
        }

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(self.__dict__)


def load(
    lake: Lake, scratch: Path, version: int | None = None, trailing: int = features.MONTH, most: int = IN_MEMORY
) -> tuple[Dataset, Lineage]:
    """Return the rows of a version, the newest without one, and where they come from; of more than `most` rows
    features are read as they are asked for, and `scratch` holds the rest.

    Raises: DataRejected when there are none, Misconfigured for a version that is gone or was made by other definitions, Broken
    for rows that are not those that were written, Unavailable.
    """
    made = partition_files.made(lake, TABLE, version)
    if made is None or not made.parts:
        raise DataRejected(
            "there are no features to learn from; `python -m ml features build` makes them of the lake's candles"
        )
    precision = made.kinds.get(features.NAMES[0], EXACT)
    if others := {str(part.facts["made_by"]) for part in made.parts.values()} - {made_by(trailing, precision)}:
        raise Misconfigured(
            f"features version {made.version} was made by {', '.join(sorted(others))}, this process computes "
            f"{made_by(trailing, precision)}: `python -m ml features build` makes a version of today's definitions"
        )
    parts = [made.parts[key] for key in sorted(made.parts)]
    lineage = _lineage(lake, made, parts)
    symbols = tuple(lineage.parts)
    if lineage.rows <= most:
        return _in_memory(lake, parts, symbols), lineage
    return _on_disk(lake, parts, symbols, scratch), lineage


def load_some(lake: Lake, version: int, symbols: Sequence[str], start: int, end: int) -> Dataset:
    """Return a version's rows of some symbols, of the months that reach into `[start, end)` (µs), in memory.

    Raises: DataRejected when there are none, Misconfigured for a version that is gone, Broken as `load` does, Unavailable.
    """
    made = partition_files.made(lake, TABLE, version)
    first, last = month_at(start), month_at(end - 1)
    found = sorted(made.parts) if made is not None else []
    keys = [key for key in found if key[0] in symbols and first <= key[1] <= last]
    if made is None or not keys:
        raise DataRejected(f"features version {version} has no rows of {', '.join(symbols)} in {first} to {last}")
    return _in_memory(lake, [made.parts[key] for key in keys], tuple(dict.fromkeys(key[0] for key in keys)))


def _lineage(lake: Lake, made: Made, parts: Sequence[Part]) -> Lineage:
    months: dict[str, list[str]] = {}
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        months.setdefault(part.key[0], []).append(part.key[1])
        digest.update(f"{'/'.join(part.key)} {part.rows} {part.facts['rows_hash']}\n".encode())
    versions = [int(part.facts["candles_version"]) for part in parts]
    return Lineage(
        table=f"{lake.url}/{TABLE}",
        version=made.version,
        rows=sum(part.rows for part in parts),
        rows_hash=digest.hexdigest(),
        made_by=str(parts[0].facts["made_by"]),
        candles_versions=(min(versions), max(versions)),
        corrected=sum(int(part.facts["revision"]) > 0 for part in parts),
        parts=months,
    )


def _in_memory(lake: Lake, parts: Sequence[Part], symbols: tuple[str, ...]) -> Dataset:
    columns: dict[str, list[Any]] = {}
    matrix, at = np.empty((sum(part.rows for part in parts), WIDTH)), 0
    for part in parts:
        rows = _rows(lake, part)
        for name, values in _index(rows, symbols.index(part.key[0])).items():
            columns.setdefault(name, []).append(values)
        matrix[at : at + part.rows] = _matrix(rows)
        at += part.rows
    whole = {name: np.concatenate(values) for name, values in columns.items()}
    return _dataset(symbols, whole, matrix)


def _on_disk(lake: Lake, parts: Sequence[Part], symbols: tuple[str, ...], folder: Path) -> Dataset:
    """What is asked of every row is copied to scratch; features stay where they are until rows of theirs are asked for."""
    words = bits_of(np.zeros((1, WIDTH))).shape[1]
    edges = np.cumsum([0, *(part.rows for part in parts)], dtype=np.intp)
    scratch = Scratch(folder, int(edges[-1]) * (sum(one.itemsize for one in KINDS.values()) + words * 8))
    numbers = {symbol: i for i, symbol in enumerate(symbols)}
    for part in parts:
        rows = _rows(lake, part)
        for name, values in _index(rows, numbers[part.key[0]]).items():
            scratch.append(name, values)
        scratch.append("finite", bits_of(_matrix(rows)))
    whole = {name: scratch.array(name, one) for name, one in KINDS.items()}

    def read(number: int, places: Columns) -> list[npt.NDArray[np.floating[Any]]]:
        return _columns(lake, parts[number], places)

    return _dataset(symbols, whole, DiskRows(edges, read, scratch.array("finite", np.uint64, words)))


def _columns(lake: Lake, part: Part, places: Columns) -> list[npt.NDArray[np.floating[Any]]]:
    names = [features.NAMES[place] for place in places]
    rows = partition_files.read_part(lake, TABLE, part, names)
    return [rows[name].to_numpy() for name in names]


def _dataset(symbols: tuple[str, ...], columns: dict[str, Any], matrix: Any) -> Dataset:
    found = {name: columns[name] for name in LABELS}
    return Dataset(symbols, columns["symbol"], columns["opened_at"], columns["close"], matrix, found)


def _rows(lake: Lake, part: Part) -> pa.Table:
    rows = partition_files.read_part(lake, TABLE, part, DATA)
    if rows.num_rows != part.rows or rows_hash(rows) != part.facts["rows_hash"]:
        raise Broken(
            f"{TABLE}/{part.path} does not hold the rows that were written into it; remove the table's folder and run "
            "`python -m ml features build`, the candles are all that it takes"
        )
    return rows


def _index(rows: pa.Table, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "symbol": np.full(rows.num_rows, number, KINDS["symbol"]),
        "opened_at": rows["opened_at"].cast(pa.int64()).to_numpy(),
    }
    return {**found, **{name: rows[name].to_numpy() for name in INDEX[1:]}}


def _matrix(rows: pa.Table) -> Any:
    return np.stack([rows[name].to_numpy() for name in features.NAMES], axis=1)
