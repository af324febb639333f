"""A lake by day becomes one by month: nothing is lost, whoever is killed or comes in between."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Broken, Misconfigured
from quantstream.core.time import DAY, MINUTE, SECOND, utc
from quantstream.lake import schemas, stored_states
from quantstream.lake.known_at import since_of
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, candle_rows
from quantstream.lake.store import Lake, Step, files_at
from quantstream.lake.upkeep import partitions
from quantstream.lake.upkeep.compaction import compact
from quantstream.lake.upkeep.evolution import migrate

T0 = 1_763_820_000 * SECOND  # 2025-11-22 14:00
SYMBOLS = ("BTCUSDT", "币安人生USDT", "ETHUSDT")
DAYS = 16  # in November and December
OLD_COLUMNS = [name for name in SCHEMAS["candles"].names if name != "month"]


def candle(symbol: str, at: int, revision: int = 0) -> Candle:
    first = (at - T0) // MINUTE
    two = 2 * UNIT
    return Candle(
        symbol, "5m", at, two, two + revision, two, two + revision, 1, 1, 1, 0, 0, first, first, True, revision
    )


def by_day(folder: Path) -> Lake:
    """Make a lake as versions before this one did: a commit a day, progress and a state beside it."""
    DeltaTable.create(
        f"{folder}/candles",
        schema=pa.schema([SCHEMAS["candles"].field(name) for name in OLD_COLUMNS]),
        partition_by=PARTITIONS,
    )
    for day in range(DAYS):
        at = T0 + day * DAY
        candles = [candle(symbol, at + turn * 5 * MINUTE) for symbol in SYMBOLS for turn in (1, 0)]
        candles += [candle("BTCUSDT", at, revision=1)] if day % 7 == 0 else []
        write_by_day(DeltaTable(f"{folder}/candles"), candles, day)
    lake = Lake(str(folder))
    stored_states.keep(files_at(f"{folder}/candles"), "sink/x/0", DAYS - 1, b"ids")
    return lake


def write_by_day(table: DeltaTable, candles: list[Candle], reached: int) -> None:
    rows = candle_rows(candles, known_at=[one.opened_at + 5 * MINUTE for one in candles])
    rows = rows.append_column("date", pa.array([utc(one.opened_at).date() for one in candles]))
    progress = CommitProperties(app_transactions=[Transaction("sink/x/0", reached)])
    write_deltalake(table, rows.select(OLD_COLUMNS), mode="append", commit_properties=progress)


def rows_of(lake: Lake, version: int | None = None) -> pa.Table:
    rows = lake.read("candles", version=version).select(OLD_COLUMNS)
    return rows.sort_by([(name, "ascending") for name in ("symbol", "opened_at", "revision")]).combine_chunks()


def test_every_row_progress_and_state_is_there_after_a_migration_and_so_is_every_version_of_before(
    tmp_path: Path,
) -> None:
    lake = by_day(tmp_path)
    before, version, extent = rows_of(lake), lake.version("candles"), lake.extent("candles")
    beats: list[int] = []
    said = migrate(lake, T0 + 60 * DAY, lambda: beats.append(1))
    assert len(beats) == 2 * len(SYMBOLS), "whoever watches sees it at work, file after file"
    assert said == [
        "candles: month was added",
        f"candles: {before.num_rows} rows are now partitioned by symbol and month",
    ]
    assert migrate(lake, T0 + 61 * DAY) == []
    assert rows_of(lake).equals(before)
    assert rows_of(lake, version).equals(before)
    assert lake.extent("candles") == extent
    assert lake.progress("candles", "sink/x/0") == DAYS - 1
    assert lake.state("candles", "sink/x/0", DAYS - 1) == b"ids"
    assert len(lake.table("candles").file_uris()) == 2 * len(SYMBOLS), "a file a symbol and month"
    at = T0 + DAYS * DAY
    lake.append("candles", candle_rows([candle("币安人生USDT", at)], known_at=[at]), {"sink/x/0": Step(DAYS - 1, DAYS)})
    compact(lake, "candles")
    assert rows_of(lake).num_rows == before.num_rows + 1
    assert lake.read("candles", ["币安人生USDT"], utc(at))["month"].to_pylist() == ["2025-12"]


def test_what_a_column_says_of_itself_stays(tmp_path: Path) -> None:
    lake = by_day(tmp_path)
    schema = SCHEMAS["candles"].remove(SCHEMAS["candles"].get_field_index("known_at"))
    old = tmp_path / "old"
    DeltaTable.create(f"{old}/candles", schema=schema.remove(schema.get_field_index("month")), partition_by=PARTITIONS)
    migrate(Lake(str(old)), T0)
    assert since_of(Lake(str(old)).table("candles")) == T0 + MINUTE
    assert since_of(lake.table("candles")) is None


KILLED = """
import os, signal, sys
from quantstream.lake.store import Lake
from quantstream.lake.upkeep import evolution, partitions

where, after = sys.argv[2], int(sys.argv[3])
real, calls = getattr(partitions, where), []

def killing(*arguments):
    if len(calls) == after:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    done = real(*arguments)
    if after < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(partitions, where, killing)
evolution.migrate(Lake(sys.argv[1]), 0)
"""


@pytest.mark.parametrize(
    ("where", "after", "is_done"),
    [
        ("_rewrite", 0, False),  # the column was added
        ("_write", 3, False),
        ("_prove", 0, False),  # all rows are written
        ("_exchange", 0, False),
        ("_exchange", -1, True),  # committed
    ],
)
def test_a_migration_that_is_killed_leaves_the_table_of_before_or_the_new_one(
    where: str, after: int, is_done: bool, tmp_path: Path
) -> None:
    lake = by_day(tmp_path)
    before = rows_of(lake)
    code = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), where, str(after)], check=False, timeout=120)
    assert code.returncode == -signal.SIGKILL
    assert rows_of(lake).equals(before), "whole, whichever it is"
    assert (lake.table("candles").metadata().partition_columns == ["symbol", "month"]) is is_done
    migrate(lake, T0)
    assert rows_of(lake).equals(before)
    assert lake.table("candles").metadata().partition_columns == ["symbol", "month"]


def test_writers_are_refused_while_a_table_is_migrated_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = by_day(tmp_path)
    early, before = DeltaTable(f"{tmp_path}/candles"), rows_of(lake)
    refused = []

    def meanwhile(act: Callable[[], None], kind: type[Exception], words: str) -> None:
        with pytest.raises(kind, match=words):
            act()
        refused.append(words)

    def rewriting(*arguments: object) -> int:
        new = candle("BTCUSDT", T0 + 90 * DAY)
        meanwhile(lambda: write_by_day(early, [new], DAYS), CommitFailedError, "[Mm]etadata")
        meanwhile(lambda: lake.append("candles", candle_rows([new], known_at=[0])), Misconfigured, "lake migrate")
        with monkeypatch.context() as older:
            older.setitem(
                schemas.SCHEMAS, "candles", pa.schema([SCHEMAS["candles"].field(name) for name in OLD_COLUMNS])
            )
            meanwhile(lambda: lake.append("candles", candle_rows([new], known_at=[0])), Misconfigured, "newer version")
        return real(*arguments)  # type: ignore[arg-type]

    real = partitions._rewrite
    monkeypatch.setattr(partitions, "_rewrite", rewriting)
    migrate(lake, T0)
    assert len(refused) == 3
    assert rows_of(lake).equals(before)


def test_of_two_migrations_the_later_one_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = by_day(tmp_path)
    before = rows_of(lake)
    real = partitions._exchange
    said = []

    def paused(*arguments: object) -> bool:
        monkeypatch.setattr(partitions, "_exchange", real)
        said.append(migrate(lake, T0))
        lake.append("candles", candle_rows([candle("BTCUSDT", T0 + 90 * DAY)], known_at=[0]))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(partitions, "_exchange", paused)
    said.append(migrate(lake, T0))
    assert said == [
        [f"candles: {before.num_rows} rows are now partitioned by symbol and month"],
        ["candles: month was added"],
    ]
    assert rows_of(lake).num_rows == before.num_rows + 1


def test_a_migration_that_would_lose_rows_changes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = by_day(tmp_path)
    before = rows_of(lake)
    real = partitions.ordered
    monkeypatch.setattr(partitions, "ordered", lambda name, rows: real(name, rows).slice(1))
    with pytest.raises(Broken, match=r"of BTCUSDT \d+ rows were written where the log says 35, .* nothing was changed"):
        migrate(lake, T0)
    assert rows_of(lake).equals(before)
    assert not list(tmp_path.rglob("*migrated*")), "what was written goes again"
