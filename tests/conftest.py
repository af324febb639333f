"""What tests of every part share: a real broker, and the folder of real market data."""

from __future__ import annotations

import os
import sys

# Before numpy is loaded: two threads of linear algebra on a busy machine wait for each other more than they work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before XGBoost is: its threads else spin while they wait for a processor, fifteen times the work of the fit itself.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from infra.embedded import broker as local_broker
from quantstream.kafka import ensure_topics
from quantstream.settings import Kafka
from tests.shares import Interleaved, turn

ROOT = Path(__file__).resolve().parent.parent
settings.register_profile("quantstream", deadline=None)  # a busy machine is no finding
settings.load_profile("quantstream")
DATA_FOLDERS = ("klines_5m", "trades", "ws_frames")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Interleaved | None:
    """Share the tests out by files where `make test` asks for it (`--dist loadscope`)."""
    return Interleaved(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin what takes longest first, so that nothing long is left over at the end for one process."""
    items.sort(key=lambda item: turn(item.nodeid))


def _broker(folder: Path) -> Iterator[Kafka]:
    port = local_broker.free_port()
    kafka = Kafka(bootstrap=f"127.0.0.1:{port}")
    with local_broker.running(folder, port):
        ensure_topics(kafka)
        yield kafka


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One real broker with every declared topic, for the whole session; tests use keys, topics and groups of their own."""
    yield from _broker(tmp_path_factory.mktemp("broker"))


@pytest.fixture
def fresh_broker(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own, for tests that need the declared topics empty (about 3 s)."""
    yield from _broker(tmp_path / "broker")


@pytest.fixture(autouse=True)
def main_stays() -> Iterator[None]:
    """Put the main module back: Streamlit's tests leave their script there, which a process that is spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[str]:
    """The scheduler's address of a real Dask cluster of two workers, one for the session."""
    from distributed import LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": "ERROR"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real market data (`QUANTSTREAM_TEST_DATA`, else `../shared/data`); without it the test is skipped.

    With `QUANTSTREAM_REQUIRE_DATA=1` its absence is an error: a run that claims to have proved everything must have had it.
    """
    folder = Path(os.environ.get("QUANTSTREAM_TEST_DATA") or ROOT.parent / "shared" / "data")
    if all((folder / name).is_dir() for name in DATA_FOLDERS):
        return folder
    message = f"REAL MARKET DATA NOT FOUND at {folder}; set QUANTSTREAM_TEST_DATA to its folder"
    if os.environ.get("QUANTSTREAM_REQUIRE_DATA"):
        pytest.fail(message)
    pytest.skip(message)
