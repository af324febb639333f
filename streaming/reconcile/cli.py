"""`python -m streaming verify`, `… replay` and `… repair`: proof and remedies as commands, for jobs of a cluster and people.

Exit codes: 0 nothing differs, 1 something does, 2 misused or something could not be reached and so was not compared.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence

from quantstream.binance.blocking_rest import Rest
from quantstream.binance.klines import exchange_time
from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import window_start
from quantstream.lake.store import Lake
from quantstream.settings import Settings, load_settings
from streaming.reconcile.daily_accounts import keep_accounts
from streaming.reconcile.day_condition import DAY
from streaming.reconcile.moments import parse_moment
from streaming.reconcile.proof_report import Proof
from streaming.reconcile.stored_proofs import keep, tell
from streaming.reconcile.verify import Exchange, newest_close, verify

SHOWN = 20  # differences and names that a terminal gets to see; --json has them all
REST_TRIES = 3  # a person waits: 2 s for an exchange that is not there


def main(command: str, argv: Sequence[str]) -> int:
    """Run `verify` or `replay`; return the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of reaches the person as our errors
    try:
        return {"verify": _verify, "replay": _replay, "repair": _repair}[command](argv)
    except QuantStreamError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return 2


def prove(
    settings: Settings,
    symbols: str | None = None,
    start: str | None = None,
    end: str | None = None,
    is_kept: bool = False,
) -> Proof:
    """Run the proof that the texts of a command line ask for; one that is kept begins with a day.

    Raises: Misconfigured.
    """
    lake = Lake(settings.lake_url)
    rest = rest_of(settings)
    clock = exchange_clock(rest, lake)
    bounds = [None if text is None else parse_moment(text, clock) for text in (start, end)]
    if is_kept and bounds[0] is not None:
        bounds[0] = window_start(bounds[0], DAY)  # a day's condition is that of the whole day
    return verify(lake, Exchange(rest), chosen(settings, symbols), settings.intervals, *bounds)


def rest_of(settings: Settings) -> Rest:
    """Return the exchange's REST door."""
    return Rest(settings.endpoints.rest + settings.endpoints.api, tries=REST_TRIES)


def chosen(settings: Settings, symbols: str | None) -> tuple[str, ...]:
    """Return the symbols of a command line, else those configured.

    Raises: Misconfigured.
    """
    return settings.symbols if symbols is None else load_settings(symbols=symbols).symbols


def exchange_clock(rest: Rest, lake: Lake) -> Callable[[], int]:
    """Return the exchange's clock; while it does not answer, the end of the newest candle stands for it."""

    def now() -> int:
        try:
            return exchange_time(rest)
        except (Unavailable, Misconfigured):
            newest = newest_close(lake)
            if newest is None:
                raise Misconfigured(
                    "the exchange does not answer and the lake is empty; give the time as ISO 8601"
                ) from None
            return newest

    return now


def _verify(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m streaming verify", description=verify.__doc__)
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--from", dest="start", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    parser.add_argument("--to", dest="end", metavar="T")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--keep", action="store_true", help="keep the result in the lake, tell operators of differences"
    )
    parser.add_argument("--run", default="", metavar="URL", help="what to look at when the kept result is bad")
    given = parser.parse_args(argv)
    settings = load_settings()
    proof = prove(settings, given.symbols, given.start, given.end, given.keep)
    if given.keep:
        now, lake = time.time_ns() // 1000, Lake(settings.lake_url)
        keep(lake, proof, now, given.run)
        keep_accounts(lake, proof.days if given.end is None else [day for day in proof.days if day.is_over], now)
        tell(settings.kafka, proof, now)
    sys.stdout.write(proof.as_json() + "\n" if given.json else "\n".join(verify_lines(proof)) + "\n")
    return proof.exit_code


def _repair(argv: Sequence[str]) -> int:
    from streaming.reconcile.repair_command import repair_lines, run_repair

    parser = argparse.ArgumentParser(
        prog="python -m streaming repair",
        description="Mend incomplete and differing candles from the exchange's klines.",
    )
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--from", dest="start", default="1d", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    given = parser.parse_args(argv)
    mended, troubles = run_repair(load_settings(), given.start, given.symbols)
    sys.stdout.write("\n".join(repair_lines(mended, troubles)) + "\n")
    return 2 if troubles else 0


def _replay(argv: Sequence[str]) -> int:
    from streaming.reconcile.replay_command import replay_lines, run_replay

    parser = argparse.ArgumentParser(
        prog="python -m streaming replay", description="Recompute candles from the trades topic."
    )
    parser.add_argument("--from-offset", action="append", default=[], metavar="P:N")
    parser.add_argument("--from-time", metavar="T", help="ISO 8601 in UTC, or 15m, 2h, 1d ago")
    parser.add_argument("--to", metavar="T")
    parser.add_argument("--symbols", metavar="A,B")
    parser.add_argument("--publish", action="store_true", help="write differing candles as new revisions")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = run_replay(load_settings(), given.from_offset, given.from_time, given.to, given.symbols, given.publish)
    sys.stdout.write(found.as_json() + "\n" if given.json else "\n".join(replay_lines(found, given.publish)) + "\n")
    return found.exit_code


def verify_lines(proof: Proof) -> list[str]:
    """Return a proof as lines for a log."""
    lines = []
    for one in proof.symbols:
        lines.append(
            f"{one.symbol} {one.interval} {one.start} to {one.end}: {one.equal} equal, {one.different} different, "
            f"{one.missing} missing, {one.duplicate} duplicate, {one.incomplete} incomplete, {one.unproved} not compared, "
            f"{one.scored_once} scored once"
        )
    return [*lines, span(proof), *findings(proof), conclusion(proof)]


def span(proof: Proof) -> str:
    """Return what was looked at: from when to when, how many trades, how many scores."""
    ranges = [(one.start, one.end) for one in proof.symbols if one.start]
    scores = f"{proof.total('scored_once'):,} candles scored once, {proof.total('unscored'):,} not yet"
    trades = f"{proof.total('trades'):,} trades, {proof.total('missing_trades'):,} ids missing"
    when = f"{min(ranges)[0]} to {max(end for _, end in ranges)}" if ranges else "nothing"
    return f"{when}; {trades}; {scores}"


def conclusion(proof: Proof) -> str:
    """Return the proof in one sentence."""
    windows = sum(one.windows for one in proof.symbols)
    equal = proof.total("equal")
    incomplete = proof.total("incomplete")
    rest = f" {incomplete:,} say themselves that they are incomplete." if incomplete else ""
    if not proof.is_clean:
        return f"Something differs: {equal:,} of {windows:,} candles are equal.{rest}"
    if proof.not_compared:
        return f"Nothing differs in what could be compared: {equal:,} of {windows:,} candles are equal.{rest}"
    whole = f"{equal:,} of {windows:,} candles are equal to their trades and to the exchange's klines"
    return f"Nothing differs: {whole}.{rest}"


def findings(proof: Proof) -> list[str]:
    """Return what is not as it should be, a sentence each, the gravest first; of long lists the first ones."""
    lines = [f"{d.symbol} {d.interval} {d}" for d in proof.differences[:SHOWN]]
    listed = (
        ("missing_windows", "missing: {}"),
        ("duplicate_rows", "there twice: {}"),
        ("scored_twice_windows", "scored more than once: {}"),
        ("missing_trade_ids", "trades missing: ids {}"),
        ("incomplete_windows", "incomplete by its own account: {}"),
        ("unproved_windows", "nothing there to compare it with: {}"),
        ("unscored_windows", "not scored: {}"),
    )
    for name, sentence in listed:
        names = [f"{one.symbol} {one.interval} {text}" for one in proof.symbols for text in getattr(one, name)]
        lines += [sentence.format(text) for text in names[:SHOWN]]
        lines += [f"… and {len(names) - SHOWN} more; --json lists them"] if len(names) > SHOWN else []
    pending = proof.total("pending")
    lines += [f"{pending} newest candles left out: their trades are not in the lake yet"] if pending else []
    return lines + [f"Not compared: {sentence}" for sentence in proof.not_compared]
