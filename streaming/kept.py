"""What the sink keeps beside the table of trades, symbol by symbol: the ids seen, and the account of what was read.

It is written under the progress of the commit that holds the rows, so a restart and the next holder of a partition go on from
both. How many rows are stored is not taken from it but from the table's own log: the two must say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from quantstream.accounts import Account
from quantstream.errors import Unavailable
from quantstream.lake import Lake
from quantstream.sequence import Sequence

TRIES = 10  # a state is there for one commit more: only who stands still between two readings misses it


class Kept(Sequence):
    """The ids of a symbol, and its account in the sink; lakes of before have none."""

    account: Account | None = None

    @classmethod
    def of(cls, ids: Sequence, account: Account) -> Kept:
        """Return both together."""
        if isinstance(ids, Kept):
            ids.account = account
            return ids
        return cls(**{name: getattr(ids, name) for name in Sequence.__struct_fields__}, account=account)


decoder = msgspec.json.Decoder(dict[str, Kept])


def stored_rows(lake: Lake, table: Any, application: str, symbols: Iterable[str]) -> dict[str, int]:
    """Return how many rows of each symbol came into the open `table` of trades by way of one application.

    Rows do not say which: of a symbol that is in several partitions, what the others' accounts have is left out.
    """
    rows = lake.rows("trades", table)
    found = {symbol: rows.get(symbol, 0) for symbol in symbols}
    for other, raw in lake.states("trades", table).items():
        for symbol, ids in decoder.decode(raw).items() if raw and other != application else ():
            if symbol in found and ids.account is not None:
                found[symbol] -= ids.account.stored
    return found


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
