"""One typed, frozen settings object, read from `QUANTSTREAM_…` at entry points only and passed down as values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quantstream.errors import Misconfigured
from quantstream.market import INTERVALS

PREFIX = "QUANTSTREAM_"
NOT_SETTINGS = {
    "QUANTSTREAM_TEST_DATA",
    "QUANTSTREAM_CACHE",
    "QUANTSTREAM_PYTHON",
    "QUANTSTREAM_REQUIRE_DATA",
    "QUANTSTREAM_PODS",
}  # read by make and tests
FULL_REST = "https://api.binance.com"
UNROUTED = "wss://fstream.binance.com"  # USD-M futures; developers.binance.com, "Important WebSocket Change Notice"
PARTITIONS = 4  # the unit of scale: at most so many pods of a stage share a topic
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoints(_Group):
    """Base addresses of the exchange. The market-data-only hosts need no key and no account."""

    ws: str = "wss://data-stream.binance.vision"  # wss://fstream.binance.com/market for USD-M futures
    rest: str = "https://data-api.binance.vision"
    history_rest: str = ""  # where historicalTrades is answered, when not at `rest`; the data-only host does not
    api: str = "/api/v3"  # /fapi/v1 for USD-M futures


class Kafka(_Group):
    """How to reach the broker; SASL over TLS when a user is given."""

    bootstrap: str = "127.0.0.1:9092"
    security: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    user: str = ""
    password: SecretStr = SecretStr("")
    ca_file: str = ""  # PEM file of the authority that signed the brokers' certificates; empty means the system's
    replication: int = 1
    partitions: int = PARTITIONS  # of the topics that are keyed by symbol, when they are made here

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        has_password = bool(self.password.get_secret_value())
        if self.security == "SASL_SSL" and not (self.user and has_password):
            raise ValueError("SASL_SSL needs a login; set QUANTSTREAM_KAFKA__USER and QUANTSTREAM_KAFKA__PASSWORD")
        if self.security != "SASL_SSL" and (self.user or has_password):
            raise ValueError("a login is sent over TLS only; set QUANTSTREAM_KAFKA__SECURITY=SASL_SSL")
        return self


class Ports(_Group):
    """Where the embedded stack listens."""

    dashboard: int = 8501
    airflow: int = 8080
    mlflow: int = 5000


class Settings(BaseSettings):
    """Everything that can be set, with its default. Names: `QUANTSTREAM_` + path, `__` between levels."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    state: Path = Path(".quantstream")  # the embedded stack's folder
    exchange: Literal["simulated", "binance"] = "simulated"
    symbols: Annotated[tuple[str, ...], NoDecode] = DEFAULT_SYMBOLS
    intervals: Annotated[tuple[str, ...], NoDecode] = ("5m",)
    stream: Literal["trade", "aggTrade"] = "trade"
    socket: Literal["websockets", "picows"] = "websockets"  # the library that keeps the exchange's connections
    shard: str = "1/1"  # i/n: which part of the symbols this ingest takes, of n processes that share them
    rotate_hours: float = Field(
        default=23.0, gt=0, le=24
    )  # age at which a connection is replaced; the exchange ends it at 24
    lateness_ms: int = 500  # allowed lateness of the watermark
    max_ahead_s: int = Field(default=3600, gt=0)  # a trade dated further ahead of the exchange's clock is put aside
    commit_ms: int = 100  # how often aggregate, score and detect commit their transaction
    sink_commit_ms: int = 5000  # how often the sink commits to the lake: a Parquet file per table and symbol each
    history_days: int = 45  # klines to backfill: 30 for the risk threshold's window and 15 to learn from
    lake: str = ""  # folder or s3:// address; empty means `state`/lake
    mlflow: str = ""  # tracking address; empty means the local server's
    stages: str = (
        ""  # where the dashboard asks how processes are, where no embedded stack says: NAME=http://HOST:PORT,…
    )
    http_port: int = 0  # of a stage's /healthz, /readyz, /metrics; 0 takes a free one
    instance: str = "0"  # tells replicas of a stage apart (the pod's name)
    log_format: Literal["json", "text", "auto"] = "auto"
    endpoints: Endpoints = Endpoints()
    kafka: Kafka = Kafka()
    ports: Ports = Ports()

    @field_validator("symbols", "intervals", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.upper() for name in value))
        for name in names:
            if not (name.isascii() and name.isalnum()):
                raise ValueError(f"{name!r} is not a symbol; write it as the exchange does, e.g. BTCUSDT")
        if not names:
            raise ValueError("name at least one symbol, e.g. BTCUSDT,ETHUSDT")
        return names

    @field_validator("shard")
    @classmethod
    def _shard(cls, value: str) -> str:
        number, _, count = value.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ValueError(f"{value!r} is not a share of the symbols; write it like 1/3, 2/3 and 3/3")
        return value

    @field_validator("intervals")
    @classmethod
    def _intervals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in INTERVALS:
                raise ValueError(f"{name!r} is not an interval; use {', '.join(INTERVALS)}")
        return value

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


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` (from a command line) win.

    Raises: Misconfigured for an unknown name or an unusable value, in one sentence.
    """
    known = set(Settings.model_fields)
    for name in os.environ:
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            field = name.removeprefix(PREFIX).lower().split("__")[0]
            if field not in known:
                raise Misconfigured(f"{name} is not a setting; known are {', '.join(sorted(known))}")
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        place = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        text = first["msg"].removeprefix("Value error, ")
        raise Misconfigured(f"{place}: {text}" if first["loc"] else text) from None
