"""A futures market through the whole path: aggregates whose trades' ids skip become the market's own candles, whatever is spoilt.

Trades of the insurance fund have ids and are in no aggregate. Nothing of that is missing, in any stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from infra.embedded.free_ports import free_port
from quantstream.binance.rest import BlockingRest
from quantstream.lake.store import Lake
from quantstream.messages.payloads import DeadRecord, Event, decode
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import DEAD, EVENTS
from quantstream.settings import Kafka
from streaming.reconcile.verify import Exchange, verify
from tests.broker.test_live_path import Processes, sample, wait_for
from tests.chaos.balance import lake_off
from tests.topics import read_topic

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
# A market that has trades off the book in its first windows; REST is spoilt as well.
MARKET = ("--symbols", ",".join(SYMBOLS), "--history-days", "1", "--seed", "47", "--start-at", "2026-01-05T14:00:30Z")
FAULTS = "skip=0.005,duplicate=0.02,reorder=0.01,malformed=0.002,drop=0.0005,rest_500=0.05"
WITH_RULE = ("detect", "score")


class FuturesProcesses(Processes):
    """Stages with a rule for champion, told of a futures market as README tells of the real one."""

    def futures(self, *arguments: str) -> str:
        """Start the market and return the base of its API."""
        rest = self.exchange("--market", "futures", *arguments)
        self.env |= {
            "QUANTSTREAM_ENDPOINTS__WS": self.env["QUANTSTREAM_ENDPOINTS__WS"] + "/market",
            "QUANTSTREAM_ENDPOINTS__API": "/fapi/v1",
            "QUANTSTREAM_STREAM": "aggTrade",
            "QUANTSTREAM_SYMBOLS": ",".join(SYMBOLS),
        }
        return rest

    def argv(self, stage: str) -> list[str]:
        module = "tests.chaos.stage" if stage in WITH_RULE else "streaming"
        return [sys.executable, "-m", module, stage]


@pytest.fixture
def processes(tmp_path: Path, fresh_broker: Kafka) -> Iterator[FuturesProcesses]:
    started = FuturesProcesses(tmp_path, fresh_broker)
    yield started
    started.stop()


def test_futures_come_to_their_own_klines_and_every_stage_takes_ids_that_skip(
    processes: FuturesProcesses, fresh_broker: Kafka, tmp_path: Path
) -> None:
    rest = processes.futures(*MARKET, "--speed", "120", "--trades-per-second", "4", "--faults", FAULTS)
    ports = {stage: free_port() for stage in STAGES}
    for stage, port in ports.items():
        processes.start(stage, QUANTSTREAM_HTTP_PORT=str(port))
    lake = Lake(str(tmp_path / "lake"))
    wait_for(lambda: lake.candles().num_rows >= 9)
    for stage in ("ingest", "aggregate"):
        processes.kill(stage)
        processes.start(stage, QUANTSTREAM_HTTP_PORT=str(ports[stage]))
    seen = lake.candles().num_rows
    wait_for(lambda: lake.candles().num_rows >= seen + 9)
    urlopen(Request(f"{rest}/control/faults", method="DELETE")).close()
    wait_for(lambda: sample(ports["ingest"], "quantstream_ingest_open_gaps") == 0)
    wait_for(lambda: all(skips(lake, symbol) for symbol in SYMBOLS))  # how often they do is the market's chance
    seen = lake.candles().num_rows
    wait_for(lambda: lake.candles().num_rows >= seen + 6 and scored(lake) >= seen)

    proof = verify(lake, Exchange(BlockingRest(f"{rest}/fapi/v1")), SYMBOLS)
    found = {name: proof.total(name) for name in ("incomplete", "different", "missing", "duplicate", "missing_trades")}
    assert found == {"incomplete": 0, "different": 0, "missing": 0, "duplicate": 0, "missing_trades": 0}
    assert (proof.not_compared, proof.total("scored_twice")) == ([], 0)
    assert proof.total("equal") >= seen
    for ids in ([row["id"] for row in aggregates(lake, symbol)] for symbol in SYMBOLS):
        assert ids == list(range(ids[0], ids[-1] + 1)), "aggregates run on without a gap"
    assert lake_off(lake) == []
    for stage, port in ports.items():
        assert sample(port, f"quantstream_{stage}_unbalanced_symbols") == 0
        assert sample(port, f"quantstream_{stage}_balance_records", outcome="read") > 0
    dead = [decode(message.value() or b"", DeadRecord) for message in read_topic(fresh_broker, DEAD)]
    assert {record.source for record in dead} <= {"ingest"}  # frames that the exchange cut in half
    told = [decode(message.value() or b"", Event) for message in read_topic(fresh_broker, EVENTS)]
    assert {event.kind for event in told} & {
        "gap_given_up",
        "balance_off",
        "symbol_not_scored",
        "symbol_set_aside",
    } == set()


def scored(lake: Lake) -> int:
    return lake.read("scores", columns=["symbol", "opened_at"]).num_rows


def aggregates(lake: Lake, symbol: str) -> list[dict[str, Any]]:
    names = ["symbol", "traded_at", "id", "first_trade_id", "last_trade_id"]
    rows: list[dict[str, Any]] = lake.read("trades", [symbol], columns=names).to_pylist()
    return sorted(rows, key=lambda row: row["id"])


def skips(lake: Lake, symbol: str) -> bool:
    """Tell whether the ids of a symbol's single trades skip."""
    return any(other["first_trade_id"] > one["last_trade_id"] + 1 for one, other in pairwise(aggregates(lake, symbol)))
