"""What the champions need to know of a symbol, made ready before its next candle comes."""

from __future__ import annotations

from collections.abc import Callable

from ml.serving.outcome_memory import Memory
from ml.serving.scoring import ModelSet, score
from quantstream.features import Series


class Warming:
    """Rebuilds a symbol's past after a start, a new model or an edited history: a third of a second that no candle waits for."""

    def __init__(self, champions: Callable[[], ModelSet], memory: Memory) -> None:
        """`champions` tells those of the moment; `memory` is the one that scores are made with."""
        self.champions, self.memory = champions, memory
        self._in_vain: dict[str, tuple[object, ...]] = {}  # by symbol: with which models and history it did not help

    def __call__(self, symbol: str, series: Series) -> bool:
        """Prepare what a symbol's next candle needs; tell whether there was anything to do."""
        models = self.champions()
        loaded = [one for _, one in models if one is not None]
        state = (series.edits, *((one.name, one.version) for one in loaded))
        if self._in_vain.get(symbol) == state or self.memory.is_ready(loaded, symbol, series):
            return False
        score(models, {symbol: series}, 0, self.memory)
        if not self.memory.is_ready(loaded, symbol, series):  # too young, or with a gap: its candles abstain
            self._in_vain[symbol] = state
        return True
