"""What `quantstream up` says of models once everything runs: serving again, trained for the first time, or anew."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from infra.cli import up
from infra.cli.champions import Champion
from infra.cli.first_run import Outcome
from infra.embedded.plan import Market
from quantstream.binance.wire import trade_event
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.features import FEATURE_HASH
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake

PLAN = SimpleNamespace(  # what the greeting reads of a `Plan`: a whole one needs free ports and a state on disk
    urls={"mlflow": "http://m", "airflow": "http://a", "dashboard": "http://d"},
    state=SimpleNamespace(airflow=Path("/nowhere")),
    is_simulated=False,
    market=Market(),
    environment={},
)


@pytest.mark.parametrize(
    ("serving", "output", "trained"),
    [
        ({"quantstream-risk": Champion("3", FEATURE_HASH)}, "The models of the last time serve again.", 0),
        ({"quantstream-risk": Champion("3", "0ld")}, "were fitted on other features", 1),
        ({}, "trains models now", 1),
    ],
)
def test_models_that_fit_serve_again_and_others_are_trained(
    monkeypatch: pytest.MonkeyPatch, serving: dict[str, Champion], output: str, trained: int
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(up, "champions", lambda url: serving)
    monkeypatch.setattr(up, "begin", lambda api: begun.append(api) or Outcome(False))
    monkeypatch.setattr(up.environment, "password", lambda folder: "secret")
    out = io.StringIO()
    up._greet(PLAN, Console(file=out, width=200), waits=False)  # type: ignore[arg-type]
    assert (output in out.getvalue(), len(begun)) == (True, trained)


T0 = 1_723_161_600 * SECOND


def recording(folder: Path, hours: int) -> Path:
    """A file of frames, a trade a minute."""
    path = folder / "frames.txt"
    trades = [Trade("BTCUSDT", n, n, n, UNIT, UNIT, T0 + n * MINUTE, False) for n in range(hours * 60 + 1)]
    frames = (
        b'%d {"stream":"btcusdt@trade","data":%s}' % (1000 * trade.traded_at, trade_event(trade)) for trade in trades
    )
    path.write_bytes(b"\n".join(frames) + b"\n")
    return path


@pytest.mark.parametrize("waits", [True, False])
def test_a_recording_without_history_promises_no_models_and_says_what_it_would_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: bool
) -> None:
    market = Market((recording(tmp_path, 3),), 10.0)
    environment = {"QUANTSTREAM_LAKE": str(tmp_path / "lake"), "QUANTSTREAM_SYMBOLS": "BTCUSDT"}
    plan = SimpleNamespace(**{**vars(PLAN), "market": market, "environment": environment, "is_simulated": True})
    begun: list[object] = []
    monkeypatch.setattr(up, "champions", lambda url: {})
    monkeypatch.setattr(up, "begin", lambda api: begun.append(api) or Outcome(False))
    monkeypatch.setattr(up.environment, "password", lambda folder: "secret")
    out = io.StringIO()
    up._greet(plan, Console(file=out, width=2000), waits=waits)  # type: ignore[arg-type]
    output = out.getvalue()
    assert "no model can learn from 36 candles of 5 minutes (0.1 days); needed are for anomaly 436 (1.5 days)" in output
    assert "nothing will be scored" in output
    assert "minute or two" not in output
    assert "and its scores" not in output
    assert len(begun) == 1


def test_a_lake_that_holds_enough_from_before_is_counted(tmp_path: Path) -> None:
    market = Market((recording(tmp_path, 3),), 10.0)
    lake = Lake(str(tmp_path / "lake"))
    at = [T0 + number * 5 * MINUTE for number in range(600)]
    lake.append(
        "candles", candle_rows([Candle("BTCUSDT", "5m", each, 5, 6, 4, 5, 1, 1, 1, 0, 0, 1, 1, True) for each in at])
    )
    environment = {"QUANTSTREAM_LAKE": lake.url, "QUANTSTREAM_SYMBOLS": "BTCUSDT"}
    plan = SimpleNamespace(**{**vars(PLAN), "market": market, "environment": environment})
    assert up._no_history(plan) == ""  # type: ignore[arg-type]


def test_a_recording_long_enough_says_when_its_models_come(tmp_path: Path) -> None:
    market = Market((recording(tmp_path, 48),), 10.0)
    environment = {"QUANTSTREAM_LAKE": str(tmp_path / "lake"), "QUANTSTREAM_SYMBOLS": "BTCUSDT"}
    plan = SimpleNamespace(**{**vars(PLAN), "market": market, "environment": environment})
    output = up._no_history(plan)  # type: ignore[arg-type]
    assert "nothing is scored until 436 candles of 5 minutes are there to learn from, in about 3.6 hours" in output
