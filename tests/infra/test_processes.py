"""The process table: who runs, after whom, told what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infra.embedded.plan import Market, Plan
from infra.embedded.processes import MIGRATE, Process, process_table
from quantstream.settings import Endpoints
from quantstream.settings_loader import NOT_SETTINGS, load_settings

NAMES = (
    *("broker", "exchange", "mlflow", "ingest", "aggregate", "detect", "sink", "score", "dashboard"),
    *("airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
)


def table(plan: Plan) -> dict[str, Process]:
    return {process.name: process for process in process_table(plan)}


def test_table_holds_every_process_and_one_that_runs_once(plan: Plan) -> None:
    processes = table(plan)
    assert set(processes) == {*NAMES, MIGRATE}
    assert [name for name, process in processes.items() if process.runs_once] == [MIGRATE]


def test_every_process_waits_only_for_processes_that_are_there(plan: Plan) -> None:
    processes = table(plan)
    for process in processes.values():
        assert set(process.after) <= set(processes), process.name


def test_order_has_no_circle(plan: Plan) -> None:
    processes, started = table(plan), set[str]()
    while ready := [name for name, one in processes.items() if name not in started and started.issuperset(one.after)]:
        started.update(ready)
    assert started == set(processes)


def test_ingest_waits_for_the_exchange_and_the_models_users_for_the_registry(plan: Plan) -> None:
    processes = table(plan)
    assert set(processes["ingest"].after) == {"broker", "exchange"}
    assert set(processes["score"].after) == set(processes["detect"].after) == {"broker", "mlflow"}


def test_lake_and_training_give_way_to_the_live_path(plan: Plan) -> None:
    assert [process.name for process in table(plan).values() if process.niceness] == ["sink", "airflow-scheduler"]


def test_real_exchange_is_not_simulated(plan: Plan) -> None:
    real = replace(plan, settings=load_settings(state=plan.state.folder, exchange="binance", symbols="BTCUSDT"))
    processes = table(real)
    assert "exchange" not in processes
    assert processes["ingest"].after == ("broker",)
    assert processes["ingest"].env["QUANTSTREAM_ENDPOINTS__REST"] == "https://data-api.binance.vision"
    assert processes["ingest"].env["QUANTSTREAM_ENDPOINTS__WS"] == "wss://data-stream.binance.vision"


def test_futures_settings_have_the_simulated_exchange_play_a_futures_market(plan: Plan) -> None:
    api, stream = Endpoints(api="/fapi/v1"), "aggTrade"
    futures = replace(plan, settings=plan.settings.model_copy(update={"endpoints": api, "stream": stream}))
    exchange, env = table(futures)["exchange"], table(futures)["ingest"].env
    assert " ".join(exchange.argv).count("--market futures") == 1
    assert exchange.ready == "http://127.0.0.1:9094/fapi/v1/ping"
    assert env["QUANTSTREAM_ENDPOINTS__WS"] == "ws://127.0.0.1:9094/market"
    assert "--market" not in table(plan)["exchange"].argv


def test_stage_is_told_where_everything_is(plan: Plan) -> None:
    env = table(plan)["score"].env
    told = {name: value for name, value in env.items() if name.startswith("QUANTSTREAM_")}
    assert told == {
        "QUANTSTREAM_STATE": str(plan.state.folder),
        "QUANTSTREAM_EXCHANGE": "simulated",
        "QUANTSTREAM_SYMBOLS": "BTCUSDT,ETHUSDT",
        "QUANTSTREAM_LAKE": str(plan.state.folder / "lake"),
        "QUANTSTREAM_ENDPOINTS__WS": "ws://127.0.0.1:9094",
        "QUANTSTREAM_ENDPOINTS__REST": "http://127.0.0.1:9094",
        "QUANTSTREAM_ENDPOINTS__ARCHIVE": "http://127.0.0.1:9094",
        "QUANTSTREAM_ENDPOINTS__ARCHIVE_LISTING": "http://127.0.0.1:9094",
        "QUANTSTREAM_KAFKA__BOOTSTRAP": "127.0.0.1:9092",
        "QUANTSTREAM_MLFLOW": "http://127.0.0.1:5000",
        "QUANTSTREAM_HTTP_PORT": "9105",
        "QUANTSTREAM_HTTP_HOST": "127.0.0.1",
        "QUANTSTREAM_LOG_FORMAT": "json",
        "QUANTSTREAM_PORTS__DASHBOARD": "8501",
        "QUANTSTREAM_PORTS__AIRFLOW": "8080",
        "QUANTSTREAM_PORTS__MLFLOW": "5000",
    } | {name: value for name, value in told.items() if name in NOT_SETTINGS}


def test_recordings_and_speed_reach_the_exchange(plan: Plan) -> None:
    market = Market(recordings=(Path("/data/a.gz"), Path("/data/b.gz")), speed=10.0, seed=7)
    argv = table(replace(plan, market=market))["exchange"].argv
    assert argv[argv.index("--speed") + 1] == "10"
    assert argv[argv.index("--seed") + 1] == "7"
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--recording"] == ["/data/a.gz", "/data/b.gz"]


def test_everything_listens_on_loopback(plan: Plan) -> None:
    for name, process in table(plan).items():
        assert "0.0.0.0" not in process.argv, name
        assert process.ready.startswith(
            ("http://127.0.0.1:", "kafka://127.0.0.1:", "airflow+http://127.0.0.1:", "ended://")
        )
