"""What every DAG of this project must be, whatever it does."""

from __future__ import annotations

from typing import Any

import pytest

from infra.embedded.airflow.environment import DAGS

HEAVY = (
    "great_expectations",
    "mlflow",
    "pandas",
    "pyarrow",
    "deltalake",
    "sklearn",
    "tensorflow",
    "xgboost",
    "ml",
    "quantstream",
)
PARSE = f"""
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from airflow._shared.timezones.timezone import utcnow
before = set(sys.modules)
bag = DagBag(dag_folder={str(DAGS)!r})
def is_due(timetable):
    # whether an Airflow that never ran it would run it now
    found = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False))
    return found is not None and found.run_after <= utcnow()
def facts(dag):
    return {{
        "file": Path(dag.fileloc).name,
        "owner": dag.owner,
        "doc": dag.doc_md or "",
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "retries": {{task.task_id: task.retries for task in dag.tasks}},
        "timeouts": {{task.task_id: task.execution_timeout is not None for task in dag.tasks}},
        "start_date": str(dag.start_date),
        "starts_at_once": is_due(DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable),
        "inlets": sorted(asset.name for asset in getattr(getattr(dag.timetable, "asset_condition", None), "objects", [])),
        "outlets": sorted(asset.name for task in dag.tasks for asset in task.outlets),
    }}
print()
print(json.dumps({{
    "errors": {{Path(name).name: text for name, text in bag.import_errors.items()}},
    "heavy": sorted(name for name in {HEAVY!r} if name in sys.modules and name not in before),
    "dags": {{dag_id: facts(dag) for dag_id, dag in bag.dags.items()}},
}}))
"""


@pytest.fixture(scope="module")
def parsed(home: Any) -> Any:
    return home.python(PARSE)


@pytest.fixture(scope="module")
def dags(parsed: Any) -> dict[str, Any]:
    return dict(parsed["dags"])


def test_every_file_is_read_without_an_error(parsed: Any) -> None:
    assert parsed["errors"] == {}


def test_reading_the_files_imports_nothing_heavy_and_none_of_our_packages(parsed: Any) -> None:
    assert parsed["heavy"] == []


def test_one_dag_a_file_and_it_bears_the_name_of_the_file(dags: dict[str, Any]) -> None:
    files = sorted(path.name for path in DAGS.glob("[a-z]*.py"))
    assert sorted(dag["file"] for dag in dags.values()) == files
    assert {dag_id: dag["file"] for dag_id, dag in dags.items()} == {dag_id: f"{dag_id}.py" for dag_id in dags}


def test_the_dags_are_these(dags: dict[str, Any]) -> None:
    assert sorted(dags) == [
        "candles_repair",
        "candles_validate",
        "candles_verify",
        "history_backfill",
        "instruments_watch",
        "lake_compact",
        "models_monitor",
        "models_promote",
        "models_train",
        "models_watch",
    ]


def test_every_dag_has_an_owner_tags_and_says_what_to_do_when_it_is_red(dags: dict[str, Any]) -> None:
    assert {dag_id for dag_id, dag in dags.items() if dag["owner"] in ("", "airflow")} == set()
    assert {dag_id for dag_id, dag in dags.items() if not dag["tags"]} == set()
    assert {dag_id for dag_id, dag in dags.items() if "**When it is red.**" not in dag["doc"]} == set()


def test_every_task_has_a_time_limit_and_tries_again_unless_it_only_reports(dags: dict[str, Any]) -> None:
    tries = {f"{dag_id}.{name}": n for dag_id, dag in dags.items() for name, n in dag["retries"].items()}
    assert {name for name, n in tries.items() if n < 1} == {
        "candles_validate.report_failures",
        "history_backfill.report_failures",
    }
    assert {
        f"{dag_id}.{name}" for dag_id, dag in dags.items() for name, has in dag["timeouts"].items() if not has
    } == set()


def test_no_dag_catches_up_or_overtakes_itself(dags: dict[str, Any]) -> None:
    assert {dag_id: (dag["catchup"], dag["max_active_runs"]) for dag_id, dag in dags.items()} == dict.fromkeys(
        dags, (False, 1)
    )


def test_a_want_of_models_leads_to_history_leads_to_validation_leads_to_training(dags: dict[str, Any]) -> None:
    assert {
        dag_id: (dag["inlets"], dag["outlets"]) for dag_id, dag in dags.items() if dag["inlets"] or dag["outlets"]
    } == {
        "models_watch": ([], ["models_wanted"]),
        "models_monitor": ([], ["models_wanted"]),
        "history_backfill": (["models_wanted"], ["candles_history"]),
        "candles_validate": (["candles_history"], ["candles_validated"]),
        "models_train": (["candles_validated"], []),
    }


def test_a_new_airflow_looks_for_models_at_once_and_does_the_rest_at_its_time(dags: dict[str, Any]) -> None:
    assert {dag_id for dag_id, dag in dags.items() if dag["starts_at_once"]} == {"models_watch"}


def test_the_chain_that_is_watched_is_the_chain_that_there_is(dags: dict[str, Any]) -> None:
    for asker in ("models_watch", "models_monitor"):
        chain = [dag_id for dag_id in dags if f'"{dag_id}"' in (DAGS / f"{asker}.py").read_text()]
        assert sorted(chain) == sorted({dag_id for dag_id, dag in dags.items() if dag["inlets"]} | {asker})


def test_the_models_offered_are_those_that_can_be_trained() -> None:
    from quantstream.messages.models import MODEL_KINDS

    assert f"MODELS = {list(MODEL_KINDS)}".replace("'", '"') in (DAGS / "models_train.py").read_text()
