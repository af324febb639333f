"""`python -m tests.chaos.stage STAGE`: the stage as it is, but for a champion that needs no registry.

Training is not what chaos is about. Detect gets a rule in the anomaly champion's place, which the judge applies to the log as
well; score gets none and abstains, which is a score of its candle like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import trade_features

SIZE = trade_features.NAMES.index("relative_size")


class Rule:
    """Flags trades of ten times the usual size: some of every thousand."""

    name, version, threshold = "quantstream-anomaly", "0", 0.5

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 for what is flagged."""
        return (np.asarray(rows).reshape(-1, len(trade_features.NAMES))[:, SIZE] > np.log(10)).astype(float)

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reason."""
        return [f"size {row[SIZE]:.6f}"]


class Champions:
    """In the place of the registry's watcher."""

    def __init__(self, names: Sequence[str]) -> None:
        alone = list(names) == [Rule.name]
        self.current: dict[str, Any] = {Rule.name: Rule()} if alone else {}


def main() -> int:
    """Run the stage that the first argument names."""
    import streaming.__main__ as entry

    entry._hot_swap = lambda settings, metrics, names, *_, **__: Champions(names)
    return entry.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
