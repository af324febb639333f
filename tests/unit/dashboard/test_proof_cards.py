"""The last proof on the health page: the newest run's symbols added up, and no table made by looking."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from dashboard.proof_cards import Proofs, proof_body, proof_tiles
from quantstream.core.time import SECOND
from quantstream.lake.store import Lake
from streaming.reconcile.proof_report import Difference, Proof, SymbolProof
from streaming.reconcile.stored_proofs import keep

HOUR = 3_600 * SECOND


def now() -> int:
    return time.time_ns() // 1000


def proof(**changes: int) -> Proof:
    one = SymbolProof("BTCUSDT", "5m", equal=280, scored_once=280)
    other = msgspec.structs.replace(one, symbol="ETHUSDT", equal=200, **changes)
    return Proof([one, other])


def test_a_lake_without_proofs_says_so_and_is_left_alone(tmp_path: Path) -> None:
    found = Proofs(Lake(str(tmp_path / "lake")))
    found.turn()
    assert found.latest is None
    assert "not proved yet" in proof_body(found.latest)
    assert not (tmp_path / "lake").exists()


def test_the_newest_run_counts_and_its_symbols_are_added_up(tmp_path: Path) -> None:
    lake, at = Lake(str(tmp_path)), now()
    keep(lake, proof(different=4), at - HOUR)
    keep(lake, proof(), at, "http://airflow/run")
    found = Proofs(lake)
    found.turn()
    assert found.latest is not None
    assert (found.latest.at, found.latest.counts["equal"], found.latest.counts["different"]) == (at, 480, 0)
    tiles = {tile.label: (tile.value, tile.tone) for tile in proof_tiles(found.latest, at)}
    assert tiles["Candles"] == ("proved", "up")
    assert (tiles["Equal"], tiles["Missing"]) == (("480", "up"), ("0", ""))
    assert proof_body(found.latest) == '<a href="http://airflow/run" target="_blank">the run</a>'


def test_what_differs_is_shown_with_its_fields_escaped_and_what_is_old_is_said(tmp_path: Path) -> None:
    lake, at = Lake(str(tmp_path)), now()
    made = proof(different=1, duplicate=2)
    made.symbols[1].differences = [Difference("ETHUSDT", "5m", "2024-08-09T00:10:00Z", "high", "<2>", "1", None)]
    keep(lake, made, at, "javascript:alert(1)")
    found = Proofs(lake)
    found.turn()
    assert found.latest is not None
    tiles = {tile.label: (tile.value, tile.tone) for tile in proof_tiles(found.latest, at + 31 * HOUR)}
    assert tiles["Candles"] == ("differs", "warn")
    assert (tiles["Different"], tiles["Duplicate"]) == (("1", "down"), ("2", "down"))
    assert proof_body(found.latest) == (
        '<ul class="qs-reasons"><li>ETHUSDT 5m 2024-08-09T00:10:00Z high: lake &lt;2&gt;, from trades 1, exchange none</li></ul>'
    )


def test_what_was_not_compared_is_proved_in_part_only(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    keep(lake, Proof(proof().symbols, ["the exchange's klines, for it did not answer"]), now())
    found = Proofs(lake)
    found.turn()
    assert found.latest is not None
    assert proof_tiles(found.latest, now())[0].value == "in part"
    assert proof_body(found.latest) == "<p>the exchange&#x27;s klines, for it did not answer</p>"
