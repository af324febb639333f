"""Status: the documented JSON, and answers also when half of the stack is down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from rich.console import Console

from infra.cli import lag, status
from infra.cli.status import ProcessStatus, Status, SymbolStatus
from infra.cli.status_tables import print_status
from infra.embedded.broker import free_port
from infra.embedded.plan import Plan
from infra.embedded.processes import process_table
from infra.embedded.state import Stack, State, write_private
from quantstream.binance.wire import trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Reader, Writer
from quantstream.lake.store import Lake
from quantstream.messages.topics import TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.sink.stage import SinkStage

SEEN = Status(
    processes={
        "broker": ProcessStatus("running", True, 11, 0, 61),
        "score": ProcessStatus("backoff", False, None, 3),
    },
    symbols={"BTCUSDT": SymbolStatus("2024-08-08T23:55:00Z", 12, 11)},
    models={"quantstream-risk": "4"},
    lag=7,
    urls={"dashboard": "http://127.0.0.1:8501"},
)


def written(plan: Plan) -> Stack:
    """Leave a state as `up` does."""
    processes = [process for process in process_table(plan) if not process.runs_once]
    stack = Stack(
        urls=plan.urls,
        kafka=plan.kafka,
        processes={process.name: {"http_port": process.http_port} for process in processes},
        airflow_password_file="",
        settings=plan.environment,
    )
    plan.state.write(stack)
    write_private(plan.state.processes_file, {process.name: process.described() for process in processes})
    return stack


def test_json_has_the_documented_shape() -> None:
    assert json.loads(SEEN.as_json()) == {
        "processes": {
            "broker": {"state": "running", "ready": True, "pid": 11, "restarts": 0},
            "score": {"state": "backoff", "ready": False, "pid": None, "restarts": 3},
        },
        "symbols": {"BTCUSDT": {"last_candle_opened_at": "2024-08-08T23:55:00Z", "candles": 12, "scores": 11}},
        "models": {"quantstream-risk": {"version": "4", "alias": "champion"}},
        "lag": 7,
        "urls": {"dashboard": "http://127.0.0.1:8501"},
    }


def test_state_that_was_never_started_says_so(state: State) -> None:
    seen = status.look(state)
    assert not seen.is_running
    assert seen.notes == [f"nothing was ever started in {state.folder}; run quantstream up"]
    empty: dict[str, object] = {"processes": {}, "symbols": {}, "models": {}, "lag": None, "urls": {}}
    assert json.loads(seen.as_json()) == empty | {"notes": seen.notes}


def test_stopped_stack_is_answered_from_what_it_stored(plan: Plan) -> None:
    written(plan)
    _store_candles(plan)
    seen = status.look(plan.state)
    assert set(seen.processes.values()) == {ProcessStatus("stopped", False, None, 0)}
    assert len(seen.processes) == 13
    assert seen.symbols == {
        "BTCUSDT": SymbolStatus("2024-08-08T23:55:00Z", 2, 0),
        "ETHUSDT": SymbolStatus(None, 0, 0),
    }
    assert (seen.models, seen.lag) == ({}, None)
    assert seen.notes == ["MLflow does not answer now", "Kafka does not answer now"]


def test_revised_candle_is_counted_once(plan: Plan) -> None:
    written(plan)
    _store_candles(plan)
    _store_candles(plan, revision=1)
    assert status.look(plan.state).symbols["BTCUSDT"].candles == 2


def test_lag_of_the_sink_is_its_own_number_while_it_tells_one(plan: Plan) -> None:
    stack = written(plan)
    metrics = b"# HELP quantstream_sink_lag_records x\nquantstream_sink_lag_records 42.0\nquantstream_sink_other 1.0\n"
    assert lag.of_sink(stack, lambda url: metrics if url == "http://127.0.0.1:9104/metrics" else None) == 42
    assert lag.of_sink(stack, lambda _: None) is None
    assert lag.of_sink(stack, lambda _: b"not metrics \xff") is None
    assert lag.of_sink(replace(stack, processes={}), lambda _: metrics) is None


@pytest.mark.broker
def test_lag_of_a_sink_that_is_down_is_asked_of_the_broker_and_the_lake(plan: Plan, fresh_broker: Kafka) -> None:
    lake, writer = Lake(str(plan.state.folder / "lake")), Writer(fresh_broker)
    stack = replace(written(plan), kafka=fresh_broker.bootstrap, processes={"sink": {"http_port": free_port()}})

    def send(first: int, last: int) -> None:
        for number in range(first, last + 1):
            trade = Trade("BTCUSDT", number, number, number, UNIT, UNIT, (1_723_161_600 + number) * SECOND, False)
            writer.send(TRADES, trade.symbol, trade_event(trade))
        writer.flush()

    send(1, 5)
    notes: list[str] = []
    assert lag.total(stack, False, notes) == 5
    assert notes == ["the sink is not at work: its part of the lag is all that came after its last rows in the lake"]
    sink = SinkStage(lake, Reader(fresh_broker, "quantstream-sink"), writer, Metrics("sink"), Health(), 0.1, lambda: 0)
    sink.start()
    while lake.table("trades").to_pyarrow_table().num_rows < 5:
        sink.turn()
    sink.reader.close()
    assert lag.total(stack, False, []) == 0
    send(6, 12)
    assert lag.total(stack, False, []) == 7
    assert lag.total(replace(stack, processes={"aggregate": {}}), False, []) == 12  # its group never began


def test_a_market_too_young_to_learn_from_says_how_much_it_would_take(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = written(plan)
    _store_candles(plan)
    ready = {name: ProcessStatus("running", True, 1, 0) for name in stack.processes}
    monkeypatch.setattr(status, "look_at_processes", lambda *_: ready)
    monkeypatch.setattr(status.lags, "total", lambda *_: 0)
    champion = {"quantstream-risk": "4"}
    for serving, output in (({}, "no model can learn from 2 candles of 5 minutes"), (champion, "")):
        monkeypatch.setattr(status, "_models", lambda _, serving=serving: serving)
        notes = status.look(plan.state).notes
        assert "".join(notes).startswith(output)
        assert len(notes) == bool(output)


def test_lag_that_is_not_known_is_not_zero() -> None:
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    print_status(replace(SEEN, lag=None), console)
    assert "Lag        not known" in console.export_text()


def test_table_tells_a_person_the_same() -> None:
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    print_status(SEEN, console)
    text = console.export_text()
    for word in ("broker", "running", "0:01:01", "backoff", "2024-08-08T23:55:00Z", "risk v4", "7 records", ":8501"):
        assert word in text


def test_registry_that_does_not_answer_is_not_taken_for_an_empty_one() -> None:
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    print_status(replace(SEEN, models={}, notes=["MLflow did not answer in 8 s"]), console)
    assert "Champions  unknown" in console.export_text()


def _store_candles(plan: Plan, revision: int = 0) -> None:
    from quantstream.core.candle import Candle
    from quantstream.lake.schemas import candle_rows

    opened = [datetime(2024, 8, 8, 23, minute, tzinfo=UTC) for minute in (50, 55)]
    candles = [
        Candle(
            symbol="BTCUSDT",
            interval="5m",
            opened_at=int(at.timestamp() * 1_000_000),
            open=5,
            high=6,
            low=4,
            close=5,
            volume=1,
            quote_volume=1,
            trade_count=1,
            taker_buy_volume=0,
            taker_buy_quote_volume=0,
            first_trade_id=1,
            last_trade_id=1,
            is_complete=True,
            revision=revision,
        )
        for at in opened
    ]
    rows: pa.Table = candle_rows(candles)
    Lake(str(plan.state.folder / "lake")).append("candles", rows)
