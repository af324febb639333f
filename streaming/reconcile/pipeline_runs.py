"""The live side's proof, repair and backfill, run from a pipeline as the commands that a person runs, in processes of their own.

Pipelines import nothing of the streaming side, and what a proof needs of memory is given back with its process.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Sequence

from ml.data.symbol_batches import Outcomes
from quantstream.core.errors import DataRejected, Unavailable
from streaming.reconcile.proof_report import DIFFERS

NOT_WHOLE = 3  # the exit code of a backfill that names what is not there
THERE = ("stored", "present", "left", "done_before", "present_before")
NOTHING = "the exchange has no history of it"
SHOWN = 5  # reasons that the sentence of a failure has
log = logging.getLogger(__name__)


def run_verify(since: str = "1d", symbols: Sequence[str] = (), run: str = "") -> str:
    """Prove the candles since a moment, keep the result in the lake, and return its last sentence; `run` is a link to this run.

    Raises: DataRejected when something differs, Unavailable when not all could be compared.
    """
    return _run(["verify", "--keep", "--from", since, *_only(symbols), *(["--run", run] if run else [])])


def run_repair(since: str = "1d", symbols: Sequence[str] = ()) -> str:
    """Correct the candles since a moment from the exchange's klines, and return the last sentence.

    Raises: Unavailable when the exchange or the broker did not answer, or a symbol could not be looked at.
    """
    return _run(["repair", "--from", since, *_only(symbols)])


def run_backfill(symbols: Sequence[str], since: str = "", kind: str = "klines") -> Outcomes:
    """Import the history of some symbols since a day, by default since `QUANTSTREAM_HISTORY_DAYS` ago.

    Outages of the exchange and days before a listing are told and fail nothing; a symbol with files or rows that could not be
    imported, or with none at all, is refused. Raises: Unavailable when archive, exchange or lake did not answer.
    """
    first = ["--from", since] if since else []
    code, output, complaints = _done(["backfill", "--json", *first, "--kind", kind, *_only(symbols)])
    if code not in (0, NOT_WHOLE) or not output:
        raise Unavailable((complaints or output or ["it said nothing"])[-1])
    outcomes = Outcomes()
    for name, one in json.loads(output[-1]).items():
        symbol = name.split()[0]
        if bad := [*one["failed"], *one["reasons"]] or ([] if any(map(one.get, THERE)) else [f"{symbol}: {NOTHING}"]):
            outcomes.refused[symbol] = "; ".join(bad[:SHOWN])
            continue
        windows = sum(hole[2] for hole in one["missing"])
        outcomes.done.append(
            f"{name}: {one['stored']} written, {one['present']} there, {windows} candles missing in {len(one['missing'])} "
            f"stretches, {len(one['absent'])} files not in the archive"
        )
    return outcomes


def _only(symbols: Sequence[str]) -> list[str]:
    return ["--symbols", ",".join(symbols)] if symbols else []


def _run(arguments: Sequence[str]) -> str:
    code, output, complaints = _done(arguments)
    last = (output or complaints or ["it said nothing"])[-1]
    if code == DIFFERS and output:  # Python itself ends with 1 as well, and says nothing on this side
        raise DataRejected(last)
    if code:
        raise Unavailable(last)
    return last


def _done(arguments: Sequence[str]) -> tuple[int, list[str], list[str]]:
    """Return a command's exit code and what it said: on its output, and on the other side."""
    command = [sys.executable, "-m", "streaming", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # the task's time limit ends it
    output, complaints = done.stdout.splitlines(), done.stderr.splitlines()
    for line in [*complaints, *output]:
        log.info("%s", line)
    return done.returncode, output, complaints
