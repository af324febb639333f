"""`python -m streaming simulate`: serves the simulated exchange until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.time import EARLIEST, LATEST, SECOND
from quantstream.observability.logs import JsonFormatter, TextFormatter
from streaming.exchange.clock import Clock
from streaming.exchange.clock_file import Saved, read_clock
from streaming.exchange.error_answers import SYMBOL
from streaming.exchange.faults import KINDS, Faults, parse_faults
from streaming.exchange.market.price_path import Regime
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.recorded import read_recordings
from streaming.exchange.market.synthetic import DEFAULT_SYMBOLS, HISTORY_RATE, MarketSeed, SyntheticMarket
from streaming.exchange.rest.futures import OFF_BOOK_A_MINUTE
from streaming.exchange.server.http_server import Options, serve
from streaming.exchange.server.venue import VENUES

HISTORY_DAYS = 60


@dataclass(frozen=True, slots=True)
class Chosen:
    """A market, what identifies it, and the time its clock resumes at."""

    market: Market
    identity: dict[str, str | int | float]
    resumes_at: int
    is_recording: bool


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; print the base addresses as one JSON line. Exit code 2 says that a setting is wrong."""
    arguments = parser().parse_args(argv)
    handler = logging.StreamHandler(sys.stderr)  # stdout carries the addresses
    handler.setFormatter(TextFormatter() if sys.stderr.isatty() else JsonFormatter("exchange"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    try:
        asyncio.run(_run(arguments))
    except Misconfigured as error:
        print(error, file=sys.stderr)
        return 2
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _run(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.speed <= 100_000:
        raise Misconfigured("--speed is how many times faster than the wall the clock runs; give a number above 0")
    chosen = choose_market(arguments, time.time())
    clock = Clock(chosen.resumes_at, arguments.speed, chosen.market.ends_at)
    options = Options(
        host=arguments.host,
        port=arguments.port,
        venue=VENUES[arguments.market],
        weight_limit=arguments.weight_limit,
        data_only=arguments.data_only,
        waits_for_listener=chosen.is_recording,
        clock_file=arguments.clock_file,
        truth_file=arguments.truth,
        archive=_folder(arguments.archive),
        identity=chosen.identity,
    )
    faults = Faults(random.Random(arguments.faults_seed), parse_faults(arguments.faults))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(chosen.market, clock, options, faults) as served:
        print(json.dumps({"ws": served.ws, "rest": served.rest}), flush=True)
        stopping = asyncio.ensure_future(stop.wait())
        ends: list[asyncio.Future[Any]] = [stopping, served.work]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await served.work  # raises what ended it


def choose_market(arguments: argparse.Namespace, wall: float) -> Chosen:
    """Return the market that the arguments and the clock file ask for; `wall` in seconds since the epoch.

    Raises: Misconfigured when they contradict each other or a recording is broken.
    """
    saved = read_clock(arguments.clock_file) if arguments.clock_file else None
    if arguments.recording:
        return _recorded(arguments, saved)
    return _synthetic(arguments, saved, wall)


def _recorded(arguments: argparse.Namespace, saved: Saved | None) -> Chosen:
    market = read_recordings(arguments.recording)
    names = ",".join(f"{path.name}:{path.stat().st_size}" for path in arguments.recording)
    identity: dict[str, str | int | float] = {"kind": "recording", "files": names, **_market_named(arguments)}
    _agree(saved, identity, arguments.clock_file)
    resumes_at = saved.at if saved else market.starts_at
    return Chosen(market, identity, resumes_at, is_recording=True)


def _synthetic(arguments: argparse.Namespace, saved: Saved | None, wall: float) -> Chosen:
    known = saved.market if saved and saved.market.get("kind") == "synthetic" else {}
    starts_at = arguments.start_at or int(known.get("starts_at", int(wall) * SECOND))
    seed = MarketSeed(
        seed=_first(arguments.seed, int(known.get("seed", 0))),
        starts_at=starts_at,
        history_days=_first(arguments.history_days, int(known.get("history_days", HISTORY_DAYS))),
        trades_per_second=float(arguments.trades_per_second or known.get("trades_per_second", HISTORY_RATE)),
        off_book_a_minute=OFF_BOOK_A_MINUTE if arguments.market == "futures" else 0.0,
        regime=arguments.regime or _known_regime(known),
    )
    if seed.seed < 0 or not 0 <= seed.history_days <= 1000 or not 0 < seed.trades_per_second <= 100_000:
        raise Misconfigured("--seed and --history-days (up to 1000) are not negative, --trades-per-second is above 0")
    identity: dict[str, str | int | float] = {
        "kind": "synthetic",
        "seed": seed.seed,
        "starts_at": seed.starts_at,
        "history_days": seed.history_days,
        "trades_per_second": seed.trades_per_second,
        **_market_named(arguments),
        **({"regime": f"{seed.regime.changes_at}={seed.regime.factor:g}"} if seed.regime is not None else {}),
    }
    _agree(saved, identity, arguments.clock_file)
    market = SyntheticMarket(seed, arguments.symbols)
    return Chosen(market, identity, saved.at if saved else seed.starts_at, is_recording=False)


def _market_named(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what a clock file says of the market: nothing of spot, as files written before there were futures."""
    return {} if arguments.market == "spot" else {"market": arguments.market}


def _known_regime(known: Mapping[str, str | int | float]) -> Regime | None:
    """Return the change that was planted when the clock file was begun."""
    changes_at, _, factor = str(known.get("regime", "")).partition("=")
    return Regime(int(changes_at), float(factor)) if factor else None


def _first(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given


def _agree(saved: Saved | None, identity: dict[str, str | int | float], path: Path) -> None:
    if saved is not None and saved.market != identity:
        raise Misconfigured(
            f"the clock file {path} belongs to another market ({saved.market}); "
            "start with the same arguments, or name another clock file"
        )


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise Misconfigured(f"--archive {path} is no folder; name the one in which spot/ or futures/ lies")
    return path


def regime_of(text: str) -> Regime:
    """Return a planted change from ISO=FACTOR. Raises: ArgumentTypeError."""
    at, _, factor = text.partition("=")
    try:
        found = Regime(_instant(at), float(factor))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is no change of regime like 2026-11-28T12:00=4") from None
    if not 0 < found.factor <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: moves grow by a factor above 0, up to 100")
    return found


def _symbols(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if not names or not all(SYMBOL.fullmatch(name) for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of symbols like BTCUSDT,ETHUSDT")
    return list(dict.fromkeys(names))


def _instant(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-01-31T12:00:00Z") from None
    micros = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * SECOND
    if not EARLIEST <= micros < LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} lies outside 2009 to 2100")
    return micros


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser("python -m streaming simulate", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--market", choices=list(VENUES), default="spot", help="spot, or USD-M futures under /fapi/v1")
    parser.add_argument("--symbols", type=_symbols, default=list(DEFAULT_SYMBOLS), metavar="A,B")
    parser.add_argument("--recording", type=Path, action="append", metavar="FILE", help="play recorded trades instead")
    parser.add_argument("--speed", type=float, default=1.0, help="exchange seconds in one second of the wall")
    parser.add_argument("--seed", type=int, help="which synthetic market (default 0)")
    parser.add_argument("--start-at", type=_instant, metavar="ISO", help="where the clock starts (default: now)")
    parser.add_argument("--history-days", type=int, help=f"days before the start (default {HISTORY_DAYS})")
    parser.add_argument("--trades-per-second", type=float, help=f"of the busiest symbol (default {HISTORY_RATE})")
    parser.add_argument(
        "--regime", type=regime_of, metavar="ISO=FACTOR", help="plant a change: moves so many times as large"
    )
    parser.add_argument("--clock-file", type=Path, metavar="FILE", help="keep the clock here, and resume from it")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="append the injected fat fingers here")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="serve files of the public archive that lie here")
    parser.add_argument("--weight-limit", type=int, help="REST weight a minute and address (6000, futures 2400)")
    parser.add_argument(
        "--data-only",
        action="store_true",
        help="no historicalTrades and no ticker/tradingDay, as on the market-data-only hosts",
    )
    parser.add_argument("--faults", default="", metavar="KIND=P[:SECONDS],…", help=", ".join(KINDS))
    parser.add_argument("--faults-seed", type=int, default=0)
    return parser
