"""`python -m tests.chaos.stage STAGE`: the stage as it is, but for champions that need no MLflow.

Training is not what chaos is about. Detect gets a rule in the anomaly champion's place, which the judge applies to the log as
well; score gets none and abstains, which is a score of its candle like any other. Where the environment names a registry
(`tests.chaos.outages`), the stage's own watcher asks it; where not, the rule is simply there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.data import trade_features
from quantstream.process_end import end_with
from tests.chaos.outages import ADDRESS, champion

SIZE = trade_features.NAMES.index("relative_size")


class Rule:
    """Flags trades of ten times the usual size: some of every thousand."""

    name, version, threshold = "quantstream-anomaly", "1", 0.5

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 for what is flagged."""
        return (np.asarray(rows).reshape(-1, len(trade_features.NAMES))[:, SIZE] > np.log(10)).astype(float)

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reason."""
        return [f"size {row[SIZE]:.6f}"]

    def is_stale(self, now_us: int, limit_us: int) -> bool:
        """Return False: a rule does not age."""
        return False

    def warm(self) -> None:
        """There is nothing to prepare."""


class Champions:
    """In the place of the registry's watcher."""

    def __init__(self, names: Sequence[str]) -> None:
        alone = list(names) == [Rule.name]
        self.current: dict[str, Any] = {Rule.name: Rule()} if alone else {}

    def wait(self, *_: object) -> bool:
        """Return at once: they are here."""
        return True


class OneRule:
    """In the place of MLflow's client: asks the registry of the run, which knows one rule."""

    def __init__(self, alone: bool) -> None:
        """`alone` says that the stage asks for nothing else: detect."""
        self.alone = alone

    def alias_version(self, name: str, alias: str) -> str | None:
        """Return the version behind an alias. Raises: Unavailable."""
        version = champion(os.environ[ADDRESS], name)
        return version if self.alone else None

    def load(self, name: str, version: str) -> Rule:
        """Return the rule."""
        return Rule()


def main() -> int:
    """Run the stage that the first argument names."""
    from streaming import __main__, wiring

    if ADDRESS in os.environ:
        module = ModuleType("ml.serving.registry")  # without MLflow's, which takes seconds to import
        vars(module)["Registry"] = lambda _: OneRule(sys.argv[1:] == ["detect"])
        sys.modules[module.__name__] = module
    else:
        wiring._hot_swap = lambda settings, metrics, names, *_, **__: Champions(names)
        wiring._challengers = lambda *_: Champions(())  # there are none, and nobody waits for MLflow's import
    return __main__.main(sys.argv[1:])


if __name__ == "__main__":
    end_with(main)
