"""`quantstream up` and `down` as a person meets them: checks first, progress while it starts, addresses at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from infra.cli.champions import champions
from infra.cli.checks import check_exchange, check_same_market, recorded_candles, recorded_symbols
from infra.cli.first_run import begin, first_run
from infra.cli.stored_history import stored_candles, stored_shortfall
from infra.embedded import orphan_processes, stack
from infra.embedded.airflow import environment
from infra.embedded.airflow.api import AirflowApi
from infra.embedded.plan import PAGES, RECORDED_SPEED, SYNTHETIC_SPEED, Market, Plan, kind_of, make_plan
from infra.embedded.progress import show_startup
from infra.embedded.state import State
from infra.embedded.supervisor import Supervisor
from ml.data.data_needs import NEEDED, shortfall
from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from quantstream.settings import Settings

WATCH = 1.0  # seconds between looks at the supervisor while attached


@dataclass(frozen=True)
class Request:
    """What the person asked for."""

    settings: Settings
    recordings: tuple[Path, ...] = ()
    speed: float | None = None
    seed: int | None = None
    regime: str = ""
    names_symbols: bool = False
    named_ports: frozenset[str] = frozenset()
    detach: bool = False
    wait: bool = False  # for the first models, where it does not stay anyway


def run(request: Request, console: Console | None = None) -> int:
    """Start the stack and, unless detached, stay until Ctrl-C; return the exit code.

    Raises: Misconfigured, Unavailable.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    state = State.at(request.settings.state)
    state.make()
    with state.only_one(), _stoppable():
        if stack.is_running(state):
            return _already_running(state, console)
        try:
            _start(request, state, console)
            if request.detach:
                return 0
            console.print("Ctrl-C stops everything.")
            _watch(state)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            console.print("\nStopping …")
            _stop(state, console)
            return 0
    return 0


def _start(request: Request, state: State, console: Console) -> None:
    if found := orphan_processes.find(state):
        console.print(f"Ending {len(found)} processes that an earlier start left behind.")
        orphan_processes.end(found)
    request = _checked(request, console)
    plan = make_plan(request.settings, _market(request), {page: _is_named(page, request) for page in PAGES})
    for note in plan.notes:
        console.print(f"Note: {note}.")
    for change in migrate(Lake(request.settings.lake_url), time.time_ns() // 1000):
        console.print(f"The lake is of an older version; {change}.")
    started_at = time.monotonic()
    with show_startup(console) as report:
        stack.start(plan, report)
    console.print(f"Everything is up after {time.monotonic() - started_at:.0f} s.")
    _greet(plan, console, waits=request.wait or not request.detach)


def _checked(request: Request, console: Console) -> Request:
    """Return the request with its symbols settled, having asked the exchange or the recordings."""
    is_real = request.settings.exchange == "binance"
    symbols = recorded_symbols(request.recordings) if request.recordings else request.settings.symbols
    kind = kind_of(request.settings)
    check_same_market(State.at(request.settings.state).folder, None if is_real else request.recordings, kind)
    if is_real:
        trades = Path(request.settings.lake_url, "trades")
        seen = {path.name.removeprefix("symbol=") for path in trades.glob("symbol=*")}
        if gone := check_exchange(request.settings, seen=seen):
            console.print(f"No longer traded, so set aside until they are again: {', '.join(gone)}.")
    if request.names_symbols:
        symbols = request.settings.symbols
    return Request(**(vars(request) | {"settings": request.settings.model_copy(update={"symbols": symbols})}))


def _market(request: Request) -> Market:
    default = RECORDED_SPEED if request.recordings else SYNTHETIC_SPEED
    return Market(request.recordings, request.speed or default, request.seed, request.regime)


def _is_named(page: str, request: Request) -> bool:
    return page in request.named_ports or f"QUANTSTREAM_PORTS__{page.upper()}" in os.environ


def _greet(plan: Plan, console: Console, waits: bool) -> None:
    """Have models trained when there are none that fit, then say where everything is."""
    password = environment.password(plan.state.airflow)
    api = AirflowApi(plan.urls["airflow"], password)
    serving = champions(plan.urls["mlflow"])
    is_current = all(champion.feature_hash == feature_hash() for champion in serving.values())
    if serving and not is_current:
        console.print(
            "The models of the last time were fitted on other features than this version computes; new ones follow."
        )
    shortfall = "" if serving and is_current else _no_history(plan)
    if serving and is_current:
        note = "The models of the last time serve again."
    elif shortfall:
        begin(api)  # history and validation all the same: what is there is kept, and checked
        note = shortfall
    elif waits:
        console.print(f"Live already: {plan.urls['dashboard']}. Models come next; stopping now loses nothing.")
        outcome = first_run(api, console, lacking=lambda: stored_shortfall(plan.environment))
        served = "The first models are trained, judged and serving." if outcome.trained else ""
        note = "\n".join(filter(None, (outcome.note, served)))
    else:
        note = begin(api).note or (
            "Airflow fetches history and trains models now, for a minute or two; quantstream status shows them serve."
        )
    console.print(note)
    console.print(
        f"\n  Dashboard  {plan.urls['dashboard']}\n"
        f"  Airflow    {plan.urls['airflow']}   user {environment.USER}, password {password}\n"
        f"  MLflow     {plan.urls['mlflow']}/#/models\n"
    )
    console.print(_expectation(plan, "candle" if shortfall else "candle and its scores"))


def _no_history(plan: Plan) -> str:
    """Say that a recording has no history to learn from, and whether it ever will have; nothing where models can come now."""
    fewest = min(NEEDED.values())
    stored = stored_candles(plan.environment) if plan.market.recordings else fewest
    if stored >= fewest:
        return ""
    played = recorded_candles(plan.market.recordings)
    if played is not None and max(played, stored) < fewest:
        return (
            f"This recording has no history: {shortfall(max(played, stored))}. It is shown and kept, but nothing will be scored; "
            "name more recordings of the same market with --recording, or let quantstream up play its synthetic one."
        )
    hours = (fewest - stored) / 12 / plan.market.speed
    return (
        f"A recording begins without history: nothing is scored until {fewest} candles of 5 minutes are there to learn from, "
        f"in about {hours:.1f} hours at this speed; models_watch in Airflow then begins the training, within an hour."
    )


def feature_hash() -> str:
    """Return which definitions of the features this version computes."""
    from quantstream.features import FEATURE_HASH  # half a second of numpy, which `up` needs only here

    return FEATURE_HASH


def _expectation(plan: Plan, what: str) -> str:
    every = f"about every {300 / plan.market.speed:.0f} s" if plan.is_simulated else "every five minutes"
    return f"Next: a 5-minute {what} {every}; quantstream status shows how things are."


def _already_running(state: State, console: Console) -> int:
    from infra.cli.status import look
    from infra.cli.status_tables import print_status

    console.print(f"Already running in {state.folder}; quantstream down stops it.")
    print_status(look(state), console)
    return 0


def _watch(state: State) -> None:
    """Stay until a signal comes.

    Raises: Unavailable when the supervisor is gone.
    """
    supervisor = Supervisor(state)
    while supervisor.is_running():
        time.sleep(WATCH)
    if orphan_processes.find(state):
        stack.stop(state)
        raise Unavailable("the supervisor ended, so everything was stopped; run quantstream up again")


def stop(state: State, console: Console | None = None) -> None:
    """Stop a stack and say so.

    Raises: Unavailable when something survives.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    if not state.folder.exists() or not (stack.is_running(state) or orphan_processes.find(state)):
        console.print(f"Nothing is running in {state.folder}.")
        return
    _stop(state, console)


def _stop(state: State, console: Console) -> None:
    with console.status("Stopping …") as line:
        stack.stop(state, lambda left: line.update(f"Stopping {left}"))
    console.print("Everything is stopped; what was stored stays.")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and a closed terminal stop as Ctrl-C does, also where a script's background job ignores Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
