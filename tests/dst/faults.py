"""Trouble drawn from the seed: pauses beyond the session, kills, replicas that come and go, a broker or a lake that is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.dst.simulation import MS, SECOND, Process

if TYPE_CHECKING:
    from tests.dst.world import Slot, World

KINDS = (
    *("pause", "pause", "long pause", "long pause", "kill", "stop", "join", "join"),
    *("twin", "broker", "lake", "source", "ambush", "ambush", "ambush", "stall"),
)
STANDSTILLS = {  # how long, at least and at most
    "pause": (100 * MS, 9 * SECOND),
    "stall": (SECOND, 12 * SECOND),
    "long pause": (10 * SECOND, 26 * SECOND),
    "twin": (3 * SECOND, 26 * SECOND),
}
NEAR = (
    14  # calls of the outside until armed trouble strikes, at most: between any two of them is the instant that matters
)


def plan(world: World) -> None:
    """Draw when what happens."""
    rng = world.sim.rng
    for _ in range(rng.randrange(1, 8)):
        world.sim.after(rng.randrange(SECOND, world.active), _strike, world, rng.choice(KINDS))


def _strike(world: World, kind: str) -> None:
    rng, sim = world.sim.rng, world.sim
    sim.note("fault", kind, "")
    if kind == "broker":
        world.broker.go_down(rng.choice((300 * MS, 2 * SECOND, 6 * SECOND, 13 * SECOND)))
    elif kind == "lake":
        world.lake.down_until = sim.now + rng.randrange(SECOND, 8 * SECOND)
    elif kind == "source" and not world.sources:
        world.exchange.away_until = sim.now + rng.randrange(SECOND, 10 * SECOND)
    elif kind == "source":
        source = rng.choice(world.sources)
        if source.process is not None:
            source.process.kill()
        sim.after(rng.randrange(SECOND, 4 * SECOND), source.start)
    else:
        _strike_replica(world, rng.choice(world.slots), kind)


def _strike_replica(world: World, slot: Slot, kind: str) -> None:
    rng, sim = world.sim.rng, world.sim
    process = slot.live
    if process is None:
        slot.is_wanted = True
        world.start(slot)
        return
    calls = process.calls + rng.randrange(1, NEAR)
    if kind in STANDSTILLS:
        least, most = STANDSTILLS[kind]
        # all of it stands still, or (a slow call) its work but not its heartbeats
        stop, duration = Process.wait if kind == "stall" else Process.pause, rng.randrange(least, most)
        process.armed.append((calls, lambda p: stop(p, duration)))
        if kind == "twin":  # it is thought dead, and another begins under its name
            sim.after(rng.randrange(2 * SECOND, 9 * SECOND), _double, world, slot, process)
    elif kind == "kill":
        process.armed.append((calls, lambda p: _kill(world, slot, p)))
    elif kind == "stop":
        process.told["stop"] = True
        slot.is_wanted = False
        sim.after(rng.randrange(5 * SECOND, 25 * SECOND), _want, world, slot)
    elif (
        kind == "ambush"
    ):  # right after it answered a rebalance it stands still, a while short of its session or longer
        pause = rng.randrange(2 * SECOND, rng.choice((5, 9, 20)) * SECOND)
        stop = Process.pause if rng.random() < 0.4 else Process.wait  # all of it, or its work but not its heartbeats
        process.told["ambush"] = rng.choice((1, 1, 1, 2, 2, 3, 4, 5)), lambda p: stop(p, pause)
        _join(world, slot)
    else:  # one more replica comes, and goes again
        _join(world, slot)


def _kill(world: World, slot: Slot, process: Process) -> None:
    process.kill()
    world.restart_soon(slot)


def _double(world: World, slot: Slot, process: Process) -> None:
    if process.is_paused and not process.is_dead:
        world.launch(slot)


def _want(world: World, slot: Slot) -> None:
    slot.is_wanted = True
    world.start(slot)


def _join(world: World, beside: Slot) -> None:
    taken = {slot.instance for slot in world.slots if slot.stage == beside.stage}
    free = [name for name in "0123" if name not in taken]
    if free:
        slot = type(beside)(beside.stage, free[0])
        world.slots.append(slot)
        world.start(slot)
        world.sim.after(world.sim.rng.randrange(4 * SECOND, 20 * SECOND), _leave, slot)


def _leave(slot: Slot) -> None:
    slot.is_wanted = False
    if slot.live is not None:
        slot.live.told["stop"] = True


def heal(world: World) -> None:
    """End all trouble: everyone who should be there is, or soon."""
    world.sim.note("fault", "healed", "")
    world.lake.down_until = world.exchange.away_until = 0
    world.exchange.breaks = False
    for slot in world.slots:
        for process in slot.processes:
            process.armed.clear()
            process.resume()
        if slot.instance == "0":
            slot.is_wanted = True
        world.start(slot)
    for source in (*world.sources, world.upstream):
        source.start()
