"""Nothing on the simulated path may know the real time, draw by chance of its own, or wait for a thread.

What the modules say is read from their source (`impurities`); that nothing goes around it is proved by running each seed twice
(`test_dst.py`) in processes with different hash seeds.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FORBIDDEN = {
    "datetime.now": "the real clock",
    "datetime.utcnow": "the real clock",
    "datetime.today": "the real clock",
    "date.today": "the real clock",
    "time.perf_counter": "the real clock",
    "time.process_time": "the real clock",
    "time.clock_gettime": "the real clock",
    "os.urandom": "chance without a seed",
    "uuid.uuid4": "chance without a seed",
    "uuid.uuid1": "chance without a seed",
    "random.random": "chance without a seed",
    "random.randint": "chance without a seed",
    "random.randrange": "chance without a seed",
    "random.choice": "chance without a seed",
    "random.uniform": "chance without a seed",
    "random.shuffle": "chance without a seed",
    "np.random.default_rng": "chance without a seed",
    "threading.Thread": "a thread",
    "threading.Timer": "a thread",
    "asyncio.to_thread": "a thread",
    "ThreadPoolExecutor": "a thread",
    "subprocess.run": "a process",
    "subprocess.Popen": "a process",
}
FROM_TIME = {"time", "monotonic", "sleep", "time_ns", "monotonic_ns", "perf_counter"}
ALLOWED = {  # what a world never reaches, or gives the stage another of
    ("quantstream.observability.health", "threading.Thread"): "the watchdog: a world has its own (World._watch)",
    (
        "quantstream.lake.commits.staging",
        "uuid.uuid4",
    ): "names of folders: a world's lake is a model, and nothing depends on a name",
    ("streaming.score.histories", "ThreadPoolExecutor"): "a world hands its own executor in (AtOnce)",
    ("streaming.score.shadow", "threading.Thread"): "a world's scorer has no challengers",
}


def on_the_path() -> list[str]:
    """Return the modules of the product that are loaded for a world."""
    return sorted(n for n in sys.modules if n.split(".")[0] in ("quantstream", "streaming", "ml"))


def impurities(module: str) -> list[str]:
    """Return what a module does that no world could repeat, each with its line."""
    path = Path(sys.modules[module].__file__ or "")
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "random") and node.level == 0:
            taken = {alias.name for alias in node.names} & (FROM_TIME | {"random", "choice", "randrange"})
            found += [f"{module}:{node.lineno} takes {name} out of {node.module}" for name in sorted(taken)]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            for forbidden, what in FORBIDDEN.items():
                is_it = name == forbidden or name.endswith("." + forbidden)
                if is_it and (module, forbidden) not in ALLOWED:
                    found.append(f"{module}:{node.lineno} calls {name}: {what}")
    return found
