"""Which trades of a batch are new: ids decide, in a compiled loop; what is out of the ordinary, `Sequence` decides one by one."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from quantstream.core.trade import Trade
from quantstream.core.trade_ids import IdStatus, Sequence
from quantstream.decode.arrays import Flags
from quantstream.decode.columns import TradeColumns
from quantstream.decode.compiled import BYTES, INT, NUMBERS, loop
from quantstream.decode.symbol_index import SymbolNumbers

NEXT_ID, KNOWN_FROM, LAST_AT, NEW, DUPLICATES, HOME = range(6)  # a symbol's numbers
WIDTH = 8  # a cache line


@loop(*[NUMBERS] * 6, BYTES, NUMBERS, BYTES, INT, INT)
def find_new(
    partition: Any,
    code: Any,
    number: Any,
    first: Any,
    last: Any,
    at: Any,
    by_id: Any,
    state: Any,
    is_new: Any,
    row: int,
    count: int,
) -> int:
    """Mark the trades that follow those of their symbol before; return the first row that neither does nor repeats one."""
    for each in range(row, count):
        symbol = code[each]
        of, begin, end = symbol * WIDTH, first[each], last[each]
        if at[each] == 0 or symbol < 0 or state[of + HOME] != partition[each]:
            return each
        if by_id[each]:
            begin = end = number[each]
        if begin == state[of + NEXT_ID]:
            is_new[each] = 1
            state[of + NEXT_ID], state[of + LAST_AT] = end + 1, at[each]
            state[of + NEW] += 1
        elif end < state[of + NEXT_ID] and begin >= state[of + KNOWN_FROM]:
            state[of + DUPLICATES] += 1
        else:
            return each
    return count


class TradeIdIndex(SymbolNumbers):
    """The ids seen of each symbol of some partitions."""

    def __init__(self, names: Several[str]) -> None:
        """`names` are those of the codes."""
        super().__init__(names, WIDTH, slice(NEW, DUPLICATES + 1), HOME)
        self._sequences: dict[int, dict[str, Sequence]] = {}

    def find_new(self, columns: TradeColumns, refused: list[int]) -> Flags:
        """Return which rows are trades never seen before, and note them; the same as `note` of each.

        Rows of which that cannot be told are appended to `refused`.
        """
        self.grow()
        each, row, is_new = columns, 0, np.zeros(len(columns), np.bool_)
        rows = (each.partition, each.code, each.id, each.first, each.last, each.at, each.by_id)
        further = find_new.over(*rows, self.state, is_new)
        while (row := further(row, len(columns))) != len(columns):
            is_new[row] = self._one(columns, row, refused)
            row += 1
        return is_new

    def of(self, partition: int) -> dict[str, Sequence]:
        """Return the sequences of a partition's symbols, to read; those that are put in are `restore`d."""
        self.settle()
        return self._sequences.setdefault(partition, {})

    def count(self, partition: int) -> int:
        """Return how many symbols of a partition are known."""
        return len(self._sequences.get(partition, ()))

    def restore(self, partition: int, sequences: Mapping[str, Sequence]) -> None:
        """Go on from these sequences of a partition."""
        self.forget(partition)
        self._sequences[partition] = dict(sequences)

    def forget(self, partition: int) -> None:
        """Drop a partition's symbols."""
        super().forget(partition)
        self._sequences.pop(partition, None)

    def sequence(self, partition: int, symbol: str) -> Sequence:
        """Return a symbol's sequence, made when it comes first."""
        held = self._sequences.setdefault(partition, {})
        sequence = held.get(symbol)
        if sequence is None:
            sequence = held[symbol] = Sequence()
        return sequence

    def tell(self, code: int, numbers: list[int]) -> None:
        """Have a symbol's sequence say what was found since it last did."""
        next_id, _, last_at, new, duplicates, home, *_ = numbers
        sequence = self.sequence(home, self.names[code])
        sequence.duplicates += duplicates
        if new:
            sequence.last_id, sequence.last_at = next_id - 1, last_at

    def _one(self, columns: TradeColumns, row: int, refused: list[int]) -> bool:
        """Judge one record by its sequence."""
        partition, code = int(columns.partition[row]), int(columns.code[row])
        key, trade = columns.item(row, self.names)
        if not isinstance(trade, Trade):
            return False
        sequence, is_home = self.sequence(partition, key), self.is_home(partition, code)
        if is_home:
            self.take(code)
        status = note(sequence, trade)
        if is_home:
            self.state[code, NEXT_ID], self.state[code, KNOWN_FROM] = sequence.last_id + 1, sequence.known_from
        if status.is_refused:
            refused.append(row)
        return status.is_new


def note(sequence: Sequence, trade: Trade) -> IdStatus:
    """Note a trade in a sequence that remembers a bounded number of gaps; return what it is."""
    status, _ = sequence.take(trade)
    if status is IdStatus.JUMP:
        sequence.give_up_oldest()
    return status
