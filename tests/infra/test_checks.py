"""What is known to be wrong before anything starts: symbols, an exchange out of reach, recordings."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from infra.local.checks import check_exchange, check_same_market, recorded_symbols
from infra.local.ports import free_port
from quantstream.errors import Misconfigured
from quantstream.settings import Endpoints, Settings, load_settings

UNKNOWN = b'{"code":-1121,"msg":"Invalid symbol."}'


def real(symbols: str, rest: str = "https://exchange.example") -> Settings:
    return load_settings(exchange="binance", symbols=symbols, endpoints=Endpoints(rest=rest))


def test_symbols_that_the_exchange_trades_pass() -> None:
    asked: list[str] = []

    def get(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b"{}"

    check_exchange(real("BTCUSDT,ETHUSDT"), get)
    assert asked == [
        "https://exchange.example/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D",
    ]


def test_unknown_symbol_is_named_among_the_known_ones() -> None:
    def get(url: str) -> tuple[int, bytes]:
        return (400, UNKNOWN) if "NOPE" in url else (200, b"{}")

    with pytest.raises(
        Misconfigured, match=r"^the exchange at https://exchange\.example does not trade NOPE; check --symbols$"
    ):
        check_exchange(real("BTCUSDT,NOPE"), get)


def test_refusal_for_another_reason_is_not_blamed_on_the_symbols() -> None:
    with pytest.raises(Misconfigured, match=r"refused with HTTP 451; try later, or use --exchange simulated"):
        check_exchange(real("BTCUSDT"), lambda _: (451, b"<html>"))


def test_exchange_out_of_reach_is_one_sentence_with_a_way_on() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(
        Misconfigured, match=rf"^the exchange at {nowhere} cannot be reached .*use --exchange simulated$"
    ):
        check_exchange(real("BTCUSDT", nowhere))


@pytest.mark.data
def test_symbols_come_from_the_recordings_in_their_order(data: Path) -> None:
    frames = data / "ws_frames"
    files = [frames / "spot_ethusdt_20240808.gz", frames / "spot_btcusdt_20240808.gz"]
    assert recorded_symbols(files) == ("ETHUSDT", "BTCUSDT")


@pytest.mark.data
def test_recording_that_was_cut_off_is_refused_before_anything_starts(data: Path, tmp_path: Path) -> None:
    cut = tmp_path / "spot_btcusdt_20240808.gz"
    whole = (data / "ws_frames" / "spot_btcusdt_20240808.gz").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Misconfigured, match="damaged or cut off"):
        recorded_symbols([cut])


def test_recording_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no file"):
        recorded_symbols([tmp_path / "nothing.gz"])


def test_recording_of_garbage_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.gz"
    garbage.write_bytes(gzip.compress(b"\x00\x01 not a trade at all\n" * 10))
    with pytest.raises(Misconfigured):
        recorded_symbols([garbage])


def test_a_state_that_holds_another_market_is_not_mixed_with_it(tmp_path: Path) -> None:
    recording = tmp_path / "btc.gz"
    recording.write_bytes(b"1234567")
    check_same_market(tmp_path, ())
    clock = tmp_path / "exchange" / "clock.json"
    clock.parent.mkdir()
    clock.write_text('{"market":{"kind":"synthetic","seed":5},"at":1}')
    check_same_market(tmp_path, ())
    for other in ([recording], None):
        with pytest.raises(Misconfigured, match="holds a synthetic market; keep another market apart with --state DIR"):
            check_same_market(tmp_path, other)
    clock.write_text('{"market":{"kind":"recording","files":"btc.gz:7"},"at":1}')
    check_same_market(tmp_path, [recording])
    with pytest.raises(Misconfigured, match=r"holds the recording of btc\.gz; keep"):
        check_same_market(tmp_path, ())
