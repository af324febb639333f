"""The sink's state beside the table of trades, for each symbol: the ids seen, and the account of records read.

It is written under the progress of the commit that holds the rows, so a restart and the next holder of a partition go on from
both. How many rows are stored is not taken from it but from the table's own log: the two must say the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from quantstream.core.accounts import Account
from quantstream.core.errors import Unavailable
from quantstream.core.trade_ids import Sequence
from quantstream.lake.imports import imported_rows, is_import
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.deleted_trades import APPLICATION, rows_ever

TRIES = 10  # a state is there for one commit more: only who stands still between two readings misses it


class Kept(Sequence):
    """The ids of a symbol, and its account in the sink; lakes of before have none."""

    account: Account | None = None

    @classmethod
    def of(cls, ids: Sequence, account: Account) -> Kept:
        """Return the ids and the account as one value."""
        if isinstance(ids, Kept):
            ids.account = account
            return ids
        return cls(**{name: getattr(ids, name) for name in Sequence.__struct_fields__}, account=account)


decoder = msgspec.json.Decoder(dict[str, Kept])


def stored_rows(lake: Lake, table: Any) -> Callable[[str, str], int | None]:
    """Return what tells how many rows of a symbol came into the open `table` of trades by way of one application.

    Rows do not say which: of a symbol that is in several partitions, what the others' accounts have is left out. It is None
    where one of them went on meanwhile. Raises: Unavailable.
    """
    rows, imported = rows_ever(lake, table), imported_rows(lake, "trades", table)
    kept = {name: raw and decoder.decode(raw) for name, raw in _sinks(lake, table).items()}

    def tell(application: str, symbol: str) -> int | None:
        others = imported.get(symbol, 0)
        if others is None:
            return None
        count = rows.get(symbol, 0) - others
        for other, state in kept.items():
            if other == application:
                continue
            if not state:
                return None
            if symbol in state and (account := state[symbol].account):
                count -= account.stored
        return count

    return tell


def sink_accounts(lake: Lake) -> tuple[dict[str, Account], dict[str, int]]:
    """Return what the sink says of each symbol's trades, and how many rows of the same version of the table came by it.

    Lakes of before have no accounts until the sink has written once. Raises: Unavailable.
    """
    states, rows = _one_version(lake)
    accounts: dict[str, Account] = {}
    for raw in states:
        for symbol, ids in decoder.decode(raw).items():
            if ids.account is not None:
                accounts.setdefault(symbol, Account()).add(ids.account)
    return accounts, rows


def _sinks(lake: Lake, table: Any) -> dict[str, bytes | None]:
    """Return the states of the sink's partitions; imports and retention keep theirs beside them."""
    states = lake.states("trades", table).items()
    return {name: raw for name, raw in states if not is_import(name) and name != APPLICATION}


def _one_version(lake: Lake) -> tuple[list[bytes], dict[str, int]]:
    """Return the sink's states of one version of the table, and the rows of each symbol that came by it."""
    for _ in range(TRIES):
        table = lake.table("trades")
        found, imported = list(_sinks(lake, table).values()), imported_rows(lake, "trades", table)
        states = [raw for raw in found if raw is not None]
        others = {symbol: count for symbol, count in imported.items() if count is not None}
        if len(states) == len(found) and len(others) == len(imported):
            rows = rows_ever(lake, table)
            return states, {symbol: count - others.get(symbol, 0) for symbol, count in rows.items()}
    raise Unavailable(f"the lake at {lake.url} is written faster than the sink's accounts can be read")
