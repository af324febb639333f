"""The engines that a user would pick instead, on the same topic and the same core, in one run with ours.

Kafka Streams and Flink need a Java build at install and are not run here; what they did elsewhere stands in README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
import venv
from pathlib import Path
from typing import Any

from bench.measure import cores, result, source
from quantstream.settings import Kafka

TARGET_OF_QUIX, AIM_OF_QUIX = (
    12.7,
    20.5,
)  # 280,000 and 450,000 beside the 22,000 that Quix made where the targets were set
QUICK = 5_000
QUIX_TRADES = 300_000  # of the topic: at its pace the whole of it takes minutes
PATIENCE = 900.0
HERE = Path(__file__).resolve().parent
ENGINES = {"Quix Streams, exactly-once": "quix", "Bytewax, at-least-once, no output": "bytewax_flow"}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser((__doc__ or "").splitlines()[0])
    options.add_argument("--trades", type=int, default=0, help="how many records the topic holds")
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else source.TRADES)
    python = None if given.quick else peers_python()
    with cores.broker_apart() as kafka:
        topic = f"bench.engines.{uuid.uuid4().hex[:8]}"
        source.fill(kafka, topic, trades)
        found = _measure(kafka, topic, trades, python, given.quick)
    return result.show(found, given.json)


def _measure(kafka: Kafka, topic: str, trades: int, python: Path | None, quick: bool) -> dict[str, Any]:
    measured: dict[str, dict[str, Any]] = {}
    for name, module in ENGINES.items() if python else ():
        records = min(trades, QUIX_TRADES) if module == "quix" else trades
        script = HERE / "peers" / f"{module}.py"
        measured[name] = _run([str(python), str(script), kafka.bootstrap, topic, str(records)])
    command = [sys.executable, "-m", "bench.aggregate", "--json", "--no-floors"]
    ours = _run([*command, "--bootstrap", kafka.bootstrap, "--topic", topic, "--trades", str(trades)])
    rates = {name: round(figures["trades_per_s"]) for name, figures in measured.items()}
    quix = rates.pop("Quix Streams, exactly-once", None)
    row = result.Row(
        "aggregate beside other engines, one core",
        "trades/s",
        round(ours["trades_per_s"]),
        floor=quix,
        floor_name="Quix Streams, exactly-once",
        target_ratio=TARGET_OF_QUIX if quix else None,
        aim_ratio=AIM_OF_QUIX if quix else None,
        peers=rates,
    )
    return result.report(
        "engines",
        [row],
        quick,
        trades=trades,
        exactly_once=ours["exactly_once"],
        engines=measured,
        are_engines_there=python is not None,
        times_ours={name: round(ours["trades_per_s"] / rate, 1) for name, rate in rates.items()},
    )


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=HERE.parent)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def peers_python() -> Path | None:
    """Return the Python of the engines' own environment, made when it is not there; None, loudly, when it can't be made."""
    wanted = HERE / "peers" / "requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "quantstream" / "bench"
    folder = cache / f"peers-{sys.version_info[0]}.{sys.version_info[1]}"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if done.exists() and done.read_text() == wanted.read_text():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix) / "uv" / "bin"))
    venv.create(folder, with_pip=uv is None)
    install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    try:
        subprocess.run([*install, "-q", "-r", str(wanted)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(
            f"THE OTHER ENGINES ARE NOT MEASURED: they cannot be installed: {error.stderr.strip()[-500:]}\n"
        )
        return None
    done.write_text(wanted.read_text())
    return python


if __name__ == "__main__":
    sys.exit(main())
