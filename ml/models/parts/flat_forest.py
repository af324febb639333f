"""An isolation forest as flat arrays: all trees step down together, so that one row costs a twentieth of a millisecond, not two.

The arrays are made once, when the forest is fitted, must score then as scikit-learn does to the last bit, and are what is saved,
judged and served: the live path reads nothing of scikit-learn, which for 10,000 rows at once takes two thirds of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantstream.core.rolling import Floats

PROBES = 32  # made-up rows on which the two must agree
BLOCK = 500  # rows at once: their steps stay in the cache
FIELDS = ("roots", "column", "threshold", "children", "length")


@dataclass(frozen=True)
class FlatForest:
    """A fitted `IsolationForest`, whose trees all read all columns."""

    roots: NDArray[np.int64]  # (trees,): place of each tree's first node
    column: NDArray[np.int64]  # (nodes,): which column a node asks; 0 at a leaf
    threshold: Floats  # (nodes,): above it to the right; infinite at a leaf
    children: NDArray[np.int64]  # (2 × nodes,): left and right of each node, a leaf's are itself
    length: Floats  # (nodes,): depth that a row ending there counts with
    steps: int  # down the deepest tree
    usual: float  # summed depth of an ordinary row

    @classmethod
    def of(cls, forest: Any) -> FlatForest:
        """Return the arrays of a fitted `sklearn.ensemble.IsolationForest`.

        Raises: ValueError when they do not score as the forest itself.
        """
        trees = [tree.tree_ for tree in forest.estimators_]
        sizes = [tree.node_count for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        is_leaf = np.concatenate([tree.children_left < 0 for tree in trees])
        own = np.arange(len(is_leaf))
        children = [
            np.concatenate([side + root for side, root in zip(sides, roots, strict=True)])
            for sides in ([tree.children_left for tree in trees], [tree.children_right for tree in trees])
        ]
        lengths, rest = forest._decision_path_lengths, forest._average_path_length_per_tree
        flat = cls(
            roots,
            np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])),
            np.where(is_leaf, np.inf, np.concatenate([tree.threshold for tree in trees])),
            np.stack([np.where(is_leaf, own, side) for side in children], axis=1).ravel(),
            np.concatenate([a + b - 1.0 for a, b in zip(lengths, rest, strict=True)]),
            max(tree.max_depth for tree in trees),
            len(trees) * _average_path_length(int(forest._max_samples)),
        )
        probes = np.random.default_rng(0).normal(0, 3, (PROBES, forest.n_features_in_))
        if not np.array_equal(flat.score_samples(probes), forest.score_samples(probes)):
            raise ValueError("the forest's flat arrays do not score as the forest itself")
        return flat

    def score_samples(self, rows: Floats) -> Floats:
        """Return (rows,) as scikit-learn's `IsolationForest.score_samples` does: lower is stranger."""
        read = rows.astype(np.float32)
        blocks = [self._depths(read[start : start + BLOCK]) for start in range(0, len(read), BLOCK)]
        depths = np.concatenate(blocks) if blocks else np.zeros(0)
        scores: Floats = -(2 ** (-depths / self.usual))
        return scores

    def write(self, file: Path) -> None:
        """Write the arrays as `.npz`, which holds numbers only."""
        arrays = {name: getattr(self, name) for name in FIELDS}
        np.savez_compressed(file, **arrays, steps=np.int64(self.steps), usual=np.float64(self.usual))

    @classmethod
    def read(cls, file: Path) -> FlatForest:
        """Read what `write` wrote; a file with anything but numbers is refused.

        Raises: ValueError.
        """
        with np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in FIELDS}
            return cls(**arrays, steps=int(kept["steps"]), usual=float(kept["usual"]))

    def _depths(self, rows: NDArray[np.float32]) -> Floats:
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        row = np.arange(len(rows))[:, None]
        for _ in range(self.steps):
            node = self.children[2 * node + (rows[row, self.column[node]] > self.threshold[node])]
        depths: Floats = np.cumsum(self.length[node], axis=1)[:, -1]  # in the order in which the library adds
        return depths


def _average_path_length(samples: int) -> float:
    """Return the mean depth of an unsuccessful search in a binary tree of so many (Liu et al. 2008, equation 1)."""
    if samples <= 2:
        return float(samples > 1)
    return float(2.0 * (np.log(samples - 1.0) + np.euler_gamma) - 2.0 * (samples - 1.0) / samples)
