"""What a stack is doing now: processes, lag, candles and scores of each symbol, champions; quick even when half of it is down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from infra.cli import lag as lags
from infra.cli.champions import champions
from infra.embedded.readiness import is_ready
from infra.embedded.state import Stack, State
from infra.embedded.supervisor import Lives, Supervisor, Watched
from ml.data.data_needs import shortfall
from quantstream.core.errors import Unavailable

WITHIN = 8.0  # seconds for all answers; they are asked for at once
T = TypeVar("T")


@dataclass(frozen=True)
class ProcessStatus:
    """One process. `ready` is by its own answer; `restarts` since the stack came up."""

    state: str
    ready: bool
    pid: int | None
    restarts: int
    uptime: int = 0  # seconds


@dataclass(frozen=True)
class SymbolStatus:
    """What the lake holds of a symbol."""

    last_candle_opened_at: str | None
    candles: int
    scores: int


@dataclass(frozen=True)
class Status:
    """One look at a stack; `notes` say what could not be found out, in sentences."""

    processes: Mapping[str, ProcessStatus]
    symbols: Mapping[str, SymbolStatus]
    models: Mapping[str, str]  # champion's version by name
    lag: int | None
    urls: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Whether anything of it runs."""
        return any(process.pid for process in self.processes.values())

    def as_json(self) -> str:
        """Return the documented shape, and `notes` when there are some: nothing found is not nothing there."""
        processes = {
            name: {"state": one.state, "ready": one.ready, "pid": one.pid, "restarts": one.restarts}
            for name, one in self.processes.items()
        }
        symbols = {name: vars(one) for name, one in self.symbols.items()}
        models = {name: {"version": version, "alias": "champion"} for name, version in self.models.items()}
        shape = {"processes": processes, "symbols": symbols, "models": models, "lag": self.lag, "urls": dict(self.urls)}
        return json.dumps(shape | ({"notes": self.notes} if self.notes else {}), indent=2)


def look(state: State) -> Status:
    """Ask everything at once and return what answered in time.

    Raises: Misconfigured when the state is damaged.
    """
    stack = state.read()
    if stack is None:
        return Status({}, {}, {}, None, {}, [f"nothing was ever started in {state.folder}; run quantstream up"])
    processes = look_at_processes(state, stack)
    models: Future[Mapping[str, str]] | None = None
    notes: list[str] = []
    deadline = time.monotonic() + WITHIN
    pool = ThreadPoolExecutor(4)
    try:
        of_lag: list[str] = []  # another thread's, until its answer is there
        is_up = _answers(processes, "broker")
        lag = pool.submit(lags.total, stack, _answers(processes, "sink"), of_lag) if is_up else None
        if _answers(processes, "mlflow"):
            models = pool.submit(_models, stack)
        symbols = pool.submit(_symbols, stack)
        stored = _result(symbols, "the lake", deadline, notes) or {}
        serving = _result(models, "MLflow", deadline, notes) or {}
        behind = _result(lag, "Kafka", deadline, notes)
        if models is not None and not serving and not notes and (note := _unlearned(stored)):
            notes.append(note)
        return Status(processes, stored, serving, behind, stack.urls, notes + (of_lag if behind is not None else []))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _models(stack: Stack) -> Mapping[str, str]:
    return {name: champion.version for name, champion in champions(stack.urls["mlflow"]).items()}


def look_at_processes(state: State, stack: Stack) -> dict[str, ProcessStatus]:
    """Return each process as the supervisor sees it and as it answers itself."""
    supervisor = Supervisor(state)
    watched: dict[str, Watched] = {}
    lives: dict[str, Lives] = {}
    if state.socket.exists():
        with suppress(Unavailable):  # the table then says that nothing runs
            watched, lives = supervisor.processes(), supervisor.lives()
    described = state.described()
    names = [name for name in stack.processes if name in described]
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        up = [name for name in names if name in watched and watched[name].state in ("running", "starting")]
        answers = dict(zip(up, pool.map(lambda name: is_ready(described[name]["ready"]), up), strict=True))
    return {
        name: _process(watched.get(name), answers.get(name, False), lives.get(name, Lives()).restarts) for name in names
    }


def _process(seen: Watched | None, ready: bool, restarts: int) -> ProcessStatus:
    if seen is None:
        return ProcessStatus("stopped", False, None, 0)
    return ProcessStatus(seen.state, ready, seen.pid, max(0, restarts), seen.uptime)


def _answers(processes: Mapping[str, ProcessStatus], name: str) -> bool:
    return name in processes and processes[name].ready


def _result(future: Future[T] | None, what: str, deadline: float, notes: list[str]) -> T | None:
    if future is None:
        notes.append(f"{what} does not answer now")
        return None
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except NotInTime:
        notes.append(f"{what} did not answer in {WITHIN:.0f} s")
    except Unavailable as error:
        notes.append(str(error))
    return None


def _unlearned(symbols: Mapping[str, SymbolStatus]) -> str:
    """Say why there is no champion, where it is for want of history."""
    return shortfall(max((one.candles for one in symbols.values()), default=0))


def _symbols(stack: Stack) -> Mapping[str, SymbolStatus]:
    from quantstream.lake.store import Lake

    lake = Lake(stack.settings["QUANTSTREAM_LAKE"])
    candles, scores = lake.extent("candles"), lake.extent("scores")
    return {
        name: SymbolStatus(
            last_candle_opened_at=candles[name][1].strftime("%Y-%m-%dT%H:%M:%SZ") if name in candles else None,
            candles=candles[name][0] if name in candles else 0,
            scores=scores[name][0] if name in scores else 0,
        )
        for name in stack.settings["QUANTSTREAM_SYMBOLS"].split(",")
    }
