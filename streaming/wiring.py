"""The only place where stages meet their adapters."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from quantstream.core.errors import Misconfigured
from quantstream.core.time import DAY, SCORED, SECOND
from quantstream.kafka import Reader, Writer
from quantstream.messages.models import MODEL_KINDS, MODEL_NAMES, registered_name
from quantstream.messages.payloads import EventKind
from quantstream.messages.stages import AGGREGATE, DETECT, INGEST, SCORE, SINK
from quantstream.observability.balance import BalanceSheet
from quantstream.observability.health import Health, end_when_stalled
from quantstream.observability.metrics import Metrics
from quantstream.settings import Settings

if TYPE_CHECKING:
    from quantstream.kafka.operator_events import Operators

log = logging.getLogger("streaming")


class Turning(Protocol):
    """A stage that consumes: joins its group, then turns until told to stop."""

    reader: Reader
    balance: BalanceSheet

    def start(self) -> None:
        """Join the group."""
        ...

    def turn(self) -> None:
        """Do one round of work."""
        ...

    def stop(self) -> None:
        """Commit what was taken and leave the group."""
        ...


def wall_clock() -> int:
    """Return the wall clock, µs."""
    return time.time_ns() // 1000


def _aggregate(settings: Settings, metrics: Metrics, health: Health, _: threading.Event) -> Turning:
    from streaming.aggregate.aggregator import Aggregator
    from streaming.aggregate.stage import AggregateStage

    return AggregateStage(
        Aggregator(settings.intervals, settings.lateness_ms * 1000),
        Reader(settings.kafka, AGGREGATE.group, settings.instance),
        Reader(settings.kafka),
        Writer(settings.kafka, f"{AGGREGATE.group}-{settings.instance}"),
        metrics,
        health,
        settings.commit_ms / 1000,
        wall_clock,
    )


def _sink(settings: Settings, metrics: Metrics, health: Health, _: threading.Event) -> Turning:
    from quantstream.lake.store import Lake
    from quantstream.lake.upkeep.evolution import migrate
    from streaming.sink.live_models import LiveModels
    from streaming.sink.proof_age import ProofAge
    from streaming.sink.stage import SinkStage

    lake = Lake(settings.lake_url)
    for sentence in migrate(lake, wall_clock(), health.beat):  # what came with this version
        log.warning("the lake of an older version was migrated", extra={"change": sentence})
    ProofAge(lake, settings.symbols, metrics).start()
    LiveModels(lake, metrics).start()
    return SinkStage(
        lake,
        Reader(settings.kafka, SINK.group, settings.instance),
        Writer(settings.kafka),
        metrics,
        health,
        settings.sink_commit_ms / 1000,
        wall_clock,
        settings.kafka.topic_prefix,
    )


def operators_of(settings: Settings, source: str) -> Operators:
    """Return what tells operators of a stage."""
    from quantstream.kafka.operator_events import Operators

    return Operators(Writer(settings.kafka), source, wall_clock)


def tell_of_balance(settings: Settings, stage: str, balance: BalanceSheet) -> None:
    """Make an event of a balance that does not close; the writer for it is made when there is one."""
    operators = cache(lambda: operators_of(settings, stage))
    balance.tell = lambda text, symbol: operators().tell(EventKind.BALANCE_OFF, text, symbol)


def _hot_swap(
    settings: Settings, metrics: Metrics, names: tuple[str, ...], operators: Operators, challengers: Any = None
) -> Any:
    """Return the watcher of the registry, already started; swaps and refusals are operational events.

    It looks at once when an alias is said to have moved, and every few seconds anyway. `challengers` are looked at beside.
    """
    from ml.serving.hot_swap import HotSwap, Model
    from ml.serving.registry import Registry
    from quantstream.kafka.news import News
    from quantstream.messages.topics import MODELS

    swaps = metrics.counter("model_swaps_total", "champions taken over or refused", "outcome")
    versions = metrics.gauge("model_version", "version of the champion in service", "model")
    failed = metrics.counter("failed_looks_total", "looks at the registry that failed as nobody foresaw")
    last_look = metrics.gauge("last_look", "when the registry last answered everything, seconds since the epoch")
    last_look.set_to_current_time()  # from here on it grows old: a registry that never answers is noticed, too

    def on_swap(model: Model, before: str) -> None:
        swaps.labels("swapped").inc()
        text = f"{model.name} {model.version} serves now" + (f" instead of {before}" if before else "")
        operators.tell(EventKind.MODEL_SWAPPED, text)
        versions.labels(model.name).set(float(model.version))

    def on_refuse(name: str, version: str, reason: str) -> None:
        swaps.labels("refused").inc()
        operators.tell(EventKind.MODEL_REFUSED, f"{name} {version} was not taken into service: {reason}")

    def on_trouble(text: str) -> None:
        failed.inc()
        operators.tell(EventKind.CHAMPIONS_UNWATCHED, text)

    registry = Registry(settings.mlflow_url)
    swap = HotSwap(registry, names, on_swap, on_refuse, last_look.set_to_current_time, on_trouble)
    swap.beside, swap.wait_for_news = challengers, News(settings.kafka, MODELS).wait
    swap.start()
    return swap


def _challengers(settings: Settings, names: tuple[str, ...], operators: Operators) -> Any:
    """Return what holds the challengers in memory, to be looked at beside the champions."""
    from ml.serving.hot_swap import CHALLENGER, HotSwap, Model
    from ml.serving.registry import Registry

    def on_swap(model: Model, before: str) -> None:
        log.info("a challenger is scored in the shadow", extra={"model": model.name, "version": model.version})

    def on_refuse(name: str, version: str, reason: str) -> None:
        operators.tell(EventKind.MODEL_REFUSED, f"{name} {version} was not taken into the shadow: {reason}")

    return HotSwap(Registry(settings.mlflow_url), names, on_swap, on_refuse, alias=CHALLENGER, is_left=True)


def _wait_for_champions(swap: Any, settings: Settings, health: Health, stop: threading.Event) -> None:
    """Return when it is known who the champions are, before any group is joined: what waits in the log is theirs to judge."""
    health.not_ready(f"waiting for the model registry at {settings.mlflow_url}")
    health.beat()
    if not swap.wait(health.beat, stop.is_set):
        log.info("stopped while waiting for the model registry")


def _detect(settings: Settings, metrics: Metrics, health: Health, stop: threading.Event) -> Turning:
    from streaming.detect.stage import DetectStage

    name = registered_name("anomaly")
    operators = operators_of(settings, DETECT.name)
    swap = _hot_swap(settings, metrics, (name,), operators)
    _wait_for_champions(swap, settings, health, stop)
    return DetectStage(
        Reader(settings.kafka, DETECT.group, settings.instance),
        Writer(settings.kafka, f"{DETECT.group}-{settings.instance}"),
        lambda: swap.current.get(name),
        metrics,
        health,
        settings.commit_ms / 1000,
        wall_clock,
        tell=operators.tell,
        is_stale=lambda model: model.is_stale(wall_clock(), settings.model_age_days * DAY),  # type: ignore[attr-defined]
    )


def _score(settings: Settings, metrics: Metrics, health: Health, stop: threading.Event) -> Turning:
    from ml.calendar.horizon import Following
    from ml.serving.outcome_memory import HISTORY, Memory
    from ml.serving.scoring import ModelSet, score
    from ml.serving.shadowing import Shadowing
    from ml.serving.warming import Warming
    from quantstream.core.time import utc
    from quantstream.lake.snapshots import RecentLake
    from quantstream.lake.store import Lake
    from streaming.score.histories import CandleHistories
    from streaming.score.shadow import Shadow
    from streaming.score.stage import ScoreStage

    operators = operators_of(settings, SCORE.name)
    challengers = _challengers(settings, MODEL_NAMES, operators)
    swap = _hot_swap(settings, metrics, MODEL_NAMES, operators, challengers)
    Following(Lake(settings.lake_url, may_create=False), operators.tell, wall_clock).start()
    _wait_for_champions(swap, settings, health, stop)
    recent, memory = RecentLake(Lake(settings.lake_url, may_create=False), ["candles"]), Memory(health.beat)

    lake_is_away = metrics.gauge("lake_is_away", "1 while the lake cannot be read, and scores go by what is in memory")

    def on_lake(reason: str) -> None:
        lake_is_away.set(bool(reason))
        if reason:
            operators.tell(EventKind.LAKE_AWAY, f"scores go by the history in memory: {reason}")
        else:
            operators.tell(EventKind.LAKE_BACK, "the lake can be read again")

    def champions() -> ModelSet:
        current = swap.current
        return ModelSet(**{kind: current.get(registered_name(kind)) for kind in MODEL_KINDS})

    histories = CandleHistories(
        SCORED,
        HISTORY,
        lambda symbol, start, end: recent.now().candle_frame([symbol], SCORED, utc(start), utc(end)),
        on_lake=on_lake,
    )
    cost, limit = settings.costs.round_trip, settings.model_age_days * DAY
    asked = Shadowing(champions, lambda: challengers.current, wall_clock, cost=cost)
    swap.make_ready = lambda model: asked.hand_over(model, memory)
    return ScoreStage(
        Reader(settings.kafka, SCORE.group, settings.instance),
        Writer(settings.kafka, f"{SCORE.group}-{settings.instance}"),
        histories,
        lambda frames: score(champions(), frames, wall_clock(), memory, limit_us=limit, cost=cost),
        Warming(champions, memory),
        metrics,
        health,
        settings.commit_ms / 1000,
        wall_clock,
        operators.tell,
        Shadow(asked, histories, Writer(settings.kafka), operators.tell, metrics),
    )


def followed(settings: Settings) -> list[str]:
    """Return the symbols of this ingest's share.

    Raises: Misconfigured when none falls to it.
    """
    from streaming.ingest.feed_lines import share_of

    number, count = settings.share
    symbols = share_of(settings.symbols, number, count)
    if not symbols:
        raise Misconfigured(
            f"none of the {len(settings.symbols)} symbols falls to share {number} of {count}; "
            "take fewer shards (QUANTSTREAM_SHARD), so that each has something to do"
        )
    return symbols


async def ingest(
    settings: Settings, metrics: Metrics, health: Health, stop: threading.Event, abort: Callable[[], None]
) -> None:
    """Run ingest until told to stop; `abort` ends the process when it hangs.

    Raises: Misconfigured, Unavailable.
    """
    from quantstream.binance.market_history import BinanceHistory
    from quantstream.binance.rate_limits import ATTEMPTS, ATTEMPTS_WINDOW, Pace
    from quantstream.binance.rest import open_session
    from streaming.ingest.feed_line import Plan
    from streaming.ingest.feed_lines import keep_connected
    from streaming.ingest.stage import Ingest
    from streaming.ingest.trade_log import KafkaTradeLog, tails, trade_writer

    symbols = followed(settings)
    writer, ends = trade_writer(settings.kafka), settings.endpoints
    weight = metrics.gauge("used_weight", "request weight used in this minute; 6,000 are allowed")
    queued = metrics.gauge("queued_records", "records that wait for the broker's acknowledgement")
    async with open_session(ends.rest) as session:
        rest = BinanceHistory(
            session, ends.rest, settings.history_rest, settings.stream, ends.api, weight.set, shares=settings.ingests
        )
        trade_log = KafkaTradeLog(writer, wall_clock, queued.set)
        ahead = settings.max_ahead_s * SECOND
        taking = Ingest(
            *(symbols, rest, trade_log, metrics, health, wall_clock, settings.stream, settings.intervals, ahead),
            share=settings.share,
        )
        tell_of_balance(settings, INGEST.name, taking.balance)
        taking.resume(tails(settings.kafka, symbols))
        health.beat()
        end_when_stalled(health, abort)
        attempts = Pace(max(1, ATTEMPTS // settings.ingests), ATTEMPTS_WINDOW)
        plan = Plan(settings.rotate_hours * 3600, socket=settings.socket, api=ends.api, attempts=attempts)
        try:
            await keep_connected(taking, ends.ws, stop, plan)
        finally:
            writer.flush()


BUILDERS: dict[str, Callable[[Settings, Metrics, Health, threading.Event], Turning]] = {
    AGGREGATE.name: _aggregate,
    SINK.name: _sink,
    DETECT.name: _detect,
    SCORE.name: _score,
}
