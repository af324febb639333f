"""Six planted bad challengers, each refused at another check of the gate, and a sane one that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.data.dataset import Dataset
from ml.models import base
from ml.models.risk import RiskModel
from ml.promotion.gate import Outcome
from ml.promotion.moves import Moves
from ml.serving.loaded import LoadedModel
from ml.serving.registry import REFERENCE
from ml.training import train
from ml.training.examination import Examined, Rivals, examine
from ml.training.rivals import keep_reference
from quantstream.lake.store import Lake
from quantstream.settings import Gate
from tests.unit.ml.conftest import SMALL
from tests.unit.ml.promotion.test_moves import FakeRegistry
from tests.unit.ml.training import planted
from tests.unit.ml.training.planted import QUICK, Changed, Shelf, Slow, subject


@pytest.fixture(scope="module")
def task(dataset_of_two: Dataset) -> train.Task:
    return train.prepare("risk", dataset_of_two)


@pytest.fixture(scope="module")
def fitted(task: train.Task) -> RiskModel:
    model = train.fit(task, QUICK)
    assert isinstance(model, RiskModel)
    return model


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, fitted: RiskModel) -> Shelf:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    shelf.put(fitted)
    return shelf


@pytest.fixture
def examined(
    task: train.Task, candles: dict[str, pd.DataFrame], shelf: Shelf, fitted: RiskModel
) -> Callable[..., Examined]:
    def run(model: base.Model, wrap: Any = None, spoil: Any = None, of: train.Task = task) -> Examined:
        version = shelf.put(fitted if wrap else model, wrap)  # type: ignore[arg-type]
        if spoil:
            spoil(shelf.folder / version)
        champion = shelf.get("1")
        return examine(subject(shelf, version, model, of, candles), Rivals(champion, champion), Gate(), shadow=False)

    return run


def test_a_sane_challenger_passes_every_check_and_is_promoted(
    examined: Callable[..., Examined], fitted: RiskModel
) -> None:
    found = examined(fitted)
    names = [check.name for check in found.verdict.checks]
    wanted = "artefact signature finite leakage behaviour latency size calibration reference champion"
    assert names == wanted.split()
    assert found.verdict.outcome is Outcome.PROMOTED, found.verdict.reasons
    assert "the same as that of the champion, version 1" in found.verdict.sentence


def test_what_passes_becomes_a_challenger_where_a_shadow_is_asked_for(
    task: train.Task, candles: dict[str, pd.DataFrame], shelf: Shelf, fitted: RiskModel
) -> None:
    version, champion = shelf.put(fitted), shelf.get("1")
    one = subject(shelf, version, fitted, task, candles)
    assert examine(one, Rivals(champion, champion), Gate(), shadow=True).verdict.outcome is Outcome.CHALLENGER
    first = examine(one, Rivals(), Gate(), shadow=True).verdict
    assert (first.outcome, first.sentence[:32]) == (Outcome.PROMOTED, "Promoted as the first sane model"), first.reasons


def swapped(folder: Path) -> None:
    """Put another model's consistent files in the place of those that were registered."""
    manifest = base.read_manifest(folder)
    manifest["state"]["calibrator"]["intercept"] = [0.5]
    (folder / base.MANIFEST).write_text(json.dumps({**manifest, "checksum": base._digest(manifest)}))


def wrapped(change: Any) -> tuple[Callable[[RiskModel], base.Model], Callable[[base.Model], base.Model]]:
    return (lambda model: Changed(model, change)), (lambda model: Changed(model, change))


@pytest.mark.parametrize(
    ("check", "change", "says"),
    [
        ("calibration", planted.overconfident, "calibration error"),
        ("finite", planted.now_and_then_nothing, "are not numbers"),
        ("signature", planted.twofold, "a risk answers in"),
    ],
)
def test_a_challenger_with_a_wrong_answer_is_refused(
    check: str, change: Any, says: str, examined: Callable[..., Examined], fitted: RiskModel
) -> None:
    make, wrap = wrapped(change)
    found = examined(make(fitted), wrap)
    assert (found.verdict.outcome, found.verdict.refused_by) == (Outcome.REFUSED, check), found.verdict.reasons
    assert says in found.verdict.sentence


def slow(model: base.Model) -> base.Model:
    assert isinstance(model, RiskModel)
    return Slow(model.mixes, model.calibrator, model.names)


def test_a_challenger_ten_times_slower_is_refused(
    task: train.Task, candles: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """Of a full-grown kind, with trees: a model of lines alone is quicker even so."""
    shelf, model = Shelf(tmp_path), train.fit(task, SMALL)
    assert isinstance(model, RiskModel)
    champion = shelf.get(shelf.put(model))
    one = subject(shelf, shelf.put(model, slow), slow(model), task, candles)
    found = examine(one, Rivals(champion, champion), Gate(), shadow=False)
    assert found.verdict.refused_by == "latency", found.verdict.reasons
    assert " ms for the windows of 64 symbols, over " in found.verdict.sentence


def test_a_full_grown_model_may_take_longer_than_a_champion_of_lines(
    examined: Callable[..., Examined], task: train.Task
) -> None:
    (latency,) = (check for check in examined(train.fit(task, SMALL)).verdict.checks if check.name == "latency")
    assert latency.passed, latency.sentence


def test_a_challenger_whose_files_are_another_models_is_refused(
    examined: Callable[..., Examined], fitted: RiskModel
) -> None:
    found = examined(fitted, spoil=swapped)
    assert found.verdict.refused_by == "artefact"
    assert "not those that were registered" in found.verdict.sentence


def test_a_challenger_that_learnt_from_the_future_is_refused(
    examined: Callable[..., Examined], dataset_of_two: Dataset
) -> None:
    task = train.prepare("risk", planted.leaky(dataset_of_two))
    found = examined(train.fit(task, QUICK), of=task)
    assert found.verdict.refused_by == "leakage", found.verdict.reasons
    assert planted.LEAKY in found.verdict.sentence


def test_twenty_retrainings_of_a_champion_on_noise_do_not_walk_down(
    task: train.Task, candles: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """Abnormal hours fall by lot, and each retraining sees less and learns more of the lot by heart."""
    rng, rate = np.random.default_rng(3), 0.1
    lot = (rng.random(len(task.data.symbol)) < rate).astype(float)
    known = np.isfinite(task.data.labels["abnormal"])
    noise = replace(
        task, data=replace(task.data, labels={**task.data.labels, "abnormal": np.where(known, lot, np.nan)})
    )
    options, shelf, aliases = train.Options(risk=replace(QUICK.risk, penalty=1.0)), Shelf(tmp_path), FakeRegistry()
    moves = Moves(aliases, Lake(str(tmp_path / "lake")), "a test")  # type: ignore[arg-type]
    champion: LoadedModel | None = None
    excess, offered = [], []  # true Brier score over the best possible, relative

    def true_excess(model: base.Model) -> float:
        said = model.predict(noise.data.matrix(noise.split.judge, model.names)[:, None])
        return float(((said - rate) ** 2).mean() / (rate * (1 - rate)))

    for share in np.geomspace(1, 0.05, 20):
        keep = np.sort(rng.choice(noise.split.fit, int(len(noise.split.fit) * share), replace=False))
        model = train.fit(replace(noise, split=replace(noise.split, fit=keep, calibrate=keep)), options)
        assert isinstance(model, RiskModel)
        version = shelf.put(model)
        reference = aliases.alias_version(planted.NAME, REFERENCE)
        fixed = shelf.get(reference) if reference else None
        found = examine(subject(shelf, version, model, noise, candles), Rivals(champion, fixed), Gate(), shadow=False)
        keep_reference(moves, planted.NAME, version, found)
        champion = shelf.get(version) if found.verdict.outcome is Outcome.PROMOTED else champion
        assert champion is not None
        excess.append(true_excess(champion.model))
        offered.append(true_excess(model))
    assert max(excess) < Gate().tolerance / 2, excess
    assert max(offered[10:]) > Gate().tolerance, "the retrainings should have got worse"
    assert excess[-1] < 0.005
