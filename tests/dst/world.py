"""One world drawn from a seed: which stages, how many replicas and partitions, what trouble; run until it has come to rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import QuantStreamError, Unavailable
from quantstream.kafka import Writer
from quantstream.messages.payloads import Anomaly, Score, encode
from quantstream.messages.topics import (
    ANOMALIES,
    CANDLES,
    DEAD,
    EVENTS,
    OPEN_CANDLES,
    SCORES,
    SHADOW_SCORES,
    TOPICS,
    TRADES,
)
from tests.dst import faults, judge, simulation, wiring
from tests.dst.broker import Broker
from tests.dst.exchange import Exchange
from tests.dst.lake import Lake
from tests.dst.market import Market, draw_market, records
from tests.dst.simulation import MS, SECOND, Process, Simulation, Wedged

PATIENCE = 240 * SECOND  # for a world to come to rest once the trouble is over
GRACE = 4 * SECOND  # after that: what comes twice would come now
LATENESS = 500_000  # µs, of the watermark
Record = tuple[int, str, str, bytes]  # from when, topic, key, value
STAGES = (
    *(("aggregate",), ("aggregate",), ("aggregate",), ("sink",), ("sink",), ("sink",), ("sink",)),
    *(("detect",), ("detect",), ("score",), ("score",), ("aggregate", "score", "sink")),
    *(("ingest", "aggregate"), ("ingest", "aggregate")),
)


@dataclass
class Slot:
    """A replica that should be there: who keeps it starts it again when it ends."""

    stage: str
    instance: str
    is_wanted: bool = True
    processes: list[Process] = field(default_factory=list)

    @property
    def live(self) -> Process | None:
        """The newest process, unless it has ended."""
        newest = self.processes[-1] if self.processes else None
        return None if newest is None or newest.is_dead else newest


class World:
    """Everything that one seed decides."""

    def __init__(self, seed: int, keep: bool = False) -> None:
        self.seed = seed
        self.sim = sim = Simulation(seed, keep)
        rng = sim.rng
        self.stages = rng.choice(STAGES)
        self.partitions = rng.choice((1, 2, 2, 3, 4, 4, 12))
        sim.slowness = rng.choice((1, 1, 6, 40))
        windows, self.active = (
            rng.randrange(20, 50) if self.stages == ("score",) else rng.randrange(3, 9),
            rng.randrange(20, 50) * SECOND,
        )
        speed = max(1, windows * 60 * SECOND // self.active)
        self.market: Market = draw_market(rng, rng.randrange(1, 5), rng.randrange(60, 260), windows, speed)
        self.commit_s, self.bursts = rng.choice((0.2, 0.5, 1.0)), rng.choice((500, 1_500, 3_000)) * MS
        by_symbol = {t.name: self.partitions for t in (TRADES, CANDLES, OPEN_CANDLES, SCORES, SHADOW_SCORES, ANOMALIES)}
        self.broker = Broker(sim, {**by_symbol, DEAD.name: 1, EVENTS.name: 1}, rng.choice((2, 50, 600, 2500)) * MS)
        self.lake = Lake(sim)
        self.slots = [Slot(stage, str(n)) for stage in self.stages for n in range(rng.choice((1, 2, 2, 3)))]
        self.exchange = Exchange(sim, self.market, rng.random() < 0.7)
        writers = range(0 if "ingest" in self.stages else rng.choice((1, 1, 2)))
        self.sources = [Source(self, f"ingest{n}", trade_records(self.market)) for n in writers]
        self.upstream = Source(self, "upstream", upstream(self.market, self.stages))
        self.crashes: list[str] = []
        sim.note("world", "is", (self.stages, self.partitions, list(self.market.trades), speed, self.commit_s))

    def run(self) -> judge.Verdict:
        """Live through it and judge what it left."""
        simulation.entered(self.sim)
        wiring.connect(self.broker)
        try:
            return self._run()
        finally:
            self.sim.end()
            simulation.entered(None)

    def _run(self) -> judge.Verdict:
        sim = self.sim
        for source in (*self.sources, self.upstream):
            is_late = source in self.sources[1:]
            sim.after(sim.rng.randrange(20 * SECOND) if is_late else 0, source.start)
        for slot in self.slots:
            sim.after(sim.rng.randrange(3 * SECOND), self.start, slot)
        faults.plan(self)
        sim.after(SECOND, self._watch)
        try:
            sim.run(self.active)
            faults.heal(self)
            verdict = judge.Verdict(self)
            sim.run(self.active + PATIENCE, verdict.is_all_there, every=2 * SECOND)
            sim.run(sim.now + GRACE)
        except Wedged as error:
            verdict = judge.Verdict(self)
            verdict.wrong.append(str(error))
        verdict.judge()
        return verdict

    def start(self, slot: Slot) -> None:
        """Start a replica unless it lives."""
        if not slot.is_wanted or slot.live is not None:
            return
        self.launch(slot)

    def launch(self, slot: Slot) -> None:
        """Start a process of a replica, whatever else lives."""
        if slot.stage == "ingest":
            work = wiring.run_ingest(self.exchange)
        else:
            work = wiring.run_stage(slot.stage, self.lake, slot.instance, self.commit_s, self.market.interval)
        name = f"{slot.stage}{slot.instance}.{len(slot.processes)}"
        slot.processes.append(self.sim.spawn(name, work, lambda process: self._ended(slot, process)))

    def _ended(self, slot: Slot, process: Process) -> None:
        error = process.error
        self.sim.note(process.name, "ended", f"{type(error).__name__}: {error}" if error else "")
        if error is not None and not isinstance(error, QuantStreamError):
            self.crashes.append(f"{process.name} crashed: {error!r}")
        self.restart_soon(slot)

    def restart_soon(self, slot: Slot) -> None:
        """Start it again as a supervisor does, shortly."""
        self.sim.after(self.sim.rng.randrange(300 * MS, 3 * SECOND), self.start, slot)

    def _watch(self) -> None:
        """End what hangs, as each stage's own watchdog does."""
        for slot in self.slots:
            for process in slot.processes:
                health = process.told.get("health")
                if health is not None and not process.is_dead and not process.is_paused and not health.is_alive:
                    self.sim.note(process.name, "hangs", "")
                    process.kill()
                    self.restart_soon(slot)
        self.sim.after(SECOND, self._watch)


class Source:
    """What writes the topics that no stage of this world writes: it begins again where it was acknowledged."""

    def __init__(self, world: World, name: str, left: list[Record]) -> None:
        self.world, self.name, self.left = world, name, left
        self.place = 0  # records before it are at the broker
        self.lives = 0
        self.process: Process | None = None

    def start(self) -> None:
        """Start its process, unless it lives."""
        if self.process is None or self.process.is_dead:
            self.lives += 1
            self.process = self.world.sim.spawn(f"{self.name}.{self.lives}", self._work, lambda process: None)

    def _work(self, process: Process) -> None:
        writer, sim, left = Writer(wiring.KAFKA), self.world.sim, self.left
        while self.place < len(left):
            wait = left[self.place][0] - sim.now
            if wait > 0:
                process.wait(wait + sim.rng.randrange(self.world.bursts))
            end = self.place
            while end < len(left) and left[end][0] <= sim.now:
                _, topic, key, raw = left[end]
                writer.send(NAMED[topic], key, raw, headers=HEADERS)
                end += 1
            while not _is_flushed(writer):
                pass  # what is queued stays queued: sent again, it would be there twice
            self.place = end


def _is_flushed(writer: Writer) -> bool:
    try:
        writer.flush()
    except Unavailable:
        return False
    return True


def trade_records(market: Market) -> list[Record]:
    """Return what ingest writes."""
    return [(at, TRADES.name, symbol, raw) for at, symbol, raw in records(market, LATENESS)]


def upstream(market: Market, stages: tuple[str, ...]) -> list[Record]:
    """Return what stages write that this world does not have, though others of it read it."""
    found: list[Record] = []
    wants_candles = ("sink" in stages or "score" in stages) and "aggregate" not in stages
    for (symbol, opened_at), bar in market.candles().items() if wants_candles else ():
        o, h, lo, c, volume, quote, count, first, last = bar
        candle = Candle(symbol, market.interval, opened_at, o, h, lo, c, volume, quote, count, 0, 0, first, last, True)
        at = max(0, (candle.closed_at - simulation.EPOCH) // market.speed)
        found.append((at, CANDLES.name, symbol, encode(candle)))
        if "sink" in stages and "score" not in stages:
            score = Score(symbol, market.interval, opened_at, 0, c / UNIT, opened_at, "rule")
            found.append((at + 300 * MS, SCORES.name, symbol, encode(score)))
    for trades in market.trades.values() if "sink" in stages and "detect" not in stages else ():
        for t in trades[::9]:
            told = Anomaly(t.symbol, t.id, t.traded_at, t.price, t.quantity, t.buyer_is_maker, 1.0, [], "rule/0", 0)
            at = (t.traded_at - simulation.EPOCH) // market.speed
            found.append((at + 500 * MS, ANOMALIES.name, t.symbol, encode(told)))
    return sorted(found, key=lambda record: (record[0], record[1], record[2]))


HEADERS = [("kind", b"trade"), ("received_at", b"1723161600000000"), ("origin", b"live")]
NAMED = {topic.name: topic for topic in TOPICS}
