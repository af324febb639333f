"""The whole path in pods: exchange → ingest → aggregate → sink and lake → Airflow's training → champion → score → page."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from infra.embedded.airflow.environment import DAGS
from tests.infra.manifests import pod, space
from tests.infra.pods.conftest import System
from tests.infra.pods.flow import read, records
from tests.infra.pods.trainings import failures, newest, until_trained, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(2700)]
KINDS = {"quantstream-forecast", "quantstream-signal", "quantstream-risk", "quantstream-anomaly"}


def test_trades_become_candles(system: System) -> None:
    assert records(system, "market.trades.v1") > 0
    assert records(system, "market.candles.v1") > 0


def test_airflow_reads_every_pipeline(system: System) -> None:
    pipelines = {file.stem for file in DAGS.glob("[a-z]*.py")}
    wait_for(lambda: set(system.airflow.dag_ids()) == pipelines, 300, lambda: str(system.airflow.import_errors()))
    assert system.airflow.import_errors() == {}


def test_a_new_system_asks_for_its_first_models_by_itself(system: System) -> None:
    wait_for(lambda: newest(system, "history_backfill"), 600, lambda: failures(system))
    wait_for(lambda: system.airflow.runs("models_watch")[-1].is_finished, 120, lambda: failures(system))
    watched = system.airflow.runs("models_watch")[-1]
    assert (watched.kind, watched.state) == ("scheduled", "success"), failures(system)
    assert {run.kind for run in system.airflow.runs("history_backfill")} == {"asset_triggered"}


def test_a_task_of_airflow_in_a_pod_of_its_own_trains_the_champions(system: System) -> None:
    run = until_trained(system)
    tasks = {task.label: task.state for task in system.airflow.tasks("models_train", run.run_id)}
    print(tasks)
    assert run.state == "success", failures(system)
    made = [one for one in system.kubelet.made.values() if one["metadata"]["annotations"]["dag_id"] == "models_train"]
    assert len(made) >= 4
    template = system.workload_of_tasks
    for one in made:  # each is what the executor made of the template, in the namespace of tasks
        assert space(one) == "quantstream-airflow"
        assert pod(one)["securityContext"] == pod(template)["securityContext"]
        assert pod(one)["containers"][0]["securityContext"] == pod(template)["containers"][0]["securityContext"]


def test_live_candles_are_scored_by_the_champions(system: System) -> None:
    def scored() -> Any:
        return next((one for one in reversed(read(system, "market.scores.v1")[1]) if one["models"]), None)

    score = wait_for(scored, 300, lambda: system.pod("score").log()[-3000:])
    print(json.dumps(score)[:400])
    assert set(score["models"]) <= KINDS


def test_the_page_shows_the_score(system: System) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("PAGE NOT LOOKED AT: no chromium; `make browser` installs it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"http://{system.pod('dashboard').address}:8501", timeout=120_000)
        card = page.get_by_test_id("card-signal")
        expect(card).to_contain_text(re.compile("Buy|Sell|Hold"), timeout=180_000)
        for tile in ("anomaly", "forecast", "risk", "signal"):  # by the registry, with the page's own login
            expect(page.get_by_test_id(f"tile-{tile}")).to_contain_text("champion", timeout=120_000)
        expect(page.get_by_test_id("tile-trades-s")).to_contain_text(re.compile(r"\d"), timeout=60_000)
        page.screenshot(path=str(system.node.folder / "page.png"))
        print(card.inner_text(), system.node.folder / "page.png")
        browser.close()
