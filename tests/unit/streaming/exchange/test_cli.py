"""The command: real processes, restarts, and mistakes answered with one sentence."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantstream.core.errors import Misconfigured
from streaming.exchange.cli import choose_market, main, parser

START = "2025-11-22T08:28:43Z"


def get(rest: str, path: str) -> Any:
    with urllib.request.urlopen(f"{rest}{path}", timeout=10) as answer:
        return json.load(answer)


def test_two_exchanges_of_one_seed_and_start_are_the_same(simulate: Any) -> None:
    arguments = ("--seed", "3", "--start-at", START, "--history-days", "1", "--symbols", "BTCUSDT,XRPUSDT")
    one, other = simulate(*arguments), simulate(*arguments)
    for path in (
        "/api/v3/klines?symbol=BTCUSDT&interval=5m&startTime=0&limit=280",
        "/api/v3/historicalTrades?symbol=XRPUSDT&fromId=1&limit=500",
        "/api/v3/aggTrades?symbol=BTCUSDT&fromId=9000&limit=1000",
    ):
        assert get(one.rest, path) == get(other.rest, path)
    assert [one.stop(), other.stop()] == [0, 0]


async def next_trades(ws: str, count: int) -> list[Any]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{ws}/ws/btcusdt@trade") as stream:
        return [json.loads((await stream.receive(timeout=10)).data) for _ in range(count)]


async def test_a_killed_exchange_resumes_its_market_and_never_goes_back(simulate: Any, tmp_path: Path) -> None:
    clock = ("--clock-file", str(tmp_path / "state" / "clock.json"))
    arguments = (*clock, "--speed", "100", "--seed", "5", "--symbols", "BTCUSDT", "--history-days", "1")
    first = simulate(*arguments)
    seen = await next_trades(first.ws, 30)
    before = get(first.rest, "/api/v3/time")["serverTime"]
    first.kill()
    second = simulate("--speed", "100", "--symbols", "BTCUSDT", *clock)
    assert get(second.rest, "/api/v3/time")["serverTime"] >= before
    resumed = await next_trades(second.ws, 30)
    assert [event["t"] for event in resumed] == list(range(resumed[0]["t"], resumed[0]["t"] + 30))
    assert resumed[0]["t"] > seen[-1]["t"]
    assert resumed[0]["T"] >= before
    path = f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={seen[0]['t']}&limit=1000"
    rows = {row["id"]: row for row in get(second.rest, path)}
    assert all(
        (rows[e["t"]]["price"], rows[e["t"]]["time"]) == (e["p"], e["T"]) for e in [*seen, *resumed] if e["t"] in rows
    )
    assert set(range(seen[0]["t"], min(seen[0]["t"] + 1000, resumed[0]["t"]))) <= set(rows)


def test_an_exchange_that_can_no_longer_keep_its_clock_ends_with_a_sentence(simulate: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    exchange = simulate("--clock-file", str(state / "clock.json"), "--symbols", "BTCUSDT", "--history-days", "1")
    shutil.rmtree(state)
    state.touch()
    assert exchange.popen.wait(10) == 2
    assert "cannot be written" in exchange.log.read_text().splitlines()[-1]


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The command sets up its process's logs; this process has others."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    return printed.err


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert failed(capsys, "--port", str(port)) == (
            f"port {port} of 127.0.0.1 is taken; choose another with --port, or --port 0 for a free one\n"
        )


def test_a_corrupt_or_missing_recording_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "spot_btcusdt.gz"
    broken.write_bytes(b"\x1f\x8b\x08\x00broken")
    assert str(broken) in failed(capsys, "--recording", str(broken))
    assert "there is no file" in failed(capsys, "--recording", str(tmp_path / "none.gz"))


def test_a_planted_change_is_kept_with_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    given = ["--seed", "3", "--clock-file", str(path)]
    begun = choose_market(parser().parse_args([*given, "--regime", "2026-11-29T12:00=4"]), 1.7e9)
    path.write_text(json.dumps({"market": begun.identity, "at": begun.resumes_at}))
    again = choose_market(parser().parse_args(given), 1.8e9)
    assert again.identity == begun.identity
    assert again.identity["regime"] == "1795953600000000=4"
    with pytest.raises(Misconfigured, match="belongs to another market"):
        choose_market(parser().parse_args([*given, "--regime", "2026-11-29T12:00=5"]), 1.8e9)


def test_another_markets_clock_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text('{"market":{"kind":"synthetic","seed":1,"starts_at":1763800000000000,"history_days":60,'
                    '"trades_per_second":1.5},"at":1763800000000000}')  # fmt: skip
    assert "belongs to another market" in failed(capsys, "--clock-file", str(path), "--seed", "2")


@pytest.mark.parametrize(
    "wrong",
    [("--speed", "0"), ("--seed", "-1"), ("--faults", "fire=1"), ("--trades-per-second", "-1")],
)
def test_a_wrong_figure_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    assert failed(capsys, *wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--symbols", "btc/usdt"),
        ("--start-at", "soon"),
        ("--port", "x"),
        ("--regime", "now=4"),
        ("--regime", "2026-11-28=-1"),
    ],
)
def test_an_unreadable_argument_is_refused(capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert wrong[1] in capsys.readouterr().err
