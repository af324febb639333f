"""What is known to be wrong before anything starts: symbols, an exchange out of reach, recordings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.cli.checks import check_exchange, check_same_market, recorded_symbols
from infra.embedded.free_ports import free_port
from quantstream.core.errors import Misconfigured
from quantstream.settings import Endpoints, Settings, load_settings

UNKNOWN = b'{"code":-1121,"msg":"Invalid symbol."}'


def real(symbols: str, rest: str = "https://exchange.example") -> Settings:
    return load_settings(exchange="binance", symbols=symbols, endpoints=Endpoints(rest=rest))


def info(**statuses: str) -> bytes:
    return json.dumps({"symbols": [{"symbol": name, "status": status} for name, status in statuses.items()]}).encode()


def asked_of(url: str) -> list[str]:
    query = parse_qs(urlsplit(url).query)
    return list(json.loads(query["symbols"][0])) if "symbols" in query else query.get("symbol", [])


def listing(**statuses: str) -> Callable[[str], tuple[int, bytes]]:
    """Return an exchange that lists these."""

    def get(url: str) -> tuple[int, bytes]:
        names = asked_of(url)
        if any(name not in statuses for name in names):
            return 400, UNKNOWN
        return 200, info(**{name: status for name, status in statuses.items() if name in names or not names})

    return get


def test_symbols_that_the_exchange_trades_pass() -> None:
    asked: list[str] = []

    def get(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, info(BTCUSDT="TRADING", ETHUSDT="TRADING")

    assert check_exchange(real("BTCUSDT,ETHUSDT"), get) == []
    assert asked == [
        "https://exchange.example/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D",
    ]


def test_unknown_symbol_is_named_among_the_known_ones() -> None:
    with pytest.raises(
        Misconfigured, match=r"^the exchange at https://exchange\.example does not trade NOPE; check --symbols$"
    ):
        check_exchange(real("BTCUSDT,NOPE"), listing(BTCUSDT="TRADING"))


def test_a_symbol_that_is_listed_and_not_traded_is_named_with_its_status() -> None:
    get = listing(BTCUSDT="TRADING", LUNAUSDT="BREAK", FTTUSDT="HALT")
    with pytest.raises(Misconfigured, match=r"does not trade LUNAUSDT \(BREAK\), FTTUSDT \(HALT\); check --symbols$"):
        check_exchange(real("BTCUSDT,LUNAUSDT,FTTUSDT"), get)


def test_a_symbol_that_was_followed_before_and_is_delisted_is_told_and_not_refused() -> None:
    get = listing(BTCUSDT="TRADING", LUNAUSDT="BREAK")
    assert check_exchange(real("BTCUSDT,LUNAUSDT,GONEUSDT"), get, seen={"LUNAUSDT", "GONEUSDT"}) == [
        "LUNAUSDT",
        "GONEUSDT",
    ]
    with pytest.raises(Misconfigured, match=r"does not trade GONEUSDT; check"):
        check_exchange(real("BTCUSDT,LUNAUSDT,GONEUSDT"), get, seen={"LUNAUSDT"})


def test_two_thousand_symbols_are_asked_for_in_addresses_that_servers_take() -> None:
    names = [f"S{number:04}USDT" for number in range(2_000)]
    asked: list[str] = []

    def get(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return listing(**dict.fromkeys(names, "TRADING"))(url)

    assert check_exchange(real(",".join(names)), get) == []
    assert len(asked) == 20
    assert max(map(len, asked)) < 4_000
    with pytest.raises(Misconfigured, match=r"does not trade S0007USDT; check --symbols$"):
        check_exchange(real(",".join(names)), listing(**dict.fromkeys([*names[:7], *names[8:]], "TRADING")))


@pytest.mark.parametrize("body", [b"{}", b"<html>", b"[]", b'{"symbols":[{}]}', b'{"symbols":7}'])
def test_an_answer_that_is_not_the_exchanges_is_not_taken_for_a_yes(body: bytes) -> None:
    with pytest.raises(Misconfigured, match=r"is not the exchange: .*QUANTSTREAM_ENDPOINTS__REST"):
        check_exchange(real("BTCUSDT"), lambda _: (200, body))


def test_futures_are_asked_for_all_at_once_as_they_know_no_choice() -> None:
    settings = load_settings(
        exchange="binance",
        symbols="BTCUSDT,DEADUSDT",
        stream="aggTrade",
        endpoints=Endpoints(rest="https://fapi.example", api="/fapi/v1"),
    )
    asked: list[str] = []

    def get(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, info(BTCUSDT="TRADING", DEADUSDT="SETTLING", ETHUSDT="TRADING")

    with pytest.raises(Misconfigured, match=r"does not trade DEADUSDT \(SETTLING\); check --symbols$"):
        check_exchange(settings, get)
    assert asked == ["https://fapi.example/fapi/v1/exchangeInfo"]


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
