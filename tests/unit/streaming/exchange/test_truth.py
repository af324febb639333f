"""The truth about fat fingers is on file as they trade, once each, and equals what the exchange shows of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from quantstream.core.decimals import to_units
from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.truth import Truth


def records(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def reach(exchange: Any, market: SyntheticMarket, at: int) -> None:
    while (await exchange.get("/api/v3/time"))["serverTime"] * 1000 < at + MINUTE:
        await asyncio.sleep(0.05)


async def test_what_is_on_file_is_what_traded(market: SyntheticMarket, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    end = market.starts_at + 12 * 60 * MINUTE
    async with run(market, speed=40_000.0, truth_file=path) as exchange:
        await reach(exchange, market, end)
        written = records(path)
        for record in written[:20]:
            rows = await exchange.get(
                "/api/v3/historicalTrades", symbol=record["symbol"], fromId=record["first_trade_id"], limit=1
            )
            assert (rows[0]["price"], rows[0]["time"]) == (record["price"], record["traded_at"] // 1000)
    of_bitcoin = [record["first_trade_id"] for record in written if record["symbol"] == "BTCUSDT"]
    true_ids = [
        int(tape.ids[finger.row])
        for tape, start, stop in trades_between(market, "BTCUSDT", market.starts_at, end)
        for finger in tape.fat_fingers
        if start <= finger.row < stop
    ]
    assert true_ids
    assert of_bitcoin[: len(true_ids)] == true_ids


async def test_what_an_earlier_run_wrote_is_not_written_twice(
    market: SyntheticMarket, run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "truth.jsonl"
    for hours in (6, 9):
        async with run(market, speed=40_000.0, truth_file=path) as exchange:
            await reach(exchange, market, market.starts_at + hours * 60 * MINUTE)
    keys = [(record["symbol"], record["first_trade_id"]) for record in records(path)]
    assert len(keys) == len(set(keys)) > 0


def test_sizes_are_as_many_medians_as_said(market: SyntheticMarket, tmp_path: Path) -> None:
    truth = Truth(tmp_path / "truth.jsonl")
    for span in trades_between(market, "BTCUSDT", market.begins_at, market.starts_at - 600 * MINUTE):
        truth.write(span)
    truth.close()
    sizes = [record for record in records(tmp_path / "truth.jsonl") if record["kind"] == "size"]
    assert sizes
    tape = market.tape_at("BTCUSDT", market.begins_at)
    median = sorted(tape.quantity.tolist())[len(tape) // 2]
    assert all(0.5 < to_units(record["quantity"]) / (record["times"] * median) < 2 for record in sizes)


def test_a_line_cut_off_by_a_crash_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    whole = (
        b'{"symbol":"BTCUSDT","first_trade_id":1,"last_trade_id":1,"aggregate_id":1,"kind":"size","times":60.0,'
        b'"price":"1.00000000","quantity":"1.00000000","traded_at":1}\n'
    )
    path.write_bytes(whole + b'{"symbol":"BTC')
    Truth(path).close()
    assert path.read_bytes() == whole


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    with pytest.raises(Misconfigured, match="is not a truth file"):
        Truth(path)
