"""Closed candles to scores by the champions, exactly once: scores and offsets are one Kafka transaction."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from quantstream.core.accounts import NOWHERE, Account, Accounts
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord
from quantstream.core.time import SECOND
from quantstream.features import Series
from quantstream.kafka import Message, Partition, PartitionedStage, Reader, Writer, sent_at
from quantstream.kafka.dead_letters import dead_letter
from quantstream.kafka.operator_events import Tell
from quantstream.messages.models import past_its_age
from quantstream.messages.payloads import EventKind, Score, decode, encode
from quantstream.messages.topics import CANDLES, SCORES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.score.histories import CandleHistories
from streaming.score.judging import Judging, ScoreCandles
from streaming.score.shadow import Shadow

log = logging.getLogger(__name__)
LINGER = 0.01  # seconds to collect the candles that closed with the first one: they are scored in one pass
REWIND = 2_000  # committed candles of a partition that are read again: the lake may be some seconds behind
Prepare = Callable[[str, Series], bool]


class ScoreStage(PartitionedStage):
    """Scores each closed candle once; a later revision only corrects the history that the next scores see."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        histories: CandleHistories,
        score: ScoreCandles,
        prepare: Prepare,
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
        tell: Tell = lambda kind, text, symbol: None,
        shadow: Shadow | None = None,
    ) -> None:
        """`score` judges the newest candle of each history with the champions of that moment; `now` in µs.

        `prepare` does for a symbol what its next candle would have to wait for, and tells whether there was anything to do.
        `tell` tells the operators; `shadow` has challengers score what the champions have scored.
        """
        super().__init__(reader, [CANDLES], commit_s, metrics, health)
        self.writer, self.histories = writer, histories
        self.prepare, self.now = prepare, now
        self.new_from: dict[Partition, int] = {}
        self.symbols: dict[Partition, set[str]] = {}  # whose histories come from a partition
        self.offsets: dict[Partition, int] = {}
        self.batch: dict[str, Candle] = {}  # to be judged
        self.judged: list[Candle] = []
        self.shadow, self.tell = shadow, tell
        self.stale: set[tuple[str, str]] = set()  # names and versions that were told to be past their age limit
        self.books = Accounts[Partition]()
        self.scores: list[Score] = []
        self.dead: list[tuple[Message, str]] = []
        self.awaiting: dict[str, list[Account]] = defaultdict(list)  # of the candles to be judged, in order
        self.begun = 0.0
        self.in_transaction = False
        self.scored, self.abstained = metrics.records.labels("scored"), metrics.records.labels("abstained")
        self.judging = Judging(histories, score, now, health.beat, tell, metrics.records.labels("failed"))
        self.wait = metrics.delays(
            "candle_to_score_seconds", "from a candle's record to the commit of its score, by our clocks"
        )
        self.sent_at = Counter[int]()  # of the candles to be judged, by when they were sent, µs
        self.duration = metrics.histogram("batch_seconds", "from candles read to scores committed")

    def start(self) -> None:
        """Join the group."""
        self.writer.release(self.reader, CANDLES)
        super().start()

    def linger(self, count: int, elapsed: float) -> float:
        """Wait a moment for what closed together with the first."""
        return LINGER - elapsed

    def idle(self) -> None:
        """Prepare one symbol for its next candle while none waits."""
        if not self.histories.refresh():
            any(self.prepare(symbol, series) for symbol, series in self.histories.newest())
        self._beside(lambda shadow: shadow.turn())

    def take(self, messages: list[Message]) -> None:
        """Add candles to the histories, and note which are to be scored."""
        self.begun = self.begun or time.monotonic()
        for message in messages:
            part = (message.topic(), message.partition())
            is_new = message.offset() >= self.new_from.get(part, 0)
            if is_new:
                self.offsets[part] = message.offset() + 1
            account = self.books.of(part, (message.key() or b"").decode(errors="replace"))
            account.read += 1
            try:
                candle = decode(message.value() or b"", Candle)
            except BadRecord as error:
                account.dead += 1
                self.dead += [(message, str(error))] if is_new else []
                continue
            if candle.interval != self.histories.interval:
                account.passed += 1
                continue
            if candle.symbol in self.batch:  # a second candle of a symbol: the first is judged before it is history
                self._judge()
            self.histories.add(candle)
            self.symbols.setdefault(part, set()).add(candle.symbol)
            if is_new and candle.revision == 0:
                self.batch[candle.symbol] = candle
                self.sent_at[sent_at(message)] += 1
                account.waiting += 1
                self.awaiting[candle.symbol].append(account)
            else:
                account.passed += 1

    def flush(self) -> None:
        """Score the rest and commit scores, dead letters and offsets together."""
        self._judge()
        if not self.offsets:
            return
        self.writer.begin()
        self.in_transaction = True
        for score in self.scores:
            self.writer.send(SCORES, score.symbol, encode(score))
        for message, reason in self.dead:
            source = f"score {message.topic()}-{message.partition()}@{message.offset()}"
            dead_letter(self.writer, source, reason, message.value() or b"", self.now())
        self.writer.commit(self.reader, self.offsets)
        self.in_transaction = False
        self._settle()
        self._tell_of_age()
        self._beside(lambda shadow: shadow.add(self.judged))
        abstained = sum(bool(score.abstained) for score in self.scores)
        self.abstained.inc(abstained)
        self.scored.inc(len(self.scores) - abstained)
        self.metrics.dead.inc(len(self.dead))
        self.duration.observe(time.monotonic() - self.begun)
        for at, count in self.sent_at.items():
            self.wait.observe(max(0.0, (self.now() - at) / SECOND), count)
        self._clear()

    def discard(self) -> None:
        """Drop what is not committed."""
        if self.in_transaction:
            self.writer.abort()
        self.in_transaction = False
        self._clear()

    def accounts(self) -> Iterable[tuple[str, Account]]:
        """Return the account of each symbol since its partition was taken; what only refilled histories has passed."""
        return self.books

    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Read the last committed candles again, which fill the histories."""
        begin, new_from = self.rewound(partitions, REWIND)
        self.new_from |= new_from
        return begin

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop the histories that came from these partitions."""
        for part in partitions:
            self.new_from.pop(part, None)
            self.books.forget(part)
            for symbol in self.symbols.pop(part, ()):
                self.histories.forget(symbol)
                if self.shadow is not None:
                    self.shadow.forget(symbol)
                self.metrics.candle_closed_at.values.pop(symbol, None)

    def stop(self) -> None:
        """Leave the group, and let the challengers' last scores go.

        Raises: Unavailable.
        """
        super().stop()
        self._beside(lambda shadow: shadow.close())

    def _settle(self) -> None:
        """Count as stored the candles that waited for their score: one for each score that was sent."""
        for score in self.scores:
            accounts = self.awaiting.get(score.symbol)
            if accounts:
                account = accounts.pop(0)
                account.waiting -= 1
            else:  # nobody read its candle: the account does not close
                account = self.books.of((CANDLES.name, NOWHERE), score.symbol)
            account.stored += 1
        for account in (account for accounts in self.awaiting.values() for account in accounts):
            account.waiting -= 1  # committed without a score: the account does not close

    def _tell_of_age(self) -> None:
        """Tell operators once of each version whose scores are marked as stale."""
        for model in {(name, score.models[name]) for score in self.scores for name in score.stale} - self.stale:
            self.stale.add(model)
            self.tell(EventKind.MODEL_STALE, past_its_age(*model), "")

    def _judge(self) -> None:
        self.scores += self.judging(self.batch, self.begun) if self.batch else ()
        for candle in self.batch.values():
            self.metrics.candle_closed_at.values[candle.symbol] = candle.closed_at / SECOND
        self.judged += self.batch.values()
        self.batch.clear()

    def _beside(self, act: Callable[[Shadow], None]) -> None:
        """Do something for the challengers; whatever fails there is told and ends them, not the scores of the champions."""
        if self.shadow is None:
            return
        try:
            act(self.shadow)
        except Exception as error:
            log.exception("challengers are not scored any more")
            self.shadow = None
            why = f"{type(error).__name__}: {error}"
            self.tell(EventKind.SHADOW_STOPPED, f"no challenger is scored until this process starts anew: {why}", "")

    def _clear(self) -> None:
        self.offsets.clear()
        self.batch.clear()
        self.judged.clear()
        self.scores.clear()
        self.dead.clear()
        self.awaiting.clear()
        self.sent_at.clear()
        self.begun = 0.0
