"""The recorded market: real trades from files, merged by time, one tape a symbol; nothing is invented."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.time import MINUTE
from quantstream.core.trade import Trade
from streaming.exchange.market.listing import Listing, recorded_listing
from streaming.exchange.market.tape import Ints, Minutes, Tape
from streaming.recordings.readers import read_all

END_MARGIN = 1000  # µs after the last trade: a time in ms that lies after it


class RecordedMarket:
    """Recorded symbols. The clock starts at the first trade of all and stops after the last."""

    def __init__(self, trades: Iterable[Trade]) -> None:
        """Raises: Misconfigured when there are no trades."""
        by_symbol: dict[str, list[Trade]] = {}
        for trade in trades:
            by_symbol.setdefault(trade.symbol, []).append(trade)
        if not by_symbol:
            raise Misconfigured(
                "the recording holds no trades; give files with @trade or @aggTrade events or archive rows"
            )
        every = [trade.traded_at for found in by_symbol.values() for trade in found]
        self.starts_at = min(every)
        self.begins_at = self.starts_at - self.starts_at % MINUTE
        self.ends_at: int | None = max(every) // END_MARGIN * END_MARGIN + END_MARGIN
        self._closed_at = self.ends_at - self.ends_at % MINUTE + MINUTE
        self._tapes = {symbol: self._tape(symbol, found) for symbol, found in sorted(by_symbol.items())}
        self._minutes: dict[str, Minutes] = {}
        self.listings: dict[str, Listing] = {symbol: tape.listing for symbol, tape in self._tapes.items()}

    def _tape(self, symbol: str, trades: list[Trade]) -> Tape:
        unique = sorted({trade.id: trade for trade in trades}.values(), key=lambda trade: trade.id)
        at = np.array([trade.traded_at for trade in unique], dtype=np.int64)
        if len(back := np.flatnonzero(np.diff(at) < 0)):
            raise Misconfigured(
                f"trade {unique[int(back[0]) + 1].id} of {symbol} is older than the one before it; "
                "leave out the file that it comes from, its ids or times are not the exchange's"
            )
        price = np.array([trade.price for trade in unique], dtype=np.int64)
        quantity = np.array([trade.quantity for trade in unique], dtype=np.int64)
        maker = np.array([trade.buyer_is_maker for trade in unique], dtype=bool)
        ids = np.array([trade.id for trade in unique], dtype=np.int64)
        are_single = all(trade.first_trade_id == trade.last_trade_id for trade in unique)
        starts = _merged(at, price, maker, ids) if are_single else np.arange(len(ids))
        return Tape(
            listing=recorded_listing(symbol, int(np.gcd.reduce(price)), int(np.gcd.reduce(quantity))),
            opened_at=self.begins_at,
            closed_at=self._closed_at,
            ids=ids,
            at=at,
            price=price,
            quantity=quantity,
            buyer_is_maker=maker,
            aggregate_starts=starts,
            aggregate_ids=np.arange(1, len(starts) + 1) if are_single else ids,
            first_ids=np.array([trade.first_trade_id for trade in unique], dtype=np.int64),
            last_ids=np.array([trade.last_trade_id for trade in unique], dtype=np.int64),
        )

    def bounds_at(self, symbol: str, at: int) -> tuple[int, int]:
        """Return the recording's bounds in whole minutes."""
        return self.begins_at, self._closed_at

    def tape_at(self, symbol: str, at: int) -> Tape:
        """Return the symbol's tape."""
        return self._tapes[symbol]

    def minutes_at(self, symbol: str, at: int) -> Minutes:
        """Return the minutes of the symbol's tape."""
        if symbol not in self._minutes:
            self._minutes[symbol] = self._tapes[symbol].minutes()
        return self._minutes[symbol]

    def tape_with_trade(self, symbol: str, trade_id: int, now: int) -> Tape | None:
        """Return the symbol's tape, unless all its trades before `now` have lower ids."""
        tape = self._tapes[symbol]
        return tape if int(tape.ids.searchsorted(trade_id)) < tape.rows_until(now) else None

    def tape_with_aggregate(self, symbol: str, aggregate_id: int, now: int) -> Tape | None:
        """Return the symbol's tape, unless all its aggregates before `now` have lower ids."""
        tape = self._tapes[symbol]
        return tape if int(tape.aggregate_ids.searchsorted(aggregate_id)) < tape.aggregates_until(now) else None


def read_recordings(files: Sequence[Path]) -> RecordedMarket:
    """Return the market recorded in some files.

    Raises: Misconfigured when a file is missing, broken, or without trades.
    """
    try:
        return RecordedMarket(read_all(files))
    except BadRecord as error:
        raise Misconfigured(str(error)) from None


def _merged(at: Ints, price: Ints, maker: np.typing.NDArray[np.bool_], ids: Ints) -> Ints:
    """Return the rows where an aggregate begins: neighbours of the same time, price and side are one taker order's."""
    if not len(ids):
        return ids
    differs = (np.diff(at) != 0) | (np.diff(price) != 0) | (np.diff(maker) != 0) | (np.diff(ids) != 1)
    return np.flatnonzero(np.concatenate(([True], differs)))
