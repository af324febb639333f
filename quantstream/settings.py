"""One typed, frozen settings object: every setting with its default and its bounds.

What could only go wrong later, in silence, is refused here, in a sentence that says what is meant. `quantstream.settings_loader`
reads it from the environment, at entry points only; it is passed down as values.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quantstream.core.day_condition import LEAST_TRADES_DAYS
from quantstream.core.time import INTERVALS, SCORED
from quantstream.core.trade import is_symbol
from quantstream.setting_groups import PARTITIONS, Costs, Endpoints, Gate, Kafka, Ports, base_address

__all__ = ["PARTITIONS", "Costs", "Endpoints", "Gate", "Kafka", "Ports", "Settings"]

PREFIX = "QUANTSTREAM_"
FULL_REST = "https://api.binance.com"
UNROUTED = "wss://fstream.binance.com"  # USD-M futures; developers.binance.com, "Important WebSocket Change Notice"
MOST_SYMBOLS = 10_000  # five times what the exchange trades
STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "file", "memory")  # what the lake's library opens
BY_INSTANCE = "instance"  # in the place of a share's number: pods of a StatefulSet are numbered from 0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")  # what Kafka takes as an id, with room for ours before it
_DATABASE = re.compile(r"postgresql(\+[a-z0-9]+)?://[^\s/]+(:[0-9]+)?/[^\s/]+|sqlite:///[^\s?#]+")
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


class Settings(BaseSettings):
    """Everything that can be set, with its default. Names: `QUANTSTREAM_` + path, `__` between levels."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    state: Path = Path(".quantstream")  # the embedded stack's folder
    exchange: Literal["simulated", "binance"] = "simulated"
    symbols: Annotated[tuple[str, ...], NoDecode] = DEFAULT_SYMBOLS
    intervals: Annotated[tuple[str, ...], NoDecode] = ("5m",)
    stream: Literal["trade", "aggTrade"] = "trade"
    socket: Literal["websockets", "picows"] = "websockets"  # the library that keeps the exchange's connections
    shard: str = (
        "1/1"  # i/n: which part of the symbols this ingest takes; instance/n: by the number at the end of `instance`
    )
    ingests_per_address: int = Field(
        default=0, ge=0, le=10_000
    )  # ingest processes that share what the exchange allows one address; 0 takes n of `shard`
    rotate_hours: float = Field(
        default=23.0, ge=0.01, le=24
    )  # age at which a connection is replaced; the exchange ends it at 24
    lateness_ms: int = Field(default=500, ge=0, le=60_000)  # allowed lateness of the watermark
    max_ahead_s: int = Field(
        default=3600, ge=1, le=604_800
    )  # a trade dated further ahead of the exchange's clock is dead-lettered
    commit_ms: int = Field(
        default=100, ge=1, le=10_000
    )  # how often aggregate, score and detect commit their transaction
    sink_commit_ms: int = Field(
        default=5000, ge=1, le=600_000
    )  # how often the sink commits to the lake: a Parquet file per table and symbol each
    history_days: int = Field(
        default=45, ge=1, le=3_650
    )  # klines to backfill: 30 for the risk threshold's window and 15 to learn from
    model_age_days: int = Field(
        default=30, ge=1, le=3_650
    )  # age past which a model still serves and its scores are marked stale
    trades_days: int = Field(
        default=0, ge=0, le=36_500
    )  # days that trades are kept in the lake once their candles are verified, 8 at least; 0 keeps them for ever
    lake: str = ""  # folder or s3:// address; empty means `state`/lake
    mlflow: Annotated[str, base_address("http", "https", may_be_empty=True)] = (
        ""  # tracking address; empty means the local server's
    )
    shadow_candles: int = Field(
        default=0, ge=0, le=100_000
    )  # closed candles that a model which passed the gate scores beside the champion before it may serve; 0: it serves at once
    shadow_days: int = Field(
        default=7, ge=1, le=365
    )  # that it may take to show that it is no worse than the champion; then it leaves the shadow
    ask_before_promotion: bool = (
        False  # whether a person says yes, in Airflow, before a model leaves the shadow to serve
    )
    dask: str = (
        ""  # where many symbols are worked on: empty the process itself, local two of its own, or a Dask scheduler
    )
    studies: SecretStr = SecretStr(
        ""
    )  # database that searches for settings share (postgresql://USER:<PASSWORD>@HOST/DATABASE); empty: each is its own
    positions: str = ""  # file of positions (symbol,quantity) whose value at risk the page and `quantstream var` tell
    stages: str = (
        ""  # where the dashboard asks how processes are, where no embedded stack says: NAME=http://HOST:PORT,…
    )
    http_port: int = Field(default=0, ge=0, le=65_535)  # of a stage's /healthz, /readyz, /metrics; 0 takes a free one
    http_host: str = (
        "127.0.0.1"  # where it listens for them; 0.0.0.0 (all interfaces) in a pod, whose probes come from outside
    )
    instance: str = "0"  # tells replicas of a stage apart (the pod's name)
    log_format: Literal["json", "text", "auto"] = "auto"
    costs: Costs = Costs()
    endpoints: Endpoints = Endpoints()
    gate: Gate = Gate()
    kafka: Kafka = Kafka()
    ports: Ports = Ports()

    @field_validator("symbols", "intervals", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("state")
    @classmethod
    def _state(cls, value: Path) -> Path:
        absolute = value.expanduser().absolute()
        if value == Path() or absolute in (Path(absolute.anchor), Path.home()) or not str(value).isprintable():
            raise ValueError(f"{str(value)!r} is not a folder of its own; name one that `quantstream reset` may remove")
        return value

    @field_validator("trades_days")
    @classmethod
    def _trades_days(cls, value: int) -> int:
        if 0 < value < LEAST_TRADES_DAYS:
            raise ValueError(f"trades are kept for {LEAST_TRADES_DAYS} days at least, or with 0 for ever")
        return value

    @field_validator("symbols")
    @classmethod
    def _not_too_many(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > MOST_SYMBOLS:
            raise ValueError(f"{len(value)} symbols are more than the exchange has; name {MOST_SYMBOLS} at most")
        return value

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.upper() for name in value))
        for name in names:
            if not is_symbol(name):
                raise ValueError(f"{name!r} is not a symbol; write it as the exchange does, e.g. BTCUSDT")
        if not names:
            raise ValueError("name at least one symbol, e.g. BTCUSDT,ETHUSDT")
        return names

    @field_validator("shard")
    @classmethod
    def _shard(cls, value: str) -> str:
        number, _, count = value.partition("/")
        is_counted = count.isdecimal() and len(count) < 5 and int(count) > 0
        if not (is_counted and (number == BY_INSTANCE or (number.isdecimal() and 1 <= int(number) <= int(count)))):
            raise ValueError(
                f"{value!r} is not a share of the symbols; write it like 1/3, 2/3 and 3/3, or {BY_INSTANCE}/3 for all"
            )
        return value

    @field_validator("intervals")
    @classmethod
    def _intervals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in INTERVALS:
                raise ValueError(f"{name!r} is not an interval; use {', '.join(INTERVALS)}")
        if SCORED not in value:
            raise ValueError(
                f"models judge {SCORED} candles, so nothing would be scored; name {SCORED} too, e.g. 1m,{SCORED}"
            )
        return tuple(dict.fromkeys(value))

    @field_validator("lake")
    @classmethod
    def _lake(cls, value: str) -> str:
        scheme = value.partition("://")[0] if "://" in value else "file"
        if scheme not in STORES or (value and (not value.strip() or not value.isprintable())):
            raise ValueError(f"{value!r} is not a lake; name a folder or an address like s3://BUCKET/FOLDER")
        return value

    @field_validator("positions")
    @classmethod
    def _positions(cls, value: str) -> str:
        if value and (not value.strip() or not value.isprintable()):
            raise ValueError(f"{value!r} is no file of positions; name one, e.g. positions.csv")
        return value

    @field_validator("dask")
    @classmethod
    def _dask(cls, value: str) -> str:
        if value not in ("", "local") and not re.fullmatch(r"(tcp|tls)://[^\s/:]+:[0-9]{1,5}", value):
            raise ValueError(
                f"{value!r} is no Dask cluster; write local for one of this machine, or a scheduler's tcp://HOST:PORT"
            )
        return value

    @field_validator("studies")
    @classmethod
    def _studies(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _DATABASE.fullmatch(value.get_secret_value()):
            raise ValueError(
                "it names no database; write it like postgresql://USER:<PASSWORD>@HOST/DATABASE or sqlite:///FILE"
            )
        return value

    @field_validator("http_host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9A-Za-z._:-]{1,253}", value):
            raise ValueError(f"{value!r} is not a host; write 127.0.0.1, or 0.0.0.0 for all interfaces")
        return value

    @field_validator("instance")
    @classmethod
    def _instance(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(
                f"{value[:200]!r} does not tell a replica apart; use letters, digits, dots and dashes, as in score-0"
            )
        return value

    @field_validator("stages")
    @classmethod
    def _stages(cls, value: str) -> str:
        for part in filter(None, (one.strip() for one in value.split(","))):
            if not re.fullmatch(r"[^=\s]+=http://[^\s/]+(/\S*)?", part):
                raise ValueError(f"{part!r} is not NAME=http://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _share_is_known(self) -> Self:
        if self.shard.startswith(BY_INSTANCE) and not self.instance[-1].isdecimal():
            raise ValueError(
                f"{self.shard!r} goes by the number of the instance, and {self.instance!r} has no number at its end; "
                "set QUANTSTREAM_INSTANCE as in ingest-0, or QUANTSTREAM_SHARD as in 1/3"
            )
        return self

    @model_validator(mode="after")
    def _futures(self) -> Self:
        if self.endpoints.api != Endpoints().api and self.stream != "aggTrade":
            raise ValueError(
                "futures give out no single trades by id, their ids have gaps; set QUANTSTREAM_STREAM=aggTrade"
            )
        if self.endpoints.ws.rstrip("/") == UNROUTED:
            raise ValueError(
                f"{UNROUTED} accepts streams and brings nothing since 23 April 2026; "
                f"set QUANTSTREAM_ENDPOINTS__WS={UNROUTED}/market"
            )
        return self

    @property
    def share(self) -> tuple[int, int]:
        """Which part of the symbols this ingest takes, from 1, and of how many."""
        number, _, count = self.shard.partition("/")
        if number != BY_INSTANCE:
            return int(number), int(count)
        return int(re.findall(r"[0-9]+$", self.instance)[0]) % int(count) + 1, int(count)

    @property
    def ingests(self) -> int:
        """How many ingest processes share what the exchange allows an address."""
        return self.ingests_per_address or self.share[1]

    @property
    def history_rest(self) -> str:
        """Base address that answers historicalTrades."""
        data_only = self.endpoints.rest == Endpoints().rest
        return self.endpoints.history_rest or (FULL_REST if data_only else self.endpoints.rest)

    @property
    def lake_url(self) -> str:
        """Where the Delta tables are."""
        return self.lake or str(self.state.absolute() / "lake")

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow server."""
        return self.mlflow or f"http://127.0.0.1:{self.ports.mlflow}"
