"""The flattened forest is scikit-learn's, to the last bit."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from ml.models.parts.flat_forest import FlatForest


def forest(columns: int = 8, rows: int = 2_000) -> IsolationForest:
    ordinary = np.random.default_rng(1).standard_t(3, (rows, columns))
    return IsolationForest(n_estimators=60, max_samples=min(512, rows), random_state=3).fit(ordinary)


@pytest.mark.parametrize("rows", [1, 7, 3_000])
def test_flat_arrays_score_exactly_as_the_library(rows: int) -> None:
    fitted = forest()
    probes = np.random.default_rng(2).normal(0, 4, (rows, 8))
    assert np.array_equal(FlatForest.of(fitted).score_samples(probes), fitted.score_samples(probes))


def test_rows_on_a_threshold_and_of_two_samples_go_the_same_way() -> None:
    fitted = forest(columns=1, rows=2)
    threshold = float(fitted.estimators_[0].tree_.threshold[0])
    probes = np.array([[threshold], [np.nextafter(threshold, 9)], [np.nextafter(threshold, -9)], [1e30], [-1e30]])
    assert np.array_equal(FlatForest.of(fitted).score_samples(probes), fitted.score_samples(probes))


def test_a_forest_that_would_be_read_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = forest()
    fitted._decision_path_lengths = [lengths + 1 for lengths in fitted._decision_path_lengths]
    monkeypatch.setattr(fitted, "score_samples", forest().score_samples)
    with pytest.raises(ValueError, match="do not score as the forest itself"):
        FlatForest.of(fitted)


def test_what_is_written_and_read_scores_the_same(tmp_path: Path) -> None:
    flat, probes = FlatForest.of(forest()), np.random.default_rng(2).normal(0, 4, (1_200, 8))
    flat.write(tmp_path / "trades.npz")
    assert np.array_equal(FlatForest.read(tmp_path / "trades.npz").score_samples(probes), flat.score_samples(probes))


def test_a_file_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "trades.npz", roots=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        FlatForest.read(tmp_path / "trades.npz")
