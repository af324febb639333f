"""Settings say what is wrong and how to mend it."""

import pytest

from quantstream.errors import Misconfigured
from quantstream.settings import load_settings


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
