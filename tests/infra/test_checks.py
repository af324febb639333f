"""What is known to be wrong before anything starts: symbols, an exchange out of reach, recordings."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.cli.checks import check_exchange, check_same_market, recorded_symbols
from infra.embedded.free_ports import free_port
from quantstream.binance.protocols import UnknownSymbol
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.settings import Endpoints, Settings
from quantstream.settings_loader import load_settings

Get = Callable[[str, Mapping[str, str]], Any]


def real(symbols: str, rest: str = "https://exchange.example") -> Settings:
    return load_settings(exchange="binance", symbols=symbols, endpoints=Endpoints(rest=rest))


def info(**statuses: str) -> dict[str, Any]:
    return {"symbols": [{"symbol": name, "status": status} for name, status in statuses.items()]}


def listing(**statuses: str) -> Get:
    """Return an exchange that lists these."""

    def get(path: str, query: Mapping[str, str]) -> dict[str, Any]:
        assert path == "/exchangeInfo"
        names = json.loads(query["symbols"]) if "symbols" in query else [*query.values()]
        if any(name not in statuses for name in names):
            raise UnknownSymbol("Invalid symbol.")
        return info(**{name: status for name, status in statuses.items() if name in names or not names})

    return get


def noting(get: Get, asked: list[Mapping[str, str]]) -> Get:
    """Return an exchange that notes what it is asked."""

    def noted(path: str, query: Mapping[str, str]) -> Any:
        asked.append(query)
        return get(path, query)

    return noted


def test_symbols_that_the_exchange_trades_pass() -> None:
    asked: list[Mapping[str, str]] = []
    get = noting(listing(BTCUSDT="TRADING", ETHUSDT="TRADING"), asked)
    assert check_exchange(real("BTCUSDT,ETHUSDT"), get) == []
    assert asked == [{"symbols": '["BTCUSDT","ETHUSDT"]'}]


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
    asked: list[Mapping[str, str]] = []
    assert check_exchange(real(",".join(names)), noting(listing(**dict.fromkeys(names, "TRADING")), asked)) == []
    assert len(asked) == 20
    assert max(len(urlencode(query)) for query in asked) < 4_000
    with pytest.raises(Misconfigured, match=r"does not trade S0007USDT; check --symbols$"):
        check_exchange(real(",".join(names)), listing(**dict.fromkeys([*names[:7], *names[8:]], "TRADING")))


@pytest.mark.parametrize("body", [{}, [], None, {"symbols": [{}]}, {"symbols": 7}])
def test_an_answer_that_is_not_the_exchanges_is_not_taken_for_a_yes(body: object) -> None:
    with pytest.raises(Misconfigured, match=r"is not the exchange: .*QUANTSTREAM_ENDPOINTS__REST"):
        check_exchange(real("BTCUSDT"), lambda *_: body)


def test_futures_are_asked_for_all_at_once_as_they_know_no_choice() -> None:
    settings = load_settings(
        exchange="binance",
        symbols="BTCUSDT,DEADUSDT",
        stream="aggTrade",
        endpoints=Endpoints(rest="https://fapi.example", api="/fapi/v1"),
    )
    asked: list[Mapping[str, str]] = []
    get = noting(listing(BTCUSDT="TRADING", DEADUSDT="SETTLING", ETHUSDT="TRADING"), asked)
    with pytest.raises(Misconfigured, match=r"does not trade DEADUSDT \(SETTLING\); check --symbols$"):
        check_exchange(settings, get)
    assert asked == [{}]


@pytest.mark.parametrize("error", [Misconfigured("it refuses /exchangeInfo (451)"), Unavailable("HTTP 500")])
def test_refusal_for_another_reason_is_not_blamed_on_the_symbols(error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    with pytest.raises(
        Misconfigured, match=rf"^{re.escape(str(error))}; check the network, or use --exchange simulated"
    ):
        check_exchange(real("BTCUSDT"), refuse)


def test_exchange_out_of_reach_is_one_sentence_with_a_way_on() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(
        Misconfigured, match=rf"^the exchange at {nowhere}/api/v3 did not answer .*use --exchange simulated$"
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
    with pytest.raises(Misconfigured, match="holds a synthetic market of spot; keep"):
        check_same_market(tmp_path, (), "futures")
    clock.write_text('{"market":{"kind":"synthetic","seed":5,"market":"futures"},"at":1}')
    check_same_market(tmp_path, (), "futures")
    with pytest.raises(Misconfigured, match="holds a synthetic market of futures; keep"):
        check_same_market(tmp_path, ())
    clock.write_text('{"market":{"kind":"recording","files":"btc.gz:7"},"at":1}')
    check_same_market(tmp_path, [recording])
    with pytest.raises(Misconfigured, match=r"holds the recording of btc\.gz; keep"):
        check_same_market(tmp_path, ())
