"""One score for each closed candle, whatever happens to one of them: where a symbol's data or model raises, it abstains alone.

What raised is told once for each symbol and reason; its score says the same in `abstained`, so that nothing is silently missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from prometheus_client import Counter

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.features import FEATURE_HASH, Series
from quantstream.kafka.operator_events import Tell
from quantstream.messages.payloads import EventKind, Score
from streaming.score.histories import CandleHistories

log = logging.getLogger(__name__)
ScoreCandles = Callable[[Mapping[str, Series]], Sequence[Score]]


class Judging:
    """Scores candles that closed at the same time, each with its history."""

    def __init__(
        self,
        histories: CandleHistories,
        score: ScoreCandles,
        now: Callable[[], int],
        working: Callable[[], None],
        tell: Tell,
        failed: Counter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` in µs; `working` is called between symbols, whose histories may come from the lake; `clock` in seconds."""
        self.histories, self.score, self.now, self.working = histories, score, now, working
        self.tell, self.failed, self.clock = tell, failed, clock
        self._told: dict[str, str] = {}  # by symbol: the reason that was told

    def __call__(self, candles: Mapping[str, Candle], received_at: float) -> list[Score]:
        """Return a score of each candle; they are the newest of their histories. `received_at` is by `clock`."""
        reasons: dict[str, str] = {}
        for symbol, candle in candles.items():
            try:
                self.histories.series(candle)  # read where it was not yet; what comes may be more of another one's
            except Exception as error:
                log.exception("a symbol's history failed", extra={"symbol": symbol})
                reasons[symbol] = f"its history failed: {_reason(error)}"
            self.working()
        histories = self._held(candles, reasons)
        found = {score.symbol: score for score in self._scores(histories, reasons)}
        for symbol, reason in reasons.items():
            found[symbol] = self._abstained(candles[symbol], reason)
        for symbol in set(histories) - set(reasons):
            self._told.pop(symbol, None)
        elapsed = 1000 * (self.clock() - received_at)
        return [self._finished(found[symbol], elapsed) for symbol in candles if symbol in found]

    def _held(self, candles: Mapping[str, Candle], reasons: dict[str, str]) -> dict[str, Series]:
        """The histories as they are in memory; of those that do not end with their candle a score would be of another one."""
        found: dict[str, Series] = {}
        for symbol, candle in candles.items():
            series = self.histories.held(symbol) if symbol not in reasons else None
            if series is not None and int(series.at[-1]) == candle.opened_at:
                found[symbol] = series
            elif series is not None:
                later = int(series.at[-1])
                reasons[symbol] = f"its history failed: a later candle, opened at {later} µs, came before it"
        return found

    def _scores(self, histories: Mapping[str, Series], reasons: dict[str, str]) -> list[Score]:
        """Score all in one pass; where that fails, each by itself, so that `reasons` name the symbol that fails."""
        if not histories:
            return []
        try:
            return list(self.score(histories))
        except Exception as error:
            if len(histories) == 1:
                log.exception("a symbol's scoring failed", extra={"symbol": next(iter(histories))})
                reasons[next(iter(histories))] = f"scoring it failed: {_reason(error)}"
                return []
        scores = []
        for symbol, series in histories.items():
            scores += self._scores({symbol: series}, reasons)
            self.working()
        return scores

    def _abstained(self, candle: Candle, reason: str) -> Score:
        self.failed.inc()
        if self._told.get(candle.symbol) != reason:
            self._told[candle.symbol] = reason
            self.tell(EventKind.SYMBOL_NOT_SCORED, f"{candle.symbol} is not scored: {reason}", candle.symbol)
        return Score(
            symbol=candle.symbol,
            interval=candle.interval,
            opened_at=candle.opened_at,
            revision=candle.revision,
            close=candle.close / UNIT,
            scored_at=self.now(),
            feature_hash=FEATURE_HASH,
            abstained=reason,
        )

    def _finished(self, score: Score, elapsed_ms: float) -> Score:
        """The score with how long it took, and with what its history lacks because the lake cannot be read."""
        lacks = self.histories.lacks(score.symbol)
        abstained = "; ".join(part for part in (score.abstained, lacks) if part)
        return msgspec.structs.replace(score, elapsed_ms=round(elapsed_ms, 3), abstained=abstained)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
