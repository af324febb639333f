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
from quantstream.lake.store import Lake

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
    rows = lake.rows("trades", table)
    kept = {name: raw and decoder.decode(raw) for name, raw in lake.states("trades", table).items()}

    def tell(application: str, symbol: str) -> int | None:
        count = rows.get(symbol, 0)
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
    """Return what the sink says of each symbol's trades, and how many rows the same version of the table holds.

    Lakes of before have no accounts until the sink has written once. Raises: Unavailable.
    """
    table, states = _one_version(lake)
    accounts: dict[str, Account] = {}
    for raw in states:
        for symbol, ids in decoder.decode(raw).items():
            if ids.account is not None:
                accounts.setdefault(symbol, Account()).add(ids.account)
    return accounts, lake.rows("trades", table)


def _one_version(lake: Lake) -> tuple[Any, list[bytes]]:
    for _ in range(TRIES):
        table = lake.table("trades")
        found = list(lake.states("trades", table).values())
        states = [raw for raw in found if raw is not None]
        if len(states) == len(found):
            return table, states
    raise Unavailable(f"the lake at {lake.url} is written faster than the sink's accounts can be read")
