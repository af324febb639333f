"""`python -m streaming verify`, `… replay` and `… repair`: proof and remedies as commands, for jobs of a cluster and people.

Exit codes: 0 nothing differs, 1 something does, 2 misused or something could not be reached and so was not compared.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from quantstream.core.day_condition import DAY
from quantstream.core.errors import QuantStreamError
from quantstream.core.time import window_start
from quantstream.lake.store import Lake
from quantstream.settings import Settings, load_settings
from streaming.reconcile.moments import parse_moment
from streaming.reconcile.proof_report import Proof, verify_lines
from streaming.reconcile.repair_command import repair_lines, run_repair
from streaming.reconcile.replay_command import replay_lines, run_replay
from streaming.reconcile.scope import chosen, exchange_clock, rest_of
from streaming.reconcile.stored_proofs import keep, tell
from streaming.reconcile.verify import Exchange, verify
from streaming.sink.daily_accounts import keep_accounts


def main(command: str, argv: Sequence[str]) -> int:
    """Run `verify` or `replay`; return the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of reaches the person as our errors
    try:
        return {"verify": _verify, "replay": _replay, "repair": _repair}[command](argv)
    except QuantStreamError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return 2


def prove(
    settings: Settings,
    symbols: str | None = None,
    start: str | None = None,
    end: str | None = None,
    is_kept: bool = False,
) -> Proof:
    """Run the proof that the texts of a command line ask for; one that is kept begins with a day.

    Raises: Misconfigured.
    """
    lake = Lake(settings.lake_url)
    rest = rest_of(settings)
    clock = exchange_clock(rest, lake)
    bounds = [None if text is None else parse_moment(text, clock) for text in (start, end)]
    if is_kept and bounds[0] is not None:
        bounds[0] = window_start(bounds[0], DAY)  # a day's condition is that of the whole day
    return verify(lake, Exchange(rest), chosen(settings, symbols), settings.intervals, *bounds)


def _verify(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m streaming verify", description=verify.__doc__)
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--from", dest="start", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    parser.add_argument("--to", dest="end", metavar="T")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--keep", action="store_true", help="keep the result in the lake, tell operators of differences"
    )
    parser.add_argument("--run", default="", metavar="URL", help="what to look at when the kept result is bad")
    given = parser.parse_args(argv)
    settings = load_settings()
    proof = prove(settings, given.symbols, given.start, given.end, given.keep)
    if given.keep:
        now, lake = time.time_ns() // 1000, Lake(settings.lake_url)
        keep(lake, proof, now, given.run)
        keep_accounts(lake, proof.days if given.end is None else [day for day in proof.days if day.is_over], now)
        tell(settings.kafka, proof, now)
    sys.stdout.write(proof.as_json() + "\n" if given.json else "\n".join(verify_lines(proof)) + "\n")
    return proof.exit_code


def _repair(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m streaming repair",
        description="Mend incomplete and differing candles from the exchange's klines.",
    )
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--from", dest="start", default="1d", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    given = parser.parse_args(argv)
    mended, troubles = run_repair(load_settings(), given.start, given.symbols)
    sys.stdout.write("\n".join(repair_lines(mended, troubles)) + "\n")
    return 2 if troubles else 0


def _replay(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m streaming replay", description="Recompute candles from the trades topic."
    )
    parser.add_argument("--from-offset", action="append", default=[], metavar="P:N")
    parser.add_argument("--from-time", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    parser.add_argument("--to", metavar="T")
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--publish", action="store_true", help="write differing candles as new revisions")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = run_replay(load_settings(), given.from_offset, given.from_time, given.to, given.symbols, given.publish)
    sys.stdout.write(found.as_json() + "\n" if given.json else "\n".join(replay_lines(found, given.publish)) + "\n")
    return found.exit_code
