"""Settings say what is wrong and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from quantstream.core.errors import Misconfigured
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings


def test_symbols_are_a_comma_list_in_capitals_without_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_SYMBOLS", "btcusdt, ETHUSDT,BTCUSDT")
    assert load_settings().symbols == ("BTCUSDT", "ETHUSDT")


def test_symbols_are_as_the_exchange_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("BTCUSDT_240628", "BTCUSD_PERP", "1000SATSUSDT", "币安人生USDT")
    monkeypatch.setenv("QUANTSTREAM_SYMBOLS", ", ".join(names))
    assert load_settings().symbols == names


def test_nested_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_KAFKA__BOOTSTRAP", "broker:9092")
    assert load_settings().kafka.bootstrap == "broker:9092"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("QUANTSTREAM_SYMBOL", "X", "QUANTSTREAM_SYMBOL is not a setting"),
        ("QUANTSTREAM_KAFKA__BOOTSTRAPS", "x", "QUANTSTREAM_KAFKA__BOOTSTRAPS: Extra inputs are not permitted"),
        ("QUANTSTREAM_SYMBOLS", "BTC/USDT", "QUANTSTREAM_SYMBOLS: 'BTC/USDT' is not a symbol"),
        ("QUANTSTREAM_SYMBOLS", "BTC USDT", "QUANTSTREAM_SYMBOLS: 'BTC USDT' is not a symbol"),
        ("QUANTSTREAM_KAFKA", "broker:9092", 'error parsing value for field "kafka" from source'),
        ("QUANTSTREAM_SYMBOLS", "..", "QUANTSTREAM_SYMBOLS: '..' is not a symbol"),
        ("QUANTSTREAM_SYMBOLS", "", "QUANTSTREAM_SYMBOLS: name at least one symbol"),
        ("QUANTSTREAM_INTERVALS", "7m", "QUANTSTREAM_INTERVALS: '7m' is not an interval"),
        ("QUANTSTREAM_EXCHANGE", "kraken", "QUANTSTREAM_EXCHANGE: Input should be 'simulated' or 'binance'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_KAFKA__SECURITY", "SASL_SSL")
    monkeypatch.setenv("QUANTSTREAM_KAFKA__USER", "sink")
    monkeypatch.setenv("QUANTSTREAM_KAFKA__PASSWORD", "hunter2")
    assert "hunter2" not in repr(load_settings())


def test_single_trades_are_asked_where_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().history_rest == "https://api.binance.com"
    monkeypatch.setenv("QUANTSTREAM_ENDPOINTS__REST", "http://127.0.0.1:9")
    assert load_settings().history_rest == "http://127.0.0.1:9"


@pytest.mark.parametrize("value", ["0/2", "3/2", "2", "a/b", "1/0", ""])
def test_a_wrong_share_of_the_symbols_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("QUANTSTREAM_SHARD", value)
    with pytest.raises(Misconfigured, match=r"QUANTSTREAM_SHARD.*write it like 1/3"):
        load_settings()


@pytest.mark.parametrize(
    ("instance", "share"), [("ingest-0", (1, 3)), ("ingest-2", (3, 3)), ("ingest-4", (2, 3)), ("0", (1, 3))]
)
def test_the_number_of_a_pod_says_which_share_it_takes(
    monkeypatch: pytest.MonkeyPatch, instance: str, share: tuple[int, int]
) -> None:
    monkeypatch.setenv("QUANTSTREAM_SHARD", "instance/3")
    monkeypatch.setenv("QUANTSTREAM_INSTANCE", instance)
    assert load_settings().share == share


def test_a_share_by_the_number_of_an_instance_without_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_SHARD", "instance/3")
    monkeypatch.setenv("QUANTSTREAM_INSTANCE", "ingest-7d9f-xk2p")
    with pytest.raises(Misconfigured, match="'ingest-7d9f-xk2p' has no number at its end"):
        load_settings()


def test_processes_of_one_address_are_as_many_as_there_are_shards_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUANTSTREAM_SHARD", "2/3")
    assert load_settings().ingests == 3
    monkeypatch.setenv("QUANTSTREAM_INGESTS_PER_ADDRESS", "6")
    assert load_settings().ingests == 6


NUMBERS = (
    "",
    "much",
    "-1",
    "-0.5",
    "nan",
    "inf",
    "-inf",
    "1e99",
    "99999999999",
    "0x10",
    "1,5",
    "\u0663\u0663\u0663\u0663\u0663\u0663\u0663\u0663\u0663",
)
ADDRESSES = (
    "host",
    "ftp://host",
    "http://",
    "https://:80",
    "http://host:0",
    "http://host:70000",
    "http://a b",
    "https://h?x=1",
    " ",
)
CHOICES = ("", "nonsense", "JSON ", "0")
PATHS = (" ", "a\nb", "\t")
# What must be refused of each setting; a setting that is not named here has no bounds, which the test finds.
SHARES = (
    *("tolerance", "worse_than_baselines", "implausible_skill", "calibration_error", "coverage_low", "coverage_high"),
    *("hold_share", "fat_finger_recall"),
)
NONSENSE: dict[str, tuple[str, ...]] = {
    "state": ("", ".", "/", "a\nb", "~"),
    "exchange": CHOICES,
    "symbols": ("", ",", " , ", "BTC/USDT", "A B", ",".join(f"S{number}" for number in range(10_001))),
    "intervals": ("", ",", "7m", "1m", "1m,15m", "-5m", "0m"),
    "stream": CHOICES,
    "socket": CHOICES,
    "shard": ("0/2", "3/2", "2", "1/0", "", "-1/2", "1/1000000", "1/2/3", "instance/0", "instance/", "pod/2"),
    "ingests_per_address": (*NUMBERS, "10001"),
    "rotate_hours": (*NUMBERS, "0", "24.5"),
    "lateness_ms": (*NUMBERS, "0.5", "60001"),
    "max_ahead_s": (*NUMBERS, "0"),
    "commit_ms": (*NUMBERS, "0", "10001"),  # a stage that does not turn for 30 s is taken for dead
    "sink_commit_ms": (*NUMBERS, "0"),
    "history_days": (*NUMBERS, "0", "3651"),
    "model_age_days": (*NUMBERS, "0", "3651"),
    "trades_days": (*NUMBERS, "7", "36501"),
    "lake": (" ", "http://host/lake", "hdfs://x", "a\nb"),
    "mlflow": (*ADDRESSES, "sqlite:///x"),
    "shadow_candles": (*NUMBERS, "100001"),
    "shadow_days": (*NUMBERS, "0", "366"),
    "ask_before_promotion": ("perhaps", "2"),
    "dask": ("remote", "http://host:8786", "tcp://host", "tcp://:8786", "tcp://a b:1"),
    "studies": ("optuna", "mysql://host/db", "postgresql://host", "postgresql:///db", "sqlite://", "sqlite:///a b"),
    "positions": PATHS,
    "stages": ("score", "score=host", "=http://a:1", "score=https://a:1", "a=http://x:1;b=http://y:1 z"),
    "http_port": (*NUMBERS, "65536"),
    "http_host": ("", " ", "a b", "http://127.0.0.1", "a/b"),
    "instance": ("", " ", "a b", "a/b", "ü", "x" * 201),
    "log_format": CHOICES,
    "costs.preset": CHOICES,
    **{f"costs.{name}": (*NUMBERS, "1001") for name in ("fee_bp", "spread_bp", "slippage_bp")},
    "endpoints.ws": (*ADDRESSES, "", "https://host"),
    "endpoints.rest": (*ADDRESSES, "", "wss://host"),
    "endpoints.history_rest": (*ADDRESSES, "wss://host"),
    "endpoints.archive": (*ADDRESSES, "wss://host", ""),
    "endpoints.archive_listing": (*ADDRESSES, "wss://host", ""),
    "endpoints.api": ("", "api", "/", "/api v3", "/api/../..\n", "/a?b=c"),
    **{f"gate.{name}": (*NUMBERS, "1.01", "inf") for name in SHARES},
    "gate.false_alarms_per_100k": (*NUMBERS, "100001"),
    "gate.novel_share": (*NUMBERS, "1.01"),
    "gate.latency_factor": (*NUMBERS, "0.9"),
    "gate.size_mb": (*NUMBERS, "0"),
    "kafka.bootstrap": ("", "host", "host:", ":9092", "host:0", "host:70000", "a:1,,b:2", "a:1;b:2", "http://a:1"),
    "kafka.security": (*CHOICES, "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka.user": (" me", "a\nb", "x" * 201, "somebody"),  # a login is sent over TLS only
    "kafka.password": ("hunter2",),
    "kafka.ca_file": PATHS,
    "kafka.replication": (*NUMBERS, "0", "10"),
    "kafka.partitions": (*NUMBERS, "0", "1001"),
    "kafka.topic_prefix": (
        " ",
        "restored",
        "a b.",
        "rest/ored.",
        "ü.",
        "_x.",
        "a_b.",
        "A.",
        ".",
        "x" * 60 + ".",
        "market.x.",
        "ops.",
        "quantstream-b-",
    ),
    "ports.dashboard": (*NUMBERS, "0", "65536", "8080"),
    "ports.airflow": (*NUMBERS, "0", "65536", "5000"),
    "ports.mlflow": (*NUMBERS, "0", "65536", "8501"),
}
GOOD = {
    "intervals": "1m,5m",
    "lateness_ms": "0",
    "rotate_hours": "0.5",
    "lake": "s3://bucket/lake",
    "mlflow": "http://mlflow:5000",
    "dask": "tcp://dask-scheduler:8786",
    "studies": f"postgresql://me:{'secret'}@postgres:5432/studies",
    "stages": "score=http://score:8000,mlflow=http://mlflow:5000/health",
    "instance": "score-0",
    "http_host": "::1",
    "endpoints.ws": "ws://127.0.0.1:9400",
    "endpoints.rest": "https://api.binance.us/",
    "endpoints.api": "/fapi/v1",
    "kafka.bootstrap": "a:9092, [::1]:9093",
    "kafka.partitions": "256",
    "kafka.topic_prefix": "restored-2.",
    "state": "~/market",
}


def fields(model: type[BaseModel] = Settings, before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{name}.")
        else:
            yield before + name


def variable(place: str) -> str:
    return "QUANTSTREAM_" + place.replace(".", "__").upper()


def test_every_setting_has_nonsense_that_it_refuses() -> None:
    assert list(fields()) == list(NONSENSE)


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, values in NONSENSE.items() for value in values])
def test_nonsense_is_refused_in_a_sentence_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, place: str, value: str
) -> None:
    monkeypatch.setenv(variable(place), value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    output = str(caught.value)
    assert output.startswith(variable(place.split(".")[0]))
    assert "\n" not in output
    assert len(output) < 400
    assert "hunter2" not in output


@pytest.mark.parametrize("place", GOOD)
def test_sense_is_taken(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv(variable(place), GOOD[place])
    if place == "endpoints.api":
        monkeypatch.setenv("QUANTSTREAM_STREAM", "aggTrade")  # futures have no other
    load_settings()


def test_a_number_out_of_bounds_is_told_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_LATENESS_MS", "-1")
    with pytest.raises(
        Misconfigured, match=r"^QUANTSTREAM_LATENESS_MS: '-1' does not fit; use a number from 0 to 60000$"
    ):
        load_settings()


def test_an_interval_that_no_model_judges_does_not_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_INTERVALS", "1m")
    with pytest.raises(Misconfigured, match=r"nothing would be scored; name 5m too, e\.g\. 1m,5m"):
        load_settings()


def test_the_defaults_are_within_their_bounds() -> None:
    assert Settings.model_validate(Settings().model_dump()) == Settings()
    assert load_settings(state=Path("/tmp/somewhere")).http_host == "127.0.0.1"


LINKS = {  # what a Service quantstream-kafka-bootstrap with two ports puts into every pod of its namespace
    "QUANTSTREAM_KAFKA_BOOTSTRAP_SERVICE_HOST": "10.96.0.17",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_SERVICE_PORT": "9091",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_SERVICE_PORT_TCP_CLIENTSTLS": "9093",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_PORT": "tcp://10.96.0.17:9091",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_PORT_9093_TCP": "tcp://10.96.0.17:9093",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_PORT_9093_TCP_PROTO": "tcp",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_PORT_9093_TCP_PORT": "9093",
    "QUANTSTREAM_KAFKA_BOOTSTRAP_PORT_9093_TCP_ADDR": "10.96.0.17",
}


def test_variables_that_kubernetes_makes_of_services_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


@pytest.mark.parametrize("name", ["QUANTSTREAM_HTP_PORT", "QUANTSTREAM_PORT", "QUANTSTREAM_KAFKA_SERVICE_HOSTS"])
def test_a_mistyped_setting_is_not_taken_for_one_of_kubernetes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "8000")
    with pytest.raises(Misconfigured, match=f"{name} is not a setting"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "cost"),
    [
        ({}, 0.002),
        ({"PRESET": "maker"}, 0.0004),
        ({"PRESET": "futures", "SPREAD_BP": "2", "SLIPPAGE_BP": "0.5"}, 0.0011),
        ({"PRESET": "maker", "FEE_BP": "7.5"}, 0.0015),
        ({"FEE_BP": "0"}, 0.0),
    ],
)
def test_costs_are_those_of_entering_and_leaving(
    variables: dict[str, str], cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"QUANTSTREAM_COSTS__{name}", value)
    assert load_settings().costs.round_trip == pytest.approx(cost)
