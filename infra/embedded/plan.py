"""What one start of the stack is to be: settings, ports and the simulated market's options, decided before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded.free_ports import choose, free_ports
from infra.embedded.state import State
from quantstream.messages.stages import STAGES
from quantstream.settings import Settings

SYNTHETIC_SPEED = 30.0  # a 5m candle every 10 s of wall time
RECORDED_SPEED = 1.0
SPOT = "/api/v3"
PAGES = ("dashboard", "airflow", "mlflow")


@dataclass(frozen=True)
class Market:
    """What the simulated exchange plays."""

    recordings: tuple[Path, ...] = ()
    speed: float = SYNTHETIC_SPEED
    seed: int | None = None
    regime: str = ""  # a planted change, as the simulated exchange takes it: ISO=FACTOR


@dataclass(frozen=True)
class Plan:
    """Everything that the process table is made from. `http_ports` are those of the stages' health servers."""

    state: State
    settings: Settings
    market: Market
    pages: Mapping[str, int]
    kafka_port: int
    controller_port: int
    exchange_port: int
    http_ports: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_simulated(self) -> bool:
        """Whether the exchange is ours."""
        return self.settings.exchange == "simulated"

    @property
    def kind(self) -> str:
        """What is traded: the simulated exchange has a spot and a futures market."""
        return kind_of(self.settings)

    @property
    def urls(self) -> dict[str, str]:
        """Addresses of the pages and of the exchange."""
        pages = {page: f"http://127.0.0.1:{self.pages[page]}" for page in PAGES}
        if self.is_simulated:
            at, route = f"127.0.0.1:{self.exchange_port}", "/market" if self.kind == "futures" else ""
            rest = f"http://{at}"
            own = {
                "exchange_ws": f"ws://{at}{route}",
                "exchange_rest": rest,
                "exchange_archive": rest,
                "exchange_listing": rest,
            }
            return pages | own | {"exchange_ping": f"http://{at}{self.settings.endpoints.api}/ping"}
        ends = self.settings.endpoints
        return (
            pages
            | {"exchange_ws": ends.ws, "exchange_rest": ends.rest, "exchange_archive": ends.archive}
            | {"exchange_listing": ends.archive_listing}
        )

    @property
    def kafka(self) -> str:
        """Where clients reach the broker."""
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The `QUANTSTREAM_…` settings of every process: the caller's own, made absolute, with this start's addresses."""
        own = {name: value for name, value in os.environ.items() if name.startswith("QUANTSTREAM_")}
        given = {
            "QUANTSTREAM_STATE": str(self.state.folder),
            "QUANTSTREAM_EXCHANGE": self.settings.exchange,
            "QUANTSTREAM_SYMBOLS": ",".join(self.settings.symbols),
            "QUANTSTREAM_LAKE": self.settings.lake_url if "://" in self.settings.lake else str(_absolute(self)),
            "QUANTSTREAM_ENDPOINTS__WS": self.urls["exchange_ws"],
            "QUANTSTREAM_ENDPOINTS__REST": self.urls["exchange_rest"],
            "QUANTSTREAM_ENDPOINTS__ARCHIVE": self.urls["exchange_archive"],
            "QUANTSTREAM_ENDPOINTS__ARCHIVE_LISTING": self.urls["exchange_listing"],
            "QUANTSTREAM_KAFKA__BOOTSTRAP": self.kafka,
            "QUANTSTREAM_MLFLOW": self.urls["mlflow"],
            "QUANTSTREAM_LOG_FORMAT": "json",
            **{f"QUANTSTREAM_PORTS__{page.upper()}": str(port) for page, port in self.pages.items()},
        }
        return own | given


def kind_of(settings: Settings) -> str:
    """Return what is traded, spot or futures."""
    return "spot" if settings.endpoints.api == SPOT else "futures"


def _absolute(plan: Plan) -> Path:
    return Path(plan.settings.lake).expanduser().absolute() if plan.settings.lake else plan.state.folder / "lake"


def make_plan(settings: Settings, market: Market, named: Mapping[str, bool]) -> Plan:
    """Choose the ports and return the plan; `named` tells which pages' ports the person chose.

    Raises: Misconfigured when a named port is taken.
    """
    taken: set[int] = set()
    pages: dict[str, int] = {}
    notes = []
    for page in PAGES:
        choice = choose(page, getattr(settings.ports, page), named.get(page, False), taken)
        pages[page] = choice.port
        taken.add(choice.port)
        if choice.note:
            notes.append(choice.note)
    internal = free_ports(3 + len(STAGES), taken)
    return Plan(
        state=State.at(settings.state),
        settings=settings,
        market=market,
        pages=pages,
        kafka_port=internal[0],
        controller_port=internal[1],
        exchange_port=internal[2],
        http_ports=dict(zip(STAGES, internal[3:], strict=True)),
        notes=tuple(notes),
    )
