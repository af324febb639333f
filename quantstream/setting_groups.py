"""The groups of settings that stand under a name of their own: the exchange's addresses, broker, ports, the gate of models."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

PARTITIONS = 4  # the unit of scale: at most so many pods of a stage share a topic
_TOPIC_PREFIX = re.compile(
    r"[a-z0-9][a-z0-9.-]{0,38}[.-]"
)  # no "_": to Kafka a_b and a.b are one name; Kubernetes takes no capitals
OWN_NAMES = ("market.", "ops.", "quantstream-")  # how names begin without a prefix: the broker's rights go by it
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def base_address(*schemes: str, may_be_empty: bool = False) -> AfterValidator:
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


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoints(Group):
    """Base addresses of the exchange. The market-data-only hosts need no key and no account.

    USD-M futures: wss://fstream.binance.com/market, https://fapi.binance.com and /fapi/v1.
    """

    ws: Annotated[str, base_address("wss", "ws")] = "wss://data-stream.binance.vision"
    rest: Annotated[str, base_address("https", "http")] = "https://data-api.binance.vision"
    history_rest: Annotated[str, base_address("https", "http", may_be_empty=True)] = (
        ""  # where historicalTrades is answered, when not at `rest`; the data-only host does not
    )
    archive: Annotated[str, base_address("https", "http")] = "https://data.binance.vision"  # of past days and months
    archive_listing: Annotated[str, base_address("https", "http")] = (
        "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"  # the store it lies in, which lists its files
    )
    api: str = Field(default="/api/v3", max_length=100)

    @field_validator("api")
    @classmethod
    def _path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value):
            raise ValueError(f"{value!r} is not a path; write it like /api/v3 or /fapi/v1")
        return value


class Kafka(Group):
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


BP = 1e4  # basis points in 1
FEES_BP = {"taker": 10.0, "maker": 2.0, "futures": 4.0}  # of each side
BasisPoints = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]


class Costs(Group):
    """What a position costs that an action opens, in basis points (0.01 %) of its price: what the signal acts by.

    Each of its two sides costs a fee, half the spread and slippage.
    """

    preset: Literal["taker", "maker", "futures"] = "taker"  # whose fee: 10, 2 or 4 bp a side
    fee_bp: BasisPoints | None = None  # a side, instead of the preset's
    spread_bp: BasisPoints = 0.0  # between the best bid and the best offer
    slippage_bp: BasisPoints = 0.0  # a side, beyond the best price

    @property
    def side_bp(self) -> float:
        """What one side costs together, bp."""
        fee = FEES_BP[self.preset] if self.fee_bp is None else self.fee_bp
        return fee + self.spread_bp / 2 + self.slippage_bp

    @property
    def round_trip(self) -> float:
        """Entering and leaving, as a share of the price."""
        return 2 * self.side_bp / BP


ROUND_TRIP = Costs().round_trip  # where nobody says otherwise


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Gate(Group):
    """What a retrained model must hold before it may serve, or shadow the one that does. Shares are from 0 to 1."""

    tolerance: Share = (
        0.02  # by which its loss may exceed the champion's or the reference's: refits differ by 0.6 to 1.8 %
    )
    worse_than_baselines: Share = (
        0.25  # by which its loss may surely exceed a baseline's, where it is the first of its kind
    )
    implausible_skill: Share = (
        0.5  # a model that saves more of a baseline's loss than any ever did is taken for one that peeks
    )
    calibration_error: Share = 0.1  # the most by which probabilities may differ from frequencies, in the mean
    coverage_low: Share = 0.8  # the least and the most that the forecast's 90 % interval may hold, for every horizon
    coverage_high: Share = 0.97
    hold_share: Share = 0.5  # the least share of candles on which the signal says Hold
    fat_finger_recall: Share = 0.9  # the least share of planted fat fingers that must be found
    false_alarms_per_100k: float = Field(default=500, ge=0, le=100_000, allow_inf_nan=False)  # ordinary trades
    novel_share: Share = 0.2  # the most candles that may be called novel
    latency_factor: float = Field(
        default=4.0, ge=1, le=1_000, allow_inf_nan=False
    )  # times the champion's time for the same windows; without a champion, times the kind's usual one, as the machine goes
    size_mb: float = Field(default=64.0, gt=0, le=10_000, allow_inf_nan=False)  # all files of a version

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if self.coverage_low >= self.coverage_high:
            raise ValueError("coverage_low must be below coverage_high")
        return self


class Ports(Group):
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
