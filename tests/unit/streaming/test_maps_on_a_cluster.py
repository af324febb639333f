"""Backfill, validation, verification and compaction on a Dask cluster of two workers come to what they do in the process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml.validation.pipeline import validate_each
from quantstream import engine
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.compaction import compact
from quantstream.setting_groups import Endpoints
from quantstream.settings import Settings
from streaming.backfill import cli as backfill
from streaming.reconcile import cli as reconcile

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SWAPPED = 8 * 288 + 150  # which candle of BTCUSDT has its high and low swapped in the lake
OURS = ("checked_at", "run", "data_docs", "table_version")  # of a report: when and where, not what


@dataclass
class Done:
    """What became of all steps over one lake."""

    codes: list[int]
    backfilled: dict[str, pa.Table]
    trades: pa.Table
    proof: dict[str, Any]
    reports: list[dict[str, Any]]
    merged: dict[str, int]
    compacted: pa.Table
    bad_symbol: int
    on_workers: int  # items


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    command = [sys.executable, "-m", "streaming", "simulate", "--symbols", ",".join(SYMBOLS), "--history-days", "12"]
    command += ["--start-at", "2026-01-01T00:10:00Z", "--trades-per-second", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["rest"]
        process.terminate()


@pytest.fixture(scope="module")
def both(exchange: str, dask_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Done]:
    found = []
    for dask in ("", dask_cluster):
        state = tmp_path_factory.mktemp("state")
        endpoints = Endpoints(rest=exchange, archive=exchange)
        submitted, count = engine._submitted, list[Any]()

        def counted(client: Any, work: Any, items: Any, count: list[Any] = count, submitted: Any = submitted) -> Any:
            for one in submitted(client, work, items):
                count.append(one)
                yield one

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_submitted", counted)
            done = _done(Settings(symbols=SYMBOLS, state=state, dask=dask, endpoints=endpoints))
        found.append(replace(done, on_workers=len(count)))
    return found[0], found[1]


def _done(settings: Settings) -> Done:
    lake = Lake(settings.lake_url)
    codes = [_backfill(settings, "--kind", "trades", "--from", "2025-12-30")]
    trades = lake.read("trades", SYMBOLS)
    codes.append(_backfill(settings, "--from", "2025-12-22"))
    backfilled = {symbol: _rows(lake, symbol) for symbol in SYMBOLS}
    bad_symbol = _backfill(settings, "--from", "2025-12-22", "--symbols", "NOPEUSDT")
    merged = compact(lake, "candles", timedelta(days=7), settings.dask)
    compacted = pa.concat_tables([_rows(lake, symbol) for symbol in SYMBOLS])
    wrong = lake.read("candles", ["BTCUSDT"]).sort_by("opened_at").slice(SWAPPED, 1)
    high, low = wrong["low"], wrong["high"]
    wrong = wrong.set_column(wrong.column_names.index("high"), "high", high)
    wrong = wrong.set_column(wrong.column_names.index("low"), "low", low)
    wrong = wrong.set_column(wrong.column_names.index("revision"), "revision", pa.array([1], pa.int32()))
    lake.append("candles", wrong.drop_columns([name for name in ("date", "month") if name in wrong.column_names]))
    proof, reports = _verify(settings), []
    for one in validate_each(settings, SYMBOLS, ["candles", "trades"], "test"):
        assert one.error is None
        reports += [
            {name: value for name, value in asdict(report).items() if name not in OURS} for report in one.result or ()
        ]
    reports.sort(key=lambda report: (report["symbol"], report["table"]))
    return Done(codes, backfilled, trades, proof, reports, merged, compacted, bad_symbol, 0)


def _backfill(settings: Settings, *given: str) -> int:
    return backfill.main([*given, "--to", "2026-01-01", "--json"], settings_of=lambda _: settings)


def _verify(settings: Settings) -> dict[str, Any]:
    given = reconcile._parser("verify", "").parse_args(["--from", "2025-12-29T00:00:00Z"])
    proof = reconcile._proof(settings, given)
    return {"exit": proof.exit_code, **json.loads(proof.as_json())}


def _rows(lake: Lake, symbol: str) -> pa.Table:
    rows = lake.read("candles", [symbol])
    assert pc.all(pc.is_valid(rows["known_at"])).as_py()
    return rows.drop_columns(["known_at"]).sort_by([("opened_at", "ascending"), ("revision", "ascending")])


def test_backfilled_candles_and_trades_are_the_same(both: tuple[Done, Done]) -> None:
    here, there = both
    assert here.codes == there.codes == [0, 0]
    assert {symbol: rows.num_rows for symbol, rows in there.backfilled.items()} == dict.fromkeys(SYMBOLS, 10 * 288)
    assert all(here.backfilled[symbol].equals(there.backfilled[symbol]) for symbol in SYMBOLS)
    order = [("symbol", "ascending"), ("id", "ascending")]
    columns = [name for name in here.trades.column_names if name != "received_at"]
    assert here.trades.num_rows > 10_000
    assert here.trades.select(columns).sort_by(order).equals(there.trades.select(columns).sort_by(order))


def test_each_step_is_done_by_the_workers(both: tuple[Done, Done]) -> None:
    here, there = both
    symbols_of_steps = 4 * len(SYMBOLS) + 1  # trades, klines, validation, proof; the symbol that nobody knows
    assert (here.on_workers, there.on_workers) == (0, symbols_of_steps + there.merged["files_added"])


def test_a_symbol_that_nobody_knows_is_told_alike(both: tuple[Done, Done]) -> None:
    assert both[0].bad_symbol == both[1].bad_symbol == 3


def test_compaction_merges_the_same_files_and_no_row_is_lost(both: tuple[Done, Done]) -> None:
    here, there = both
    assert here.merged == there.merged
    assert there.merged["files_removed"] > there.merged["files_added"] > 0
    assert there.compacted.equals(pa.concat_tables(there.backfilled.values()))


def test_validation_finds_and_holds_the_same_days(both: tuple[Done, Done]) -> None:
    here, there = both
    assert here.reports == there.reports
    assert {one["symbol"] for one in there.reports if one["newly_held"]} == {"BTCUSDT"}


def test_the_proof_says_the_same_of_each_symbol(both: tuple[Done, Done]) -> None:
    here, there = both
    assert here.proof == there.proof
    assert there.proof["exit"] == 1, "the candle that was swapped differs"
    assert [one["symbol"] for one in there.proof["symbols"]] == list(SYMBOLS)
