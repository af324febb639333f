"""Challengers' scores of the candles whose champions' scores are committed: in a topic of their own, in idle turns alone.

The work is done aside, in a thread, on copies: a challenger that is slow holds nobody up, and one that hangs is left alone.
What is lost stays lost (a crash between the two, a challenger that does not keep up), and nothing is written twice: a candle
comes here after the commit of its offset, and is taken once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from quantstream.core.candle import Candle
from quantstream.core.errors import Unavailable
from quantstream.features import Series
from quantstream.kafka.operator_events import Tell
from quantstream.messages.payloads import EventKind, Score, encode
from quantstream.messages.topics import SHADOW_SCORES
from quantstream.observability.metrics import Metrics
from streaming.score.histories import CandleHistories

log = logging.getLogger(__name__)
TOGETHER = 8  # symbols scored at once, whose pasts go on; one whose past has to be rebuilt comes alone, after these
LONGEST = (
    120.0  # seconds after which a challenger that has not answered is given up: a rebuilt past takes a third of one
)


class Challengers(Protocol):
    """What scores with challengers, as `ml.serving.shadowing.Shadowing` does."""

    stopped: dict[tuple[str, str], str]

    def wanted(self) -> Mapping[str, Any]:
        """Return the challengers that are to be asked."""
        ...

    def score(self, histories: Mapping[str, Series]) -> Sequence[Score]:
        """Return their scores of the newest candle of each history."""
        ...

    def goes_on(self, symbol: str, series: Series) -> bool:
        """Tell whether the newest candle of a symbol costs no more than usual."""
        ...

    def rest(self) -> None:
        """Hold no model while there is none to ask."""
        ...

    def hangs(self, reason: str) -> None:
        """Stop the one that is at work."""
        ...

    def anew(self) -> Challengers:
        """Return another one in the place of one that hangs."""
        ...


class _Work:
    """Some candles that are being scored in a thread."""

    def __init__(self, histories: Mapping[str, Series], began: float) -> None:
        self.histories, self.began = histories, began
        self.scores: Sequence[Score] = ()
        self.is_done = threading.Event()

    def run(self, challengers: Challengers) -> None:
        """Score; what nobody foresaw is in the log, and the candles are lost."""
        try:
            self.scores = challengers.score(self.histories)
        except Exception:
            log.exception("the shadow failed")
        finally:
            self.is_done.set()


class Aside:
    """One thread that does what it is given; left alone when it hangs, and another one begun."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] | None = None

    def __call__(self, act: Callable[[], None]) -> None:
        """Do something in the thread."""
        if self._work is None:  # one for all: each thread that allocates much keeps an arena of its own
            self._work = SimpleQueue()
            threading.Thread(target=_do, args=(self._work,), name="shadow", daemon=True).start()
        self._work.put(act)

    def leave(self) -> None:
        """Begin another one next time."""
        self._work = None


def _do(work: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        work.get()()


class Shadow:
    """Candles that wait for the challengers, and what these say of them."""

    def __init__(
        self,
        challengers: Challengers,
        histories: CandleHistories,
        writer: Any,
        tell: Tell,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        aside: Aside | None = None,
    ) -> None:
        """`writer` is not a part of the stage's transactions; `clock` in seconds; `aside` does the work."""
        self.challengers, self.histories, self.writer, self.tell = challengers, histories, writer, tell
        self._clock, self._aside = clock, aside or Aside()
        self._waiting: dict[
            str, tuple[int, int]
        ] = {}  # by symbol: opening time and edits of the history as it was judged
        self._work: _Work | None = None
        self._told: set[tuple[str, str]] = set()
        self._is_unheard = False
        counted = metrics.counter("shadow_candles_total", "candles for the challengers, scored or lost", "outcome")
        self.scored, self.lost = counted.labels("scored"), counted.labels("lost")

    def add(self, candles: Iterable[Candle]) -> None:
        """Take candles whose champions' scores are committed, each the newest of its history or of one that went on."""
        if not self.challengers.wanted():
            self._waiting.clear()
            return
        for candle in candles:
            history = self.histories.held(candle.symbol)
            if candle.symbol in self._waiting:
                self.lost.inc()
            if history is not None:
                self._waiting[candle.symbol] = candle.opened_at, history.edits

    def turn(self) -> None:
        """Take what is done and begin what waits; never long."""
        if self._work is not None:
            self._look_after(self._work)
        if self._work is not None:
            return
        if not self.challengers.wanted():
            self.challengers.rest()
        elif self._waiting:
            self._begin()

    def forget(self, symbol: str) -> None:
        """Drop a symbol that another process scores now."""
        self._waiting.pop(symbol, None)

    def close(self) -> None:
        """Let the broker have what was scored, if it takes it soon."""
        if self._work is not None and self._work.is_done.is_set():
            self._look_after(self._work)
        try:
            self.writer.flush(1.0)
        except Unavailable as error:
            self._unheard(error)

    def _begin(self) -> None:
        found: dict[str, Series] = {}
        for symbol, judged in list(self._waiting.items()):
            series = self.histories.held(symbol)
            if series is None or (int(series.at[-1]), series.edits) != judged:
                self.lost.inc()  # the history went on, or was corrected, since the champion judged it
                del self._waiting[symbol]
            elif len(found) < TOGETHER and self.challengers.goes_on(symbol, series):
                found[symbol] = series
        for symbol in [*found, *([] if found else list(self._waiting)[:1])]:
            series = self.histories.held(symbol)
            assert series is not None
            columns = {name: values.copy() for name, values in series.columns.items()}
            found[symbol] = replace(series, at=series.at.copy(), columns=columns)
            del self._waiting[symbol]
        if found:
            work = self._work = _Work(found, self._clock())
            self._aside(partial(work.run, self.challengers))

    def _look_after(self, work: _Work) -> None:
        if not work.is_done.is_set():
            if self._clock() - work.began < LONGEST:
                return
            self.challengers.hangs(f"it has not answered for {LONGEST:.0f} s")
            self.challengers = self.challengers.anew()
            self._aside.leave()
        else:
            self._send(work.scores)
        self.lost.inc(len(work.histories) - len(work.scores))
        self._work = None
        for version in self.challengers.stopped.keys() - self._told:
            self._told.add(version)
            text = f"{' '.join(version)} is not scored in the shadow any more: {self.challengers.stopped[version]}"
            self.tell(EventKind.SHADOW_STOPPED, text, "")

    def _send(self, scores: Sequence[Score]) -> None:
        try:
            for score in scores:
                self.writer.send(SHADOW_SCORES, score.symbol, encode(score))
            self.writer.poll()
            self.writer.check()
        except Unavailable as error:
            self._unheard(error)
        else:
            self._is_unheard = False
            self.scored.inc(len(scores))

    def _unheard(self, error: Unavailable) -> None:
        if not self._is_unheard:
            log.warning("scores of challengers were not taken", extra={"reason": str(error)})
        self._is_unheard = True
