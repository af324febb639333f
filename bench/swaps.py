"""Champions swapped under the real score stage: how soon a promotion serves, what scoring takes meanwhile, memory after fifty.

A broker, an MLflow server, a lake of candles and one `score` process, as wired; a symbol's candles close every three seconds, a
hundred times as fast as the market's, one symbol after the other. A version is in the shadow first, as retrained ones are.
Scores are read as they are committed. What counts is the ratio of the delays within a swap (from the promotion to some seconds
after its first score) to those of the same run without one. Not part of `make bench`: it takes minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import result, source
from bench.measure.delays import Delays
from bench.score import ROOT, cached_models, load_models, made_up_candles
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND, micros
from quantstream.process_end import end_with

SWAPS, QUICK_SWAPS = 50, 2
SYMBOLS = [f"SYM{number}USDT" for number in range(4)]
APART = 3.0  # seconds from one close of a symbol to its next
QUIET, QUICK_QUIET = 40, 3  # closes without a swap, before the first
WARM = 3  # closes before those
VERSIONS = 3  # of each model: no two that follow one another are in memory still
SHADOWED = 2  # scores of each symbol before a promotion
WITHIN = 4.0  # seconds after the first score that count as within the swap


@dataclass
class Seen:
    """The scores as they came: when a candle was sent, when its score was read, and by which versions."""

    sent: dict[tuple[str, int], float] = field(default_factory=dict)
    delays: list[tuple[float, float]] = field(default_factory=list)  # read at, seconds it took
    count: Counter[tuple[str, int]] = field(default_factory=Counter)
    first: dict[tuple[str, str], float] = field(default_factory=dict)  # of a version since it was promoted, when read
    abstained: int = 0
    challenged: int = 0  # scores of challengers
    shadowed: Counter[tuple[str, str, str]] = field(
        default_factory=Counter
    )  # scores of challengers, by version and symbol

    def waiting(self) -> bool:
        """Tell whether a close before the newest is not scored yet."""
        return len(self.sent) - len(self.count) > len(SYMBOLS)

    def take(self, score: Any, at: float) -> None:
        """Note a score."""
        key = score.symbol, score.opened_at
        self.count[key] += 1
        self.abstained += bool(score.abstained)
        self.delays.append((at, at - self.sent[key]))
        for version in score.models.items():
            self.first.setdefault(version, at)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--swaps", type=int, default=0, help="how many promotions, of each of the four models in turn")
    given = options.parse_args(argv)
    swaps = given.swaps or (QUICK_SWAPS if given.quick else SWAPS)
    with (
        tempfile.TemporaryDirectory(prefix="bench-swaps-") as folder,
        source.broker() as kafka,
        _mlflow(Path(folder)) as url,
    ):
        settings = _settings(Path(folder), kafka, url)
        market = _fill(settings, QUIET + swaps * 20)
        _register(settings, cached_models())
        with _scorer(settings, Path(folder)) as process:
            return result.show(_measure(settings, market, process, swaps, given.quick), given.json)


def _measure(settings: Any, market: Iterator[list[Candle]], process: Any, swaps: int, quick: bool) -> dict[str, Any]:
    import psutil

    seen, over = Seen(), threading.Event()
    threads = [
        threading.Thread(target=act, args=(settings, seen, over)) for act in (_read, partial(_feed, market=market))
    ]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: len(seen.count) >= WARM * len(SYMBOLS) and not seen.waiting(), 300, process)
        quiet_from = time.time()
        time.sleep((QUICK_QUIET if quick else QUIET) * APART)  # what is measured without a swap
        took, spans, memory = [], [], []
        for number in range(swaps):
            began, served = _swap(settings, seen, number)
            took.append(served - began)
            spans.append((began, served + WITHIN))
            time.sleep(WITHIN + APART)  # the swap's own candles, and one more
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    calm, within = Delays(), Delays()
    for at, delay in seen.delays:
        if any(begin <= at <= end for begin, end in spans):
            within.add(delay * SECOND)
        elif at >= quiet_from:
            calm.add(delay * SECOND)
    return _report(seen, took, memory, calm, within, quick)


def _report(
    seen: Seen, took: list[float], memory: list[float], calm: Delays, within: Delays, quick: bool
) -> dict[str, Any]:
    fifth = min(5, len(memory)) - 1
    normal, of_fifth = calm.quantile(0.99), round(memory[fifth])
    rows = [
        result.Row("swap: promotion to first score, longest", "s", round(max(took), 2), 2.0, better="lower"),
        result.Row(
            *("swap: candle to score within swaps, p99", "ms", within.quantile(0.99), 2 * normal, normal, normal),
            "the same run without swaps",
            better="lower",
        ),
        result.Row(
            *(f"swap: memory after {len(memory)} swaps", "MB", round(memory[-1]), 1.1 * of_fifth, None, of_fifth),
            f"after {fifth + 1} swaps",
            better="lower",
        ),
    ]
    return result.report(
        "swaps",
        rows,
        quick,
        swaps=len(took),
        scored=len(seen.count),
        unscored=len(set(seen.sent) - set(seen.count)),
        scored_twice=sum(count > 1 for count in seen.count.values()),
        abstained=seen.abstained,
        shadowed=seen.challenged,
        seconds_to_first_score=[round(one, 2) for one in took],
        memory_mb=[round(one) for one in memory],
        without=calm.told(),
        within=within.told(),
    )


def _swap(settings: Any, seen: Seen, number: int) -> tuple[float, float]:
    """Let a version of one model score in the shadow, then promote it; return when the alias moved and when it first scored."""
    from ml.promotion.announcements import moves_of
    from ml.serving.registry import CHAMPION, Registry
    from quantstream.messages.models import MODEL_NAMES

    name, version = MODEL_NAMES[number % len(MODEL_NAMES)], str(1 + (1 + number // len(MODEL_NAMES)) % VERSIONS)
    registry, moved = Registry(settings.mlflow_url), []
    set_alias = registry.set_alias

    def noting(name: str, alias: str, version: str) -> None:
        set_alias(name, alias, version)
        if alias == CHAMPION:
            moved.append(time.time())

    registry.set_alias = noting  # type: ignore[method-assign]
    seen.first.pop((name, version), None)
    seen.shadowed.clear()
    moves = moves_of(settings, "bench", registry)
    moves.challenge(name, version, "a swap is measured")
    _until(lambda: all(seen.shadowed[name, version, symbol] >= SHADOWED for symbol in SYMBOLS), 120)
    moves.promote(name, version, "a swap is measured")
    _until(lambda: (name, version) in seen.first, 60)
    return moved[0], seen.first[name, version]


def _read(settings: Any, seen: Seen, over: threading.Event) -> None:
    from quantstream.kafka import Reader
    from quantstream.messages.payloads import Score, decode
    from quantstream.messages.topics import SCORES, SHADOW_SCORES

    reader = Reader(settings.kafka)
    reader.assign({(topic.name, part): 0 for topic in (SCORES, SHADOW_SCORES) for part in reader.partitions(topic)})
    last = time.time()
    while not over.is_set() or time.time() - last < 3:
        for message in reader.poll(0.02):
            last, score = time.time(), decode(message.value() or b"", Score)
            if message.topic() == SCORES.name:
                seen.take(score, last)
            else:
                seen.shadowed.update((*version, score.symbol) for version in score.models.items())
                seen.challenged += 1
    reader.close()


def _feed(settings: Any, seen: Seen, over: threading.Event, market: Iterator[list[Candle]]) -> None:
    from quantstream.kafka import Writer
    from quantstream.messages.payloads import encode
    from quantstream.messages.topics import CANDLES

    writer = Writer(settings.kafka)
    for candles in market:
        for candle in candles:
            if over.wait(APART / len(candles)):
                return
            seen.sent[candle.symbol, candle.opened_at] = time.time()
            writer.send(CANDLES, candle.symbol, encode(candle))
            writer.flush()


def _settings(folder: Path, kafka: Any, url: str) -> Any:
    from quantstream.settings import Settings

    return Settings(state=folder / "state", lake=str(folder / "lake"), mlflow=url, kafka=kafka)


def _fill(settings: Any, to_come: int) -> Iterator[list[Candle]]:
    """Write a full history of every symbol to the lake, and return the closes to come, all symbols' at once."""
    from ml.serving.outcome_memory import HISTORY
    from quantstream.lake.schemas import candle_rows
    from quantstream.lake.store import Lake

    frame = made_up_candles(HISTORY + to_come, seed=9)
    rows = [[_candle(symbol, row) for row in frame.itertuples()] for symbol in SYMBOLS]
    lake = Lake(settings.lake_url)
    for of_symbol in rows:
        lake.append("candles", candle_rows(of_symbol[:HISTORY]))
    return iter([list(together) for together in zip(*(of_symbol[HISTORY:] for of_symbol in rows), strict=True)])


def _candle(symbol: str, row: Any) -> Candle:
    first, high, low, last, volume, taken = (
        round(getattr(row, name) * UNIT) for name in ("open", "high", "low", "close", "volume", "taker_buy_volume")
    )
    sums = (volume, volume * 10**8, 1, taken, taken * 10**8)
    return Candle(symbol, "5m", micros(row.opened_at.to_pydatetime()), first, high, low, last, *sums, 1, 1, True)


def _register(settings: Any, files: Path) -> None:
    from ml.promotion.moves import Moves
    from ml.serving.registry import Registry
    from quantstream.lake.store import Lake

    registry = Registry(settings.mlflow_url)
    moves = Moves(registry, Lake(settings.lake_url), "bench")
    for kind, loaded in load_models(files):
        _write_copies(loaded.model, files / kind)
        for _ in range(VERSIONS):
            registry.register(loaded.model, {}, {}, {}, {})
        moves.promote(loaded.name, "1", "the first")


def _write_copies(model: Any, files: Path) -> None:
    """Let a loaded model write the files that it was loaded from: a forecast has no network to save any more."""
    from ml.models import base

    def write(folder: Path) -> Any:
        for path in files.iterdir():
            if path.name != base.MANIFEST:
                shutil.copy(path, folder)
        return base.read_manifest(files)["state"]

    object.__setattr__(model, "write", write)


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    from infra.embedded.free_ports import free_port
    from infra.embedded.readiness import ask

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "infra.embedded.mlflow_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
    try:
        _until(lambda: ask(f"{url}/health") is not None, 300)
        yield url
    finally:
        server.terminate()
        server.wait(60)


@contextmanager
def _scorer(settings: Any, folder: Path) -> Iterator[Any]:
    environment = os.environ | {
        "QUANTSTREAM_STATE": str(settings.state),
        "QUANTSTREAM_LAKE": settings.lake_url,
        "QUANTSTREAM_MLFLOW": settings.mlflow_url,
        "QUANTSTREAM_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "QUANTSTREAM_LOG_FORMAT": "json",
    }
    with (folder / "score.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streaming", "score"], stdout=log, stderr=log, env=environment, cwd=ROOT
        )
    try:
        yield process
        if process.poll() is not None:
            raise SystemExit(f"score ended by itself:\n{(folder / 'score.log').read_text()[-3000:]}")
    finally:
        process.terminate()
        process.wait(60)
        sys.stderr.write((folder / "score.log").read_text()[-4000:] if os.environ.get("BENCH_LOGS") else "")


def _until(is_so: Any, seconds: float, process: Any = None) -> None:
    over_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > over_at or (process is not None and process.poll() is not None):
            raise SystemExit(f"nothing came of it within {seconds:g} s")
        time.sleep(0.02)  # between two looks


if __name__ == "__main__":
    end_with(main)
