"""`quantstream sql`: the lake's tables in DuckDB, read-only: nothing else of this machine can be read, nothing written.

Tables are Arrow datasets of one version of each table's log, so DuckDB needs no extension (those are downloaded). `candles` are
the newest revisions, days in quarantine left out of it and of `trades` and `scores`; `candles_all` and so on hold all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.lake.known_at import since_of
from quantstream.lake.schemas import KNOWN_AT, QUARANTINED, SCHEMAS
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import TableFiles

ALL = "_all"  # how the names end of tables with every row that is stored
AT_ONCE = 32_768  # rows
SENTENCE = 400  # characters of what DuckDB says
SCAN = "reading the stream registered as"  # how DuckDB begins to say that a file of ours could not be read
READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
NEWEST = "row_number() over (partition by symbol, interval, opened_at order by revision desc, is_complete desc) = 1"


@contextmanager
def answer(
    lake: Lake, query: str, versions: Mapping[str, int] | None = None, as_of: datetime | None = None
) -> Iterator[pa.RecordBatchReader]:
    """Give the rows that a query returns, batch by batch; `versions` of tables, the newest where none is named.

    `as_of` leaves out what became known later; only tables that keep that can be asked then. Raises: Misconfigured for a query
    that is wrong or does more than read; DataRejected as `Lake.table_at` does; Unavailable.
    """
    there = _tables(lake, versions or {}, as_of)
    with TemporaryDirectory(prefix="quantstream-sql-") as spilled, duckdb.connect() as connection:
        with _asking(there):
            connection.execute("set temp_directory = ?", [spilled])
            connection.execute("set timezone = 'UTC'")
            connection.execute("set enable_external_access = false")
            _check(connection, query)
            for name in _named(connection, query, there):
                _open(connection, lake, name, (versions or {}).get(name), as_of)
            connection.execute("set lock_configuration = true")
            reader = connection.sql(query).to_arrow_reader(AT_ONCE)
        yield pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, there))


def _tables(lake: Lake, versions: Mapping[str, int], as_of: datetime | None) -> list[str]:
    if unknown := [name for name in versions if name not in SCHEMAS]:
        raise Misconfigured(f"{unknown[0]!r} is no table of the lake; there are {', '.join(SCHEMAS)}")
    there = [name for name in SCHEMAS if lake.has(name)]
    if not there:
        raise Misconfigured(f"there is no lake at {lake.url}; start with `quantstream up` or `quantstream backfill`")
    return [name for name in there if as_of is None or KNOWN_AT in SCHEMAS[name].names]


def _check(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type not in READS:
        raise Misconfigured(
            "one query that reads, please: select …, from …, with …, describe …, summarize … or explain …"
        )


def _named(connection: duckdb.DuckDBPyConnection, query: str, there: list[str]) -> list[str]:
    """Return the tables that a query names; all where it names none, for it may ask which there are."""
    named = {name.lower().removesuffix(ALL) for name in connection.get_table_names(query)}
    return [name for name in there if name in named] or ([] if named else there)


def _open(
    connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, version: int | None, as_of: datetime | None
) -> None:
    table = lake.table_at(name, version)
    is_by_symbol = "symbol" in table.metadata().partition_columns
    data = TableFiles(table).passing([]) if is_by_symbol else table.to_pyarrow_dataset()
    connection.register(f"{name}_stored", data)
    condition = "" if as_of is None else f" where {_known(name, table, as_of)}"
    connection.execute(f"create view {name}{ALL} as select * from {name}_stored{condition}")
    newest = f" qualify {NEWEST}" if name == "candles" else ""
    connection.execute(
        f"create view {name} as select * from {name}{ALL}{_not_held(connection, lake, name, as_of)}{newest}"
    )


def _known(name: str, table: object, as_of: datetime) -> str:
    """Return the condition that a row was known; of rows that do not say the question fails, as `known_at` has it."""
    at = f"timestamptz '{as_of.isoformat()}'"
    known = f"coalesce({KNOWN_AT}, scored_at)" if name == "scores" else KNOWN_AT
    since = since_of(table)
    if since is not None and name != "scores":
        known = f"coalesce({known}, make_timestamptz({since}))" if as_of.timestamp() * 1e6 >= since else known
    reason = (
        f"of some {name} asked for the lake does not say when they became known; ask for a later time or a later range"
    )
    return f"case when {known} is null then error('{reason}')::bool else {known} <= {at} end"


def _not_held(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, as_of: datetime | None) -> str:
    held = sorted(lake.held(name, as_of)) if name in QUARANTINED else []
    if not held:
        return ""
    symbols, days = zip(*held, strict=True)
    connection.register(f"{name}_held", pa.table({"symbol": symbols, "date": pa.array(days, pa.date32())}))
    return f" where (symbol, date) not in (select (symbol, date) from {name}_held)"


def _batches(reader: pa.RecordBatchReader, there: list[str]) -> Iterator[pa.RecordBatch]:
    with _asking(there):
        yield from reader


@contextmanager
def _asking(there: list[str]) -> Iterator[None]:
    try:
        yield
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise Misconfigured(
            f"{_sentence(error)}; there are the tables {', '.join(there)}, and each as …{ALL}"
        ) from error
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        raise Unavailable(f"the lake's tables cannot be read: {_sentence(error)}") from error
    except duckdb.Error as error:
        if SCAN in str(error):
            raise Unavailable(f"the lake's tables cannot be read: {_sentence(error)}") from error
        raise Misconfigured(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    """Return what DuckDB says, in one line, without the query drawn below it."""
    said = str(error).split("\n\nLINE ")[0].split("\nLINE ")[0].split("\nDid you mean")[0]
    return " ".join(said.split())[:SENTENCE].rstrip(".!")
