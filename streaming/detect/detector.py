"""The verdict on trades: features of what a process holds, one call of the model for a batch, reasons in words. No Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.data.trade_features import NAMES, REACH, TradeFeatures
from quantstream.core.rolling import Floats
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.decode.trade_id_index import TradeIdIndex, note
from quantstream.messages.payloads import Anomaly

log = logging.getLogger(__name__)
Failed = Callable[[str, Ints, str], None]  # told the symbol, the rows and why they were not judged


class TradeModel(Protocol):
    """What detect asks of the anomaly champion."""

    name: str
    version: str
    threshold: float

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a score in 0..1 per row, higher is stranger."""
        ...

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reasons a person can read."""
        ...


class Detector:
    """Features of the symbols this process holds, and the verdict on a batch: no Kafka."""

    def __init__(self) -> None:
        self.features = TradeFeatures()
        self.parser = Parser()
        self.id_index = TradeIdIndex(self.parser.symbols.names)
        self.refused = 0  # trades of which it cannot be told whether they were judged before

    def push(self, trade: Trade, partition: int = 0) -> tuple[float, ...] | None:
        """Return the trade's features, None for one that was seen before."""
        return (
            self.features.push(trade) if note(self.id_index.sequence(partition, trade.symbol), trade).is_new else None
        )

    def rows(self, columns: TradeColumns) -> tuple[Ints, Floats]:
        """Return which rows of a batch are trades not seen before, and the features of each, as `push` gives them."""
        names, refused = self.parser.symbols.names, list[int]()
        new = np.flatnonzero(self.id_index.find_new(columns, refused))
        self.refused += len(refused)
        features = np.zeros((len(columns), len(NAMES)))
        for rows, code in columns.by_symbol(new[columns.code[new] >= 0]):
            features[rows] = self._extend(columns, rows, names[code])
        for row in new[columns.code[new] < 0].tolist():
            features[row] = self.features.push(columns.trade_at(row, names))
        return new, features[new]

    def judge(
        self, model: TradeModel, columns: TradeColumns, new: Ints, features: Floats, now: int, failed: Failed
    ) -> list[Anomaly]:
        """Return the anomalies among the rows `new` of a batch. `now` is the wall clock, µs.

        Where the model raises, each symbol is judged by itself, and `failed` is told of those that it raises for.
        """
        try:
            return self._judged(model, columns, new, features, now)
        except Exception as error:
            symbols = np.array([self._symbol(columns, row) for row in new.tolist()], object)
            names = sorted(set(symbols))
            if len(names) == 1:
                log.exception("a symbol's trades cannot be judged", extra={"symbol": names[0]})
                failed(names[0], new, f"{type(error).__name__}: {error}")
                return []
        mine = [(new[symbols == name], features[symbols == name]) for name in names]
        return [anomaly for rows, some in mine for anomaly in self.judge(model, columns, rows, some, now, failed)]

    def _judged(self, model: TradeModel, columns: TradeColumns, new: Ints, features: Floats, now: int) -> list[Anomaly]:
        scores = model.score_trades(features)
        return [
            self._anomaly(model, columns, int(new[place]), features[place], float(scores[place]), now)
            for place in np.flatnonzero(scores > model.threshold).tolist()
        ]

    def short(self, partition: int) -> list[str]:
        """Return the symbols of a partition of which fewer trades are known than a trade's features reach back."""
        return [symbol for symbol in self.id_index.of(partition) if self.features.known(symbol) < REACH]

    def forget(self, partition: int) -> None:
        """Drop a partition's symbols: another process may have read on meanwhile."""
        for symbol in self.id_index.of(partition):
            self.features.forget(symbol)
        self.id_index.forget(partition)

    def _symbol(self, columns: TradeColumns, row: int) -> str:
        code = columns.code[row]
        return self.parser.symbols.names[code] if code >= 0 else columns.items[row][0]

    def _extend(self, columns: TradeColumns, rows: Ints, symbol: str) -> list[tuple[float, ...]]:
        if columns.at[rows].min() == 0:  # a trade too large for the columns is among them
            return [self.features.push(columns.trade_at(row, self.parser.symbols.names)) for row in rows.tolist()]
        parts = (columns.price[rows], columns.quantity[rows], columns.at[rows], columns.maker[rows])
        return self.features.extend(symbol, *(part.tolist() for part in parts))

    def _anomaly(
        self, model: TradeModel, columns: TradeColumns, row: int, features: Floats, score: float, now: int
    ) -> Anomaly:
        trade = columns.trade_at(row, self.parser.symbols.names)
        return Anomaly(
            symbol=trade.symbol,
            trade_id=trade.id,
            traded_at=trade.traded_at,
            price=trade.price,
            quantity=trade.quantity,
            buyer_is_maker=trade.buyer_is_maker,
            score=score,
            reasons=model.explain(features.tolist()),
            model=f"{model.name}/{model.version}",
            detected_at=now,
        )
