"""One typed, frozen settings object: every setting with its default and its bounds.

What could only go wrong later, in silence, is refused here, in a sentence that says what is meant. `quantstream.settings_loader`
reads it from the environment, at entry points only; it is passed down as values.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quantstream.core.time import INTERVALS, SCORED
from quantstream.core.trade import is_symbol

PREFIX = "QUANTSTREAM_"
FULL_REST = "https://api.binance.com"
UNROUTED = "wss://fstream.binance.com"  # USD-M futures; developers.binance.com, "Important WebSocket Change Notice"
PARTITIONS = 4  # the unit of scale: at most so many pods of a stage share a topic
MOST_SYMBOLS = 10_000  # five times what the exchange trades
STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "file", "memory")  # what the lake's library opens
BY_INSTANCE = "instance"  # in the place of a share's number: pods of a StatefulSet are numbered from 0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")  # what Kafka takes as an id, with room for ours before it
_TOPIC_PREFIX = re.compile(
    r"[a-z0-9][a-z0-9.-]{0,38}[.-]"
)  # no "_": to Kafka a_b and a.b are one name; Kubernetes takes no capitals
OWN_NAMES = ("market.", "ops.", "quantstream-")  # how names begin without a prefix: the broker's rights go by it
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


def _base(*schemes: str, may_be_empty: bool = False) -> AfterValidator:
    """Accept the base address of a server: scheme, host and, where there is one, port and path."""

    def check(value: str) -> str:
        if not value and may_be_empty:
            return value
        try:
            split = urlsplit(value)
            is_good = split.scheme in schemes and bool(split.hostname) and split.port != 0
        except ValueError:
            is_good = False
        if not is_good or value.split() != [value] or split.query or split.fragment:
            raise ValueError(f"{value!r} is not an address; write it like {schemes[0]}://HOST:PORT")
        return value.rstrip("/")

    return AfterValidator(check)


def _place(value: str) -> str:
    """Accept a folder or file that may be named: text on one line, without control characters."""
    if value and (not value.strip() or not value.isprintable()):
        raise ValueError(f"{value!r} is not a path; leave it out or name one")
    return value


Port = Annotated[int, Field(ge=1, le=65_535)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoints(_Group):
    """Base addresses of the exchange. The market-data-only hosts need no key and no account.

    USD-M futures: wss://fstream.binance.com/market, https://fapi.binance.com and /fapi/v1.
    """

    ws: Annotated[str, _base("wss", "ws")] = "wss://data-stream.binance.vision"
    rest: Annotated[str, _base("https", "http")] = "https://data-api.binance.vision"
    history_rest: Annotated[str, _base("https", "http", may_be_empty=True)] = (
        ""  # where historicalTrades is answered, when not at `rest`; the data-only host does not
    )
    archive: Annotated[str, _base("https", "http")] = "https://data.binance.vision"  # of past days and months
    archive_listing: Annotated[str, _base("https", "http")] = (
        "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"  # the store it lies in, which lists its files
    )
    api: str = Field(default="/api/v3", max_length=100)

    @field_validator("api")
    @classmethod
    def _path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value):
            raise ValueError(f"{value!r} is not a path; write it like /api/v3 or /fapi/v1")
        return value


class Kafka(_Group):
    """How to reach the broker; SASL over TLS when a user is given."""

    bootstrap: str = "127.0.0.1:9092"
    security: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    user: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Annotated[str, AfterValidator(_place)] = (
        ""  # PEM file of the authority that signed the brokers' certificates; empty means the system's
    )
    replication: int = Field(default=1, ge=1, le=9)
    partitions: int = Field(
        default=PARTITIONS, ge=1, le=1_000
    )  # of the topics that are keyed by symbol, when they are made here
    topic_prefix: str = (
        ""  # before the names of all topics, groups and transactions: a second system on the same broker
    )

    @field_validator("topic_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if value and (not _TOPIC_PREFIX.fullmatch(value) or value.startswith(OWN_NAMES)):
            raise ValueError(
                f"{value[:200]!r} cannot stand before the names of topics and groups; use up to 40 small letters, digits, dots "
                f"and dashes, a dot or dash at the end and none of {', '.join(OWN_NAMES)} at the beginning, as in restored."
            )
        return value

    @field_validator("bootstrap")
    @classmethod
    def _brokers(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",")]
        for part in parts:
            found = _ADDRESS.fullmatch(part)
            if found is None or not 0 < int(found[2]) < 65_536:
                raise ValueError(f"{part!r} is not a broker; write HOST:PORT, several with commas between them")
        return ",".join(parts)

    @field_validator("user")
    @classmethod
    def _user(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip() or len(value) > 200:
            raise ValueError(f"{value[:200]!r} is not a user's name; write it on one line, without spaces around it")
        return value

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

    dashboard: Port = 8501
    airflow: Port = 8080
    mlflow: Port = 5000

    @model_validator(mode="after")
    def _are_three(self) -> Self:
        if len({self.dashboard, self.airflow, self.mlflow}) < 3:
            raise ValueError(
                "two pages cannot listen at the same port; give each of dashboard, airflow and mlflow its own"
            )
        return self


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
    lake: str = ""  # folder or s3:// address; empty means `state`/lake
    mlflow: Annotated[str, _base("http", "https", may_be_empty=True)] = (
        ""  # tracking address; empty means the local server's
    )
    stages: str = (
        ""  # where the dashboard asks how processes are, where no embedded stack says: NAME=http://HOST:PORT,…
    )
    http_port: int = Field(default=0, ge=0, le=65_535)  # of a stage's /healthz, /readyz, /metrics; 0 takes a free one
    http_host: str = (
        "127.0.0.1"  # where it listens for them; 0.0.0.0 (all interfaces) in a pod, whose probes come from outside
    )
    instance: str = "0"  # tells replicas of a stage apart (the pod's name)
    log_format: Literal["json", "text", "auto"] = "auto"
    endpoints: Endpoints = Endpoints()
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
