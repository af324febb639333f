"""The live side's proof and repair, run from a pipeline as the very commands that a person runs, in processes of their own.

Pipelines import nothing of the streaming side, and what a proof needs of memory is given back with its process.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence

from quantstream.core.errors import DataRejected, Unavailable
from streaming.reconcile.proof_report import DIFFERS

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


def _only(symbols: Sequence[str]) -> list[str]:
    return ["--symbols", ",".join(symbols)] if symbols else []


def _run(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "streaming", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # the task's time limit ends it
    output, complaints = done.stdout.splitlines(), done.stderr.splitlines()
    for line in [*complaints, *output]:
        log.info("%s", line)
    last = (output or complaints or ["it said nothing"])[-1]
    if done.returncode == DIFFERS and output:  # Python itself ends with 1 as well, and says nothing on this side
        raise DataRejected(last)
    if done.returncode:
        raise Unavailable(last)
    return last
