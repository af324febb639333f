"""Two thousand symbols are a hundred tasks: counted by the real Airflow, which runs one such pipeline to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.embedded.airflow.environment import DAGS, migrate_command
from ml.data.symbol_batches import MOST_TASKS
from quantstream.lake.store import Lake
from tests.dags.test_dag_runs import candle

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
SYMBOLS = 2_000
WITH_CANDLES = ("S0007USDT", "S1999USDT")
RUN = """
import json, os
from collections import Counter
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder={folder!r})
assert not bag.import_errors, bag.import_errors
outcomes = []
for dag, conf, marked in {runs!r}:
    run = bag.dags[dag].test(run_conf=conf, mark_success_pattern=marked)
    mapped = Counter(str(task.state) for task in run.get_task_instances() if task.map_index >= 0)
    others = {{task.task_id: str(task.state) for task in run.get_task_instances() if task.map_index < 0}}
    outcomes.append({{"run": str(run.state), "mapped": mapped, "others": others}})
print()
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    """The address of a simulated exchange: a gate asks each symbol's check what time it is there."""
    command = [sys.executable, "-m", "streaming", "simulate", "--symbols", "BTCUSDT", "--history-days", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["rest"]
        process.terminate()


@pytest.fixture(scope="module")
def found(home: Any, exchange: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What became of a backfill whose tasks are counted and not run, and of a validation that is run."""
    state = tmp_path_factory.mktemp("many")
    first = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [candle(symbol, first + i * timedelta(minutes=5)) for symbol in WITH_CANDLES for i in range(12)]
    Lake(str(state / "lake")).append("candles", pa.Table.from_pylist(rows))
    symbols = ",".join(f"S{number:04d}USDT" for number in range(SYMBOLS))
    own = {"QUANTSTREAM_STATE": str(state), "QUANTSTREAM_SYMBOLS": symbols, "QUANTSTREAM_ENDPOINTS__REST": exchange}
    subprocess.run(migrate_command(), env={**os.environ, **home.environment}, check=True, capture_output=True)
    wanted = [("history_backfill", {}, "fetch"), ("candles_validate", {"tables": ["trades"]}, None)]
    return {"outcomes": home.python(RUN.format(folder=str(DAGS), runs=wanted), 840, **own), "state": state}


def test_a_backfill_of_two_thousand_symbols_is_a_hundred_tasks(found: Any) -> None:
    assert found["outcomes"][0]["mapped"] == {"success": MOST_TASKS}
    assert MOST_TASKS == 100


def test_a_validation_of_two_thousand_symbols_runs_to_its_end_in_a_hundred_tasks(found: Any) -> None:
    validation = found["outcomes"][1]
    assert (validation["run"], validation["mapped"]) == ("success", {"skipped": MOST_TASKS})
    assert validation["others"] == {"symbols": "success", "publish": "skipped", "report_failures": "skipped"}
    assert (Path(found["state"]) / "data_docs" / "index.html").is_file()
