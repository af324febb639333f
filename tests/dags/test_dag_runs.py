"""The data DAGs, really run by Airflow, against a simulated exchange and a lake on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from infra.embedded.airflow.environment import DAGS, migrate_command
from infra.embedded.free_ports import free_port
from ml.promotion.decisions import Change, decisions_of
from quantstream.lake.quarantine import quarantine_of
from quantstream.lake.schemas import OUTCOMES
from quantstream.lake.store import Lake
from tests.unit.ml.conftest import serving
from tests.unit.ml.promotion.test_trials import outcome_rows

pytestmark = pytest.mark.stack  # half a minute of a core: an Airflow is imported and its database made
RISK = "quantstream-risk"
RUN = """
import json, os
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder={folder!r})
assert not bag.import_errors, bag.import_errors
outcomes = []
for dag, environment, conf in {runs!r}:
    os.environ.update(environment)
    run = bag.dags[dag].test(run_conf=conf)
    tasks = {{}}
    for task in run.get_task_instances():
        tasks[f"{{task.task_id}}[{{task.map_index}}]" if task.map_index >= 0 else task.task_id] = str(task.state)
    outcomes.append({{"run": str(run.state), "tasks": tasks}})
print()
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    """The simulated exchange's REST address."""
    command = [sys.executable, "-m", "streaming", "simulate", "--port", "0", "--symbols", "BTCUSDT,ETHUSDT"]
    with subprocess.Popen([*command, "--history-days", "4"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["rest"]
        process.terminate()


@dataclass(frozen=True)
class Runs:
    """What became of the DAGs' runs, in order, and the state folders they worked on."""

    history: Any
    validation: Any
    bad_validation: Any
    shared_history: Any
    archived: Any
    archived_state: Path
    shared_validation: Any
    promotion: Any
    nothing_to_promote: Any
    state: Path
    bad_state: Path


@pytest.fixture(scope="module")
def runs(home: Any, exchange: str, mlflow: str, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run the DAGs, all in one process, for an Airflow takes seconds to import."""
    state, bad_state = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("bad")
    first = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [candle("BTCUSDT", first + i * timedelta(minutes=5), high="0.5" if i == 7 else "2") for i in range(300)]
    rows += [candle("ETHUSDT", first + i * timedelta(minutes=5)) for i in range(10)]
    Lake(str(bad_state / "lake")).append("candles", pa.Table.from_pylist(rows))
    settings = {
        "QUANTSTREAM_HISTORY_DAYS": "2",
        "QUANTSTREAM_ENDPOINTS__REST": exchange,
        "QUANTSTREAM_ENDPOINTS__ARCHIVE": exchange,
    }
    good = {**settings, "QUANTSTREAM_STATE": str(state), "QUANTSTREAM_SYMBOLS": "BTCUSDT,NOPEUSDT,ETHUSDT"}
    bad = {**settings, "QUANTSTREAM_STATE": str(bad_state), "QUANTSTREAM_SYMBOLS": "BTCUSDT,ETHUSDT"}
    subprocess.run(migrate_command(), env={**os.environ, **home.environment}, check=True, capture_output=True)
    shared_good = {**good, "QUANTSTREAM_STATE": str(tmp_path_factory.mktemp("shared"))}
    archived = {**good, "QUANTSTREAM_STATE": str(tmp_path_factory.mktemp("archived"))}
    since = (datetime.now(UTC) - timedelta(days=3)).date()
    wanted = [
        ("history_backfill", good, {}),
        ("candles_validate", good, {}),
        ("candles_validate", bad, {}),
        ("history_backfill", shared_good, {"tasks": 1}),
        ("history_backfill", archived, {"tasks": 1, "since": str(since)}),
        ("candles_validate", bad, {"tasks": 1, "symbols": ["BTCUSDT", "ETHUSDT"]}),
        ("models_promote", promoting := _in_the_shadow(bad, mlflow), {}),
        ("models_promote", promoting, {}),
    ]
    found = home.python(RUN.format(folder=str(DAGS), runs=wanted))
    history, validation, bad_validation, shared_history, archive_run, shared_validation, promotion, nothing = found
    folder = Path(archived["QUANTSTREAM_STATE"])
    return Runs(
        *(history, validation, bad_validation, shared_history, archive_run),
        *(folder, shared_validation, promotion, nothing, state, bad_state),
    )


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry without models."""
    with serving(tmp_path_factory.mktemp("mlflow"), tmp_path_factory.mktemp("artifacts")) as url:
        yield url


def _in_the_shadow(settings: dict[str, str], url: str) -> dict[str, str]:
    """Have a champion and a challenger whose losses are known; return the settings of a pipeline that judges it."""
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    client.create_registered_model(RISK)
    for alias in ("champion", "challenger"):
        run = client.create_run("0").info
        version = client.create_model_version(RISK, f"{run.artifact_uri}/model", run.run_id).version
        client.set_registered_model_alias(RISK, alias, version)
    lake = Lake(f"{settings['QUANTSTREAM_STATE']}/lake")
    for role, number, loss in (("champion", "1", 0.3), ("challenger", "2", 0.2)):
        lake.append(OUTCOMES, outcome_rows(role, number, loss, windows=12))
    return {
        **settings,
        "QUANTSTREAM_MLFLOW": url,
        "QUANTSTREAM_SHADOW_CANDLES": "12",
        "QUANTSTREAM_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}",  # nobody answers: the promotion does not mind
    }


def test_an_unknown_symbol_turns_the_run_red_and_the_others_come_into_the_lake(runs: Runs) -> None:
    assert runs.history == {
        "run": "failed",
        "tasks": {
            "symbols": "success",
            "fetch[0]": "success",
            "fetch[1]": "failed",
            "fetch[2]": "success",
            "publish": "success",
            "report_failures": "failed",
        },
    }
    assert_whole(runs.state, days=2)


def assert_whole(state: Path, days: int) -> None:
    """Whole days ago and up to the time of the run, each window once."""
    rows = Lake(str(state / "lake")).read("candles")
    found = (
        rows.group_by("symbol").aggregate([("opened_at", "min"), ("opened_at", "max"), ("open", "count")]).to_pylist()
    )
    assert [row["symbol"] for row in found] == ["BTCUSDT", "ETHUSDT"]
    for row in found:
        first, last = row["opened_at_min"], row["opened_at_max"]
        assert (first.hour, first.minute) == (0, 0)
        assert timedelta(days=days) <= last - first + timedelta(minutes=5) < timedelta(days=days + 1, minutes=10)
        assert row["open_count"] == (last - first) // timedelta(minutes=5) + 1


def test_the_archives_history_comes_in_one_command_and_an_unknown_symbol_is_named(runs: Runs) -> None:
    assert (runs.archived["run"], runs.archived["tasks"]["fetch[0]"]) == ("failed", "failed")
    assert_whole(runs.archived_state, days=3)


def test_good_history_is_fit_to_learn_from_and_a_symbol_without_any_is_skipped(runs: Runs) -> None:
    assert runs.validation == {
        "run": "success",
        "tasks": {
            "symbols": "success",
            "check[0]": "success",
            "check[1]": "skipped",
            "check[2]": "success",
            "publish": "success",
            "report_failures": "skipped",
        },
    }
    docs = sorted(path.name for path in (runs.state / "data_docs" / "candles").iterdir())
    assert docs == ["BTCUSDT", "ETHUSDT", "NOPEUSDT"]
    assert (runs.state / "data_docs" / "index.html").exists()
    assert Lake(str(runs.state / "lake")).held("candles") == frozenset()


def test_bad_candles_turn_the_run_red_and_nothing_is_published(runs: Runs) -> None:
    assert runs.bad_validation == {
        "run": "failed",
        "tasks": {
            "symbols": "success",
            "check[0]": "failed",
            "check[1]": "failed",
            "publish": "skipped",
            "report_failures": "failed",
        },
    }
    held = quarantine_of(Lake(str(runs.bad_state / "lake"))).held("candles", "BTCUSDT")
    assert {str(one.day) for one in held} == {"2026-01-01", "2026-01-02"}  # a wrong high, and a day cut short
    assert any("`high, open` failed (1 row, " in one.reason for one in held)


def test_symbols_that_share_a_task_share_no_trouble(runs: Runs) -> None:
    assert runs.shared_history == {
        "run": "failed",  # for NOPEUSDT
        "tasks": {"symbols": "success", "fetch[0]": "failed", "publish": "success", "report_failures": "failed"},
    }
    assert runs.shared_validation == {
        "run": "success",  # what was found is known by now, and what is left is too little
        "tasks": {"symbols": "success", "check[0]": "skipped", "publish": "skipped", "report_failures": "skipped"},
    }


def test_a_challenger_that_was_no_worse_is_promoted_by_the_pipeline_and_the_next_run_finds_nothing_to_do(
    runs: Runs,
) -> None:
    assert runs.promotion == {
        "run": "success",
        "tasks": {"judge": "success", "whom": "success", "ask": "skipped", "act": "success"},
    }
    done = decisions_of(Lake(str(runs.bad_state / "lake")), RISK)
    assert [(one.change, one.version, one.before) for one in done] == [
        (Change.FOUND, "1", ""),
        (Change.CHALLENGER, "2", "1"),
        (Change.PROMOTED, "2", "1"),
    ]
    assert done[-1].by.startswith("models_promote ")
    assert runs.nothing_to_promote == {
        "run": "success",
        "tasks": {"judge": "success", "whom": "success", "ask": "skipped", "act": "skipped"},
    }


def candle(symbol: str, at: datetime, high: str = "2") -> dict[str, Any]:
    """Return a row of the lake's candles."""
    one, zero = Decimal(1), Decimal(0)
    return {
        "symbol": symbol,
        "interval": "5m",
        "opened_at": at,
        "open": one,
        "high": Decimal(high),
        "low": Decimal("0.25"),
        "close": one,
        "volume": one,
        "quote_volume": one,
        "trade_count": 1,
        "taker_buy_volume": zero,
        "taker_buy_quote_volume": zero,
        "first_trade_id": -1,
        "last_trade_id": -1,
        "is_complete": True,
        "revision": 0,
        "source": "klines",
        "known_at": at + timedelta(minutes=5),
    }
