"""`quantstream candles`: recorded trades to candles, and at the end what became of every row that was read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import typer

from quantstream.core.errors import Misconfigured
from quantstream.core.trade import is_symbol
from quantstream.files import replacing
from streaming.offline.candles import Summary, write_candles
from streaming.offline.row_account import Account
from streaming.recordings.readers import Given

NOT_WHOLE = 3  # the exit code when anything was refused or is missing
SHOWN = 1000  # sentences on the terminal; beyond it all of them are in a file


def make(files: Sequence[Path], out: Path, interval: str, symbol: str | None, columns: str | None) -> int:
    """Write the candles, print the account, return the exit code."""
    if symbol is not None and not is_symbol(symbol):
        raise Misconfigured(f"--symbol {symbol!r} is no symbol; write it as the exchange does, e.g. BTCUSDT")
    names = tuple(name.strip() for name in columns.split(",")) if columns is not None else None
    summary = write_candles(files, out, interval, given=Given(symbol, names))
    account = summary.account
    typer.echo(f"{summary.candles} candles of {summary.trades} trades written to {out}")
    for note in account.notes:
        typer.echo(f"note: {note}")
    _name(account, out)
    for reason in account.set_aside:
        typer.echo(f"not read: {reason}")
    _total(summary)
    return 0 if account.is_whole else NOT_WHOLE


def _name(account: Account, out: Path) -> None:
    """Say what was refused or is missing, one sentence each; where there are very many, all are in a file."""
    shown = list(islice(account.names(), SHOWN))
    for sentence in sorted(shown, key=_symbol_of_gap):  # rows as they stand in their files, then gaps symbol by symbol
        typer.echo(sentence)
    if account.named > SHOWN:
        beside = out.with_name(out.name + ".account.txt")
        with replacing(beside) as draft, draft.open("w", encoding="utf-8") as file:
            file.writelines(sentence + "\n" for sentence in account.names())
        typer.echo(f"… and {account.named - SHOWN:,} more: all of them are in {beside}")


def _symbol_of_gap(sentence: str) -> str:
    symbol, _, rest = sentence.partition(": ")
    return symbol if " trade ids missing, " in rest else ""


def _total(summary: Summary) -> None:
    account = summary.account
    if summary.duplicates:
        typer.echo(f"{summary.duplicates} duplicates were dropped")
    for kind, rows in sorted(account.left_out.items()):
        typer.echo(f"{rows} rows were left out: {kind}")
    typer.echo(
        f"{account.rows} rows read = {account.placed} in candles + {account.duplicates} duplicates "
        f"+ {account.refused} refused + {account.left_out.total()} left out"
    )
    if not account.is_whole:
        typer.echo(
            f"not whole: {account.refused} rows refused, {account.missing:,} trade ids lost in {account.gap_count} gaps, "
            f"{len(account.set_aside)} files not read"
        )
