"""`verify`, `replay` and `repair`: one set of options, texts and exit codes for people, jobs of a cluster and pipelines.

`quantstream verify` and `python -m streaming verify` are this; a pipeline runs the latter as a process.
Exit codes: 0 nothing differs, 1 something does, 2 misused or something could not be reached and so was not compared.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from quantstream.core.errors import Misconfigured, QuantStreamError
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings

if TYPE_CHECKING:
    from streaming.reconcile.proof_report import Proof

MOMENT = "ISO 8601 in UTC, or 15m, 2h, 1d ago by the exchange's clock"
COMMANDS = {
    "verify": "Prove the lake's candles: against its trades and against the exchange's klines; exit 0 only if nothing differs.",
    "replay": "Recompute candles from the trades topic and compare them with the live ones; exit 0 only if nothing differs.",
    "repair": "Correct incomplete and differing candles from the exchange's klines, as new revisions.",
}
SettingsOf = Callable[[Path | None], Settings]


def main(
    command: str,
    argv: Sequence[str],
    program: str = "python -m streaming",
    settings_of: SettingsOf = lambda state: load_settings(state=state),
    speaker: str = "",
) -> int:
    """Run one of the commands and return its exit code.

    `settings_of` gives the settings that go with a state folder, `speaker` begins the sentence of an error [the command].
    """
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of reaches the person as our errors
    run = {"verify": _verify, "replay": _replay, "repair": _repair}[command]
    try:
        given = _parser(command, program).parse_args(argv)
        lines, code = run(settings_of(given.state), given)
    except QuantStreamError as error:
        sys.stderr.write(f"{speaker or command}: {error}\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in the one sentence that every other error is."""

    def error(self, message: str) -> NoReturn:
        raise Misconfigured(f"{message}; see {self.prog} --help")


def _parser(command: str, program: str) -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = _Parser(prog=f"{program} {command}", description=COMMANDS[command], allow_abbrev=False)
    option = parser.add_argument
    if command == "replay":
        text = "partition and offset to begin at; repeatable"
        option("--from-offset", action="append", default=[], metavar="P:N", help=text)
        option("--from-time", dest="start", metavar="T", help=MOMENT)
    else:
        option("--from", dest="start", default="1d" if command == "repair" else None, metavar="T", help=MOMENT)
    if command != "repair":
        option("--to", dest="end", metavar="T", help="up to here, not included")
        option("--json", action="store_true", help="one JSON object instead of lines")
    if command == "replay":
        option("--publish", action="store_true", help="write differing candles as new revisions")
    if command == "verify":
        option("--keep", action="store_true", help="keep the result in the lake, tell operators of differences")
        option("--run", default="", metavar="URL", help="what to look at when the kept result is bad")
    option("--symbols", metavar="A,B", help="only these [default: all configured]")
    option("--state", type=Path, metavar="DIR", help="state folder [default: .quantstream]")
    return parser


def _verify(settings: Settings, given: argparse.Namespace) -> tuple[list[str], int]:
    from quantstream.lake.store import Lake
    from streaming.reconcile.proof_report import verify_lines
    from streaming.reconcile.stored_proofs import keep, tell
    from streaming.sink.daily_accounts import keep_accounts

    proof = _proof(settings, given)
    if given.keep:
        now, lake = time.time_ns() // 1000, Lake(settings.lake_url)
        keep(lake, proof, now, given.run)
        keep_accounts(lake, proof.days if given.end is None else [day for day in proof.days if day.is_over], now)
        tell(settings.kafka, proof, now)
    return [proof.as_json()] if given.json else verify_lines(proof), proof.exit_code


def _proof(settings: Settings, given: argparse.Namespace) -> Proof:
    from quantstream.core.moments import parse_moment
    from quantstream.core.time import DAY, window_start
    from quantstream.lake.store import Lake
    from streaming.reconcile.scope import chosen, exchange_clock, rest_of
    from streaming.reconcile.verify import Exchange, verify

    lake, rest = Lake(settings.lake_url), rest_of(settings)
    clock = exchange_clock(rest, lake)
    start, end = (None if text is None else parse_moment(text, clock) for text in (given.start, given.end))
    if given.keep and start is not None:
        start = window_start(start, DAY)  # a day's condition is that of the whole day
    symbols = chosen(settings, given.symbols)
    return verify(lake, Exchange(rest), symbols, settings.intervals, start, end, settings.dask)


def _repair(settings: Settings, given: argparse.Namespace) -> tuple[list[str], int]:
    from streaming.reconcile.commands.repair_command import repair_lines, run_repair
    from streaming.reconcile.proof_report import NOT_COMPARED

    corrections, troubles = run_repair(settings, given.start, given.symbols)
    return repair_lines(corrections, troubles), NOT_COMPARED if troubles else 0


def _replay(settings: Settings, given: argparse.Namespace) -> tuple[list[str], int]:
    from streaming.reconcile.commands.replay_command import replay_lines, run_replay

    found = run_replay(settings, given.from_offset, given.start, given.end, given.symbols, given.publish)
    return [found.as_json()] if given.json else replay_lines(found, given.publish), found.exit_code
