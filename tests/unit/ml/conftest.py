"""What the tests of models share: a small dataset, one small model of each kind, a real MLflow server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.data import dataset
from ml.models import base
from ml.models.forecast import ForecastOptions
from ml.models.risk import RiskOptions
from ml.models.signal import SignalOptions
from ml.serving.registry import Registry
from ml.training import train
from quantstream.messages.models import MODEL_KINDS
from tests.unit.ml import markets

SMALL = train.Options(
    forecast=ForecastOptions(units=4, epochs=1, most_rows=2000, rounds=20),
    signal=SignalOptions(rounds=20),
    risk=RiskOptions(rounds=20, lines_from=0, trees_from=0),  # trees all the same, so little as there is to learn from
)
STARTS_WITHIN = 300  # seconds: the server imports much, on a machine that may be busy


@pytest.fixture(scope="session")
def candles() -> dict[str, object]:
    """38 days of candles of two made-up symbols."""
    return {"BTCUSDT": markets.candles(11_000, 1), "ETHUSDT": markets.candles(11_000, 2, price=3000.0)}


@pytest.fixture(scope="session")
def dataset_of_two(candles: dict[str, object]) -> dataset.Dataset:
    """Their dataset."""
    return dataset.build(candles)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tasks(dataset_of_two: dataset.Dataset) -> dict[str, train.Task]:
    """What each kind learns from."""
    trades = [*markets.trades(3000), *markets.trades(3000, "ETHUSDT", 5)]
    return {kind: train.prepare(kind, dataset_of_two, trades if kind == "anomaly" else ()) for kind in MODEL_KINDS}


@pytest.fixture(scope="session")
def models(tasks: dict[str, train.Task]) -> dict[str, base.Model]:
    """One small fitted model of each kind."""
    return {kind: train.fit(task, SMALL) for kind, task in tasks.items()}


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps the files of models."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[str]:
    """A real MLflow server on SQLite, one for the session."""
    with serving(tmp_path_factory.mktemp("mlflow"), artifacts) as url:
        yield url


@contextmanager
def serving(folder: Path, artifacts: Path, *options: str, **variables: str) -> Iterator[str]:
    """Run an MLflow server on SQLite; `options` are of its command line."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "infra.embedded.mlflow_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(artifacts), *options]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | variables  # as the platform runs it
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(server, url, folder / "server.log")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=120)  # it ends its workers first, on a machine that may be busy


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"the MLflow server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def registry(mlflow_url: str) -> Registry:
    """The registry on that server."""
    return Registry(mlflow_url)
