"""The command line as a user meets it: one sentence for what is wrong, the right exit code, never a traceback."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from infra.embedded.free_ports import free_port, free_ports

Cli = Callable[..., "CompletedProcess[str]"]


def refused(done: CompletedProcess[str], *words: str, code: int = 2) -> None:
    """Assert that a command ended with one sentence holding the words."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_help_lists_the_verbs(cli: Cli) -> None:
    done = cli("--help")
    assert done.returncode == 0
    for verb in ("up", "status", "logs", "down", "reset", "doctor", "candles", "verify", "replay", "repair"):
        assert verb in done.stdout


def test_setting_that_does_not_exist(cli: Cli) -> None:
    refused(cli("status", env={"QUANTSTREAM_SYMBOL": "BTCUSDT"}), "QUANTSTREAM_SYMBOL is not a setting; known are")


def test_symbol_that_is_none(cli: Cli) -> None:
    refused(
        cli("up", "--symbols", "BTC/USDT"), "'BTC/USDT' is not a symbol; write it as the exchange does, e.g. BTCUSDT"
    )


def test_exchange_that_is_not_known(cli: Cli) -> None:
    refused(cli("up", "--exchange", "kraken"), "QUANTSTREAM_EXCHANGE", "'simulated' or 'binance'")


def test_exchange_out_of_reach(cli: Cli, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = cli("up", "--exchange", "binance", env={"QUANTSTREAM_ENDPOINTS__REST": nowhere})
    refused(done, f"the exchange at {nowhere}/api/v3 did not answer", "--exchange simulated")
    assert not (tmp_path / "state" / "stack.json").exists()


def test_recording_that_is_missing(cli: Cli, tmp_path: Path) -> None:
    refused(cli("up", "--recording", str(tmp_path / "none.gz")), "there is no file")


def test_recording_that_is_corrupt(cli: Cli, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.gz"
    corrupt.write_bytes(b"\x1f\x8b\x08\x00 this is no gzip stream")
    refused(cli("up", "--recording", str(corrupt)), "corrupt.gz")


def test_recording_and_real_exchange_exclude_each_other(cli: Cli, tmp_path: Path) -> None:
    refused(
        cli("up", "--recording", str(tmp_path), "--exchange", "binance"),
        "--recording is played by the simulated exchange",
    )


def test_named_port_that_is_taken(cli: Cli) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        done = cli("up", "--dashboard-port", str(port))
    refused(done, f"port {port} for dashboard is taken by", "--dashboard-port")


def test_broker_jars_missing_without_a_network(cli: Cli, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    offline = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"), nowhere)
    pages = zip(("dashboard", "airflow", "mlflow"), free_ports(3), strict=True)
    ports = [option for page, port in pages for option in (f"--{page}-port", str(port))]
    done = cli(
        "up", *ports, env={"QUANTSTREAM_CACHE": str(tmp_path / "cache"), "NO_PROXY": "", "no_proxy": "", **offline}
    )
    refused(done, "could not fetch", "from Maven Central", "connect to the network once and try again")


def test_status_of_what_was_never_started(cli: Cli) -> None:
    done = cli("status", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert "nothing was ever started" in found.pop("notes")[0]
    assert found == {"processes": {}, "symbols": {}, "models": {}, "lag": None, "urls": {}}


def test_down_with_nothing_running_is_no_error(cli: Cli) -> None:
    done = cli("down")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is running" in done.stdout


def test_logs_before_the_first_start(cli: Cli) -> None:
    refused(cli("logs", "ingest"), "run quantstream up first")


def test_reset_removes_only_a_state_folder(cli: Cli, tmp_path: Path) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "photo.jpg").touch()
    refused(cli("reset", "--yes", "--state", str(holiday)), "is not a state folder of QuantStream")
    assert (holiday / "photo.jpg").exists()


def test_reset_asks_first(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "stack.json").write_text(
        json.dumps({"urls": {}, "kafka": "", "processes": {}, "airflow_password_file": "", "settings": {}})
    )
    assert cli("reset").returncode == 1  # nobody answers
    assert folder.exists()
    assert cli("reset", "--yes").returncode == 0
    assert not folder.exists()


def test_candles_of_a_file_that_is_missing(cli: Cli, tmp_path: Path) -> None:
    done = cli("candles", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out.csv"))
    refused(done, "there is no file")
    assert not (tmp_path / "out.csv").exists()


def test_broken_line_of_a_recording_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-trades.csv"
    file.write_text("1,100.0,1.0,100.0,1723161300000,True,True\n2,abc,1.0,100.0,1723161300001,True,True\n")
    done = cli("candles", str(file), "--out", str(tmp_path / "out.csv"))
    assert done.returncode == 3, done.stderr
    assert "BTCUSDT-trades.csv, line 2: not a row of trades" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not whole: 1 rows refused")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


@pytest.mark.data
def test_candles_of_real_frames(cli: Cli, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = cli("candles", str(data / "ws_frames" / "spot_btcusdt_20240808.gz"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    header, *rows = out.read_text().splitlines()
    assert header.replace('"', "").split(",") == [
        *("symbol", "opened_at", "open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
        *("taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "is_complete"),
    ]
    assert len(rows) == 3
