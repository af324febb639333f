"""`python -m streaming backup` and `restore`: what the cron jobs of a cluster run, and what a person runs on a bad day.

Exit codes: 0 done, 1 not done (a store did not answer, or what was put back is not what was backed up), 2 misused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from pyarrow.fs import FileSystem

from quantstream.core.errors import Broken, Misconfigured, QuantStreamError
from quantstream.lake.store import Lake, files_at
from quantstream.lake.upkeep.backups import back_up, restore, stamps_of
from quantstream.lake.upkeep.pieces import folder_pieces, lake_differences, lake_pieces
from quantstream.settings_loader import load_settings

LAKE = "lake"
ELSEWHERE = (
    "BACKUPS_"  # before AWS_ENDPOINT_URL and so on: how the place of backups is reached, where it is another store
)
KINDS = (LAKE, "models", "postgres")
COMMANDS = {
    "backup": "Copy what is new, keep what is needed: a lake at one version of each table, or every file of a folder.",
    "restore": "Put a backup back into an empty place, every file proven; without --at the newest one.",
}


def main(command: str, argv: Sequence[str]) -> int:
    """Run one of the two commands and return its exit code."""
    try:
        given = _parser(command).parse_args(argv)
        print(_back_up(given) if command == "backup" else _restore(given))
    except Misconfigured as error:
        sys.stderr.write(f"{command}: {error}\n")
        return 2
    except QuantStreamError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in the one sentence that every other error is."""

    def error(self, message: str) -> NoReturn:
        raise Misconfigured(f"{message}; see {self.prog} --help")


def _parser(command: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"python -m streaming {command}", description=COMMANDS[command], allow_abbrev=False)
    option = parser.add_argument
    option("what", choices=KINDS)
    option(
        "--backups",
        required=True,
        metavar="URL",
        help="where backups are kept: a folder, or an address like s3://backups",
    )
    if command == "backup":
        option("--of", metavar="URL", help="what is backed up [default, of the lake alone: QUANTSTREAM_LAKE]")
        option("--keep-days", type=_days, default=14, metavar="N", help="remove backups older than this [default: 14]")
    else:
        option("--to", metavar="URL", help="where it is put back: a new folder")
        option("--at", metavar="STAMP", help="which one, as --list names it [default: the newest]")
        option("--list", action="store_true", help="only say which there are")
    return parser


def _days(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 3650):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days; write 1 to 3650")
    return int(text)


def _kept(given: argparse.Namespace, may_create: bool = False) -> FileSystem:
    options = {
        name.removeprefix(ELSEWHERE): value for name, value in os.environ.items() if name.startswith(f"{ELSEWHERE}AWS_")
    }
    return files_at(f"{given.backups}/{given.what}", options or None, may_create)


def _back_up(given: argparse.Namespace) -> str:
    of = given.of or (load_settings().lake_url if given.what == LAKE else None)
    if of is None:
        raise Misconfigured(f"say where the {given.what} are, with --of URL")
    found = lake_pieces(Lake(of, may_create=False)) if given.what == LAKE else folder_pieces(files_at(of))
    if not found.pieces:
        why = "no model was trained yet, or the address is wrong" if given.what == "models" else "is the address right?"
        raise Broken(f"there is nothing at {of} to be backed up; {why}")
    kept = _kept(given, may_create=True)
    now = datetime.now(UTC)
    made = back_up(files_at(of), found, kept, now, timedelta(days=given.keep_days))
    return (
        f"backup {made.stamp} of the {given.what}: {made.pieces} files, {made.copied} of them new ({made.copied_bytes} bytes), "
        f"{made.removed} backups of before removed; {json.dumps(dict(found.facts))}"
    )


def _restore(given: argparse.Namespace) -> str:
    kept = _kept(given)
    stamps = stamps_of(kept)
    if given.list:
        return "\n".join(stamps) or "there is no backup"
    if not stamps:
        raise Misconfigured(f"there is no backup of the {given.what} at {given.backups}")
    if given.to is None:
        raise Misconfigured("say where it is put back, with --to URL")
    stamp = given.at or stamps[-1]
    facts = restore(kept, stamp, files_at(given.to, may_create=True))
    if given.what == LAKE and (wrong := lake_differences(Lake(given.to, may_create=False), facts)):
        raise Broken("; ".join(wrong))
    return f"backup {stamp} of the {given.what} is at {given.to}: {json.dumps(facts)}"
