"""The rows of recordings that count, each with where it stands; every other is put down in the account with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from quantstream.core.errors import BadRecord, Misconfigured
from streaming.offline.row_account import Account
from streaming.recordings.cells import CONTRACTS, counts_contracts
from streaming.recordings.found import Block, LeftOut, Part, Refused, Row
from streaming.recordings.readers import Given, read_found


class Damaged(Exception):
    """A file turned out to be unreadable in the midst of it."""

    def __init__(self, path: Path, error: BadRecord | Misconfigured) -> None:
        self.path, self.error = path, error


def counted_rows(files: Sequence[Path], given: Given, account: Account) -> Iterator[tuple[str, Block | Row | LeftOut]]:
    """Yield what counts of all files, with where it stands; the rest is put down in the account. Raises: Damaged."""
    for file in files:
        try:
            yield from _file_rows(file, given, account)
        except (BadRecord, Misconfigured) as error:
            raise Damaged(file, error) from None


def _file_rows(file: Path, given: Given, account: Account) -> Iterator[tuple[str, Block | Row | LeftOut]]:
    place, trades, contracts = str(file), 0, Counter[tuple[str, str]]()
    for found in read_found(file, given):
        if isinstance(found, Part):
            if place != found.name:
                _note_quiet(place, trades, account)
            place, trades = found.name, 0
            continue
        rows = len(found.columns) if isinstance(found, Block) else 1
        account.rows += rows
        if isinstance(found, Refused):
            account.refuse(f"{place}, line {found.line}", found.reason)
        elif isinstance(found, LeftOut):
            account.left_out[found.kind] += 1
            if found.first >= 0 and found.symbol:
                yield place, found
        else:
            trades += rows
            symbol = found.symbol if isinstance(found, Block) else found.trade.symbol
            if counts_contracts(symbol):
                contracts[place, symbol] += rows
            else:
                yield place, found
    for (where, symbol), rows in contracts.items():
        account.refuse(where, f"{rows} rows of {symbol}, {CONTRACTS}", rows)
    _note_quiet(place, trades, account)


def _note_quiet(place: str, trades: int, account: Account) -> None:
    if not trades:
        account.notes.append(f"{place} holds no trades")
