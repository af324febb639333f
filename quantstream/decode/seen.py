"""Which trades of a batch are new: ids decide, whole stretches of them at once."""

from __future__ import annotations

import numpy as np

from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Seen, Sequence
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.columns import Columns
from quantstream.decode.runs import by_group

Sequences = dict[int, dict[str, Sequence]]  # by partition and symbol


def new_trades(columns: Columns, names: list[str], seen: Sequences, refused: list[int]) -> Flags:
    """Return which rows are trades never seen before, and note them in `seen`; the same as `note` of each.

    Rows of which that cannot be told are appended to `refused`.
    """
    is_new = np.zeros(len(columns), np.bool_)
    has_trade = columns.at > 0
    has_trade[[row for row, (_, item) in columns.items.items() if isinstance(item, Trade)]] = True
    rows = np.flatnonzero(has_trade & (columns.code >= 0))
    if len(rows):
        order, groups, starts = by_group(columns, rows)
        bounds = np.append(_breaks(columns, order, starts), len(order))
        owner = (np.searchsorted(starts, bounds[:-1], "right") - 1).tolist()
        for group, start, end in zip(owner, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            partition, code = groups[group]
            sequence = seen.setdefault(partition, {}).setdefault(names[code], Sequence())
            _stretch(columns, order[start:end], names[code], sequence, is_new, refused)
    for row in np.flatnonzero(has_trade & (columns.code < 0)).tolist():
        key = columns.items[row][0]
        sequence = seen.setdefault(int(columns.partition[row]), {}).setdefault(key, Sequence())
        is_new[row] = _judge(sequence, columns, row, key, refused)
    return is_new


def note(sequence: Sequence, trade: Trade) -> Seen:
    """Note a trade in a sequence that remembers a bounded number of gaps; return what it is."""
    seen, _ = sequence.take(trade)
    if seen is Seen.JUMP:
        sequence.give_up_oldest()
    return seen


def trade_at(columns: Columns, row: int, symbol: str) -> Trade:
    """Return the trade of a row, be it in the columns or beside them."""
    if columns.at[row]:
        return columns.trade(row, symbol)
    item = columns.items[row][1]
    assert isinstance(item, Trade)
    return item


def _breaks(columns: Columns, order: Ints, starts: Ints) -> Ints:
    """Return where stretches of ids that follow one another begin; a trade beside the columns is one of its own."""
    first, last, beside = columns.first[order], columns.last[order], columns.at[order] == 0
    breaks = np.concatenate([[True], (first[1:] != last[:-1] + 1) | beside[1:] | beside[:-1]])
    breaks[starts] = True
    return np.flatnonzero(breaks)


def _judge(sequence: Sequence, columns: Columns, row: int, symbol: str, refused: list[int]) -> bool:
    seen = note(sequence, trade_at(columns, row, symbol))
    if seen.is_refused:
        refused.append(row)
    return seen.is_new


def _stretch(columns: Columns, rows: Ints, symbol: str, sequence: Sequence, is_new: Flags, refused: list[int]) -> None:
    """Judge rows whose ids follow one another."""
    if columns.first[rows[0]] != sequence.last_id + 1 or columns.at[rows[0]] == 0:
        is_new[rows[0]] = _judge(sequence, columns, int(rows[0]), symbol, refused)
        rows = rows[1:]
    if not len(rows):
        return
    first, last = int(columns.first[rows[0]]), int(columns.last[rows[-1]])
    if first == sequence.last_id + 1:
        sequence.last_id, sequence.last_at = last, int(columns.at[rows[-1]])
        is_new[rows] = True
    elif not sequence.take_again(first, last, len(rows)):
        for row in rows.tolist():
            is_new[row] = _judge(sequence, columns, row, symbol, refused)
