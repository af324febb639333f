"""Ensembles and their mix: lines that see only so far, trees that learn what a line leaves over, shares from a few choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.models.parts import blend, trees
from ml.models.parts.logistic import softmax
from quantstream.core.rolling import Floats

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(4000, 3))
NAMES = ("a", "b", "c")
BOOSTING: dict[str, Any] = {"objective": "binary:logistic", "max_depth": 2, "eta": 0.3, "min_child_weight": 1.0}


def _outcomes(logits: Floats) -> Floats:
    return (RNG.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(float)


def test_lines_see_nothing_farther_out_than_they_should() -> None:
    ensemble = blend.Ensemble(blend.straight(ROWS, _outcomes(2 * ROWS[:, 0] - ROWS[:, 1]), 2, 1.0), ())
    lines = ensemble.lines
    edge = lines.mean + blend.OUTERMOST * lines.scale * [1, 0, 0]
    far = edge + np.array([100.0, 0, 0])
    predicted = ensemble.logits(np.stack([edge, far]))[0]
    assert np.array_equal(predicted[0], predicted[1])
    inside = ensemble.within(ROWS)
    assert (inside == ROWS).mean() > 0.99
    calm = blend.Blend(ensemble, (1.0,), lines)
    parts = calm.contributions(np.stack([edge, far]))
    assert np.array_equal(parts[0], parts[1])


def test_trees_on_a_base_learn_only_what_it_leaves_over() -> None:
    base = 1.5 * ROWS[:, 0]
    bend = 2.0 * (ROWS[:, 1] > 0.5)
    outcomes = _outcomes(base + bend - 1)
    rest = trees.fit(ROWS, outcomes, NAMES, 40, 1, base=base - 1, **BOOSTING)
    margins = rest.margins(ROWS)
    assert abs(np.corrcoef(margins, ROWS[:, 0])[0, 1]) < 0.2  # the base says it already
    assert np.corrcoef(margins, bend)[0, 1] > 0.9
    assert margins[ROWS[:, 1] > 0.6].mean() - margins[ROWS[:, 1] < 0.4].mean() > 1
    nothing = trees.fit(ROWS, outcomes, NAMES, 0, 1, base=base, **BOOSTING)
    assert np.array_equal(nothing.margins(ROWS), np.zeros(len(ROWS)))


def test_only_the_offered_shares_are_chosen_from() -> None:
    outcomes = _outcomes(2 * ROWS[:, 0])
    lines = blend.straight(ROWS, outcomes, 2, 1.0)
    noise = trees.fit(ROWS, _outcomes(0 * ROWS[:, 0]), NAMES, 20, 1, **BOOSTING)
    ensemble = blend.Ensemble(lines, (blend.Member(noise),))
    alone = blend.fit(ensemble, ROWS, outcomes, 2, ((0.5, 0.5), (1.0, 0.0)))
    assert alone.shares == (1.0, 0.0)
    assert blend.fit(ensemble, ROWS, outcomes, 2, ((0.5, 0.5),)).shares == (0.5, 0.5)
    np.testing.assert_allclose(alone.probabilities(ROWS[:9]), softmax(lines.logits(ROWS[:9])), atol=0.03)
