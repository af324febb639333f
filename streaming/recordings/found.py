"""What a reader finds in a recording, row by row: a trade, a block of them, or why a row is neither."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quantstream.core.trade import Trade
from quantstream.decode.columns import TradeColumns


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one symbol's trades; `line` is where the first of them stands."""

    symbol: str
    columns: TradeColumns
    line: int = 0


class Row(msgspec.Struct, frozen=True, gc=False):
    """A trade and where it stands; `event` is the kind of event that told it, if one did."""

    line: int
    trade: Trade
    event: str = ""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A row that should be a trade and is none that can be counted."""

    line: int
    reason: str


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """A row that is no trade of the market and does not claim to be; with `first` it uses up trade ids all the same."""

    line: int
    kind: str
    symbol: str = ""
    first: int = -1
    last: int = -1
    at: int = 0


class Part(msgspec.Struct, frozen=True, gc=False):
    """From here on rows are of this file, or of this member of an archive."""

    name: str


Found = Block | Row | Refused | LeftOut | Part
