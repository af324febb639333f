"""Proofs kept in the lake, a row for each symbol and interval, and told to the operators when something differs."""

from __future__ import annotations

import pyarrow as pa

from quantstream.core.time import utc
from quantstream.kafka import Writer
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, EventKind, encode
from quantstream.messages.topics import EVENTS
from quantstream.settings import Kafka
from streaming.reconcile.proof_report import Proof

KEPT_DIFFERENCES = 20  # of each symbol, as sentences


def keep(lake: Lake, proof: Proof, at: int, run: str = "") -> None:
    """Write a proof made at `at` (wall clock, µs); `run` is the address of what made it.

    Raises: Unavailable.
    """
    rows = []
    for one in proof.symbols:
        texts = [str(difference) for difference in one.differences]
        texts += [f"{text} missing" for text in one.missing_windows] + [f"{text} twice" for text in one.duplicate_rows]
        counts = {name: getattr(one, name) for name in SCHEMAS["proofs"].names if hasattr(one, name)}
        extra = {"verified_at": utc(at), "differences": texts[:KEPT_DIFFERENCES], "run": run}
        rows.append({**counts, **extra, "not_compared": " ".join(proof.not_compared)})
    schema = pa.schema([each for each in SCHEMAS["proofs"] if each.name != "date"])
    if rows:
        lake.append("proofs", pa.Table.from_pylist(rows, schema))


def tell(kafka: Kafka, proof: Proof, at: int) -> None:
    """Tell the operators when something differs.

    Raises: Unavailable.
    """
    off = [one for one in proof.symbols if one.different or one.missing or one.duplicate or one.scored_twice]
    if not off:
        return
    writer = Writer(kafka)
    for one in off:
        text = (
            f"{one.different} candles at {one.interval} differ, {one.missing} are missing, {one.duplicate} rows are there "
            f"twice, {one.scored_twice} are scored twice: run quantstream verify --symbols {one.symbol}"
        )
        writer.send(EVENTS, "verify", encode(Event("verify", EventKind.CANDLES_DIFFER, text, at, one.symbol)))
    writer.flush()
