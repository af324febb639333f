"""The four models: saved and loaded without a trace, the same from the same data, and sane in what they say."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.data import trade_features
from ml.evaluation import evaluate
from ml.models import base, forecast
from ml.models.anomaly import AnomalyModel
from ml.models.base import columns
from ml.models.forecast import ForecastModel, quantiles
from ml.models.parts import logistic
from ml.models.parts.thresholds import NEVER, Fixed
from ml.models.risk import VIEWS, RiskModel
from ml.models.signal import SignalModel
from ml.training import train
from quantstream import features
from quantstream.core.errors import DataRejected, ModelRejected
from quantstream.core.rolling import Floats
from quantstream.messages.models import MODEL_KINDS
from quantstream.setting_groups import ROUND_TRIP
from tests.unit.ml import markets
from tests.unit.ml.conftest import SMALL

pytestmark = pytest.mark.slow


def windows(model: base.Model, task: train.Task, count: int = 40) -> Floats:
    """What a model reads of the last rows."""
    return evaluate.windows_of(model, task.data, task.split.judge[-count:])


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_saved_and_loaded_model_predicts_the_same(
    kind: str, models: dict[str, base.Model], tasks: dict[str, train.Task], tmp_path: Path
) -> None:
    base.save(models[kind], tmp_path / kind)
    loaded = base.load(tmp_path / kind)
    read = windows(models[kind], tasks[kind])
    assert type(loaded) is type(models[kind])
    assert np.array_equal(loaded.predict(read), models[kind].predict(read))
    assert not list((tmp_path / kind).glob("*.pkl"))
    if isinstance(loaded, AnomalyModel):
        trades = np.random.default_rng(0).normal(size=(50, 5)) * 9
        assert np.array_equal(loaded.score_trades(trades), models[kind].score_trades(trades))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_the_same_data_gives_the_same_model(
    kind: str, models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    again = train.fit(tasks[kind], SMALL)
    read = windows(again, tasks[kind])
    np.testing.assert_allclose(again.predict(read), models[kind].predict(read), atol=1e-6)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_rows_do_not_influence_each_other(
    kind: str, models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    count = 301  # a library may take few rows another way than many, and the last ones by themselves
    read = windows(models[kind], tasks[kind], count)
    together = models[kind].predict(read)
    order = np.random.default_rng(0).permutation(count)
    assert np.array_equal(models[kind].predict(read[order]), together[order])
    assert np.array_equal(np.concatenate([models[kind].predict(read[i : i + 1]) for i in range(count)]), together)


@pytest.mark.parametrize("kind", ["forecast", "signal", "risk"])
def test_each_judgement_is_finite_and_has_its_baselines(
    kind: str, models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    report = train.judge(tasks[kind], models[kind])
    assert np.isfinite(list(report.metrics.values())).all()
    assert set(report.symbols) == {"BTCUSDT", "ETHUSDT"}
    assert set(report.symbols["BTCUSDT"]) < set(report.metrics)  # bounds are of all symbols together
    assert json.loads(json.dumps(report.fields()))["rows"] == report.rows > 0


def test_the_judged_part_is_never_learned_from(tasks: dict[str, train.Task]) -> None:
    task = tasks["risk"]
    spoilt = {name: values.copy() for name, values in task.data.labels.items()}
    spoilt["abnormal"][task.split.judge] = 1 - spoilt["abnormal"][task.split.judge]
    changed = train.Task("risk", type(task.data)(**{**task.data.__dict__, "labels": spoilt}), task.split)
    one, other = train.fit(task, SMALL), train.fit(changed, SMALL)
    read = windows(one, task)
    assert np.array_equal(one.predict(read), other.predict(read))


def test_quantiles_never_cross(models: dict[str, base.Model], tasks: dict[str, train.Task]) -> None:
    wild = np.random.default_rng(0).normal(size=(50, forecast.LENGTH, len(forecast.NAMES))) * 20
    wild[:, :, forecast.NAMES.index("log_rms_24h")] = -7
    for predicted in (models["forecast"].predict(wild), quantiles(np.random.default_rng(1).normal(size=(99, 15)) * 50)):
        assert np.isfinite(predicted).all()
        assert (np.diff(predicted, axis=2) >= 0).all()


def test_corrections_make_quantiles_hold_and_shrink_a_useless_median() -> None:
    rng = np.random.default_rng(0)
    actual = rng.normal(size=(20_000, 3))
    raw = np.tile([-0.8, -0.3, 0.0, 0.3, 0.8], (20_000, 3, 1)) + rng.normal(size=(20_000, 3, 1))
    shrink, stretch = forecast.corrections(raw, actual)
    assert shrink.tolist() == [forecast.FEWEST] * 3
    widened = shrink[0] * raw[:, :, 2:3] + stretch * (raw - raw[:, :, 2:3])
    for level, share in zip((0, 1, 3, 4), (0.05, 0.25, 0.75, 0.95), strict=True):
        assert (actual <= widened[:, :, level]).mean() == pytest.approx(share, abs=0.005)


def test_probabilities_sum_to_one_and_reasons_are_words(
    models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    signal = models["signal"]
    assert isinstance(signal, SignalModel)
    read = windows(signal, tasks["signal"])
    shares = signal.predict(read)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    reasons = signal.reasons(read, signal.actions(read, shares, ROUND_TRIP))
    assert all(1 <= len(row) <= 3 and all("speaks for" in text for text in row) for row in reasons)


def test_contributions_add_up_to_the_mixed_logits(models: dict[str, base.Model], tasks: dict[str, train.Task]) -> None:
    risk = models["risk"]
    assert isinstance(risk, RiskModel)
    read = windows(risk, tasks["risk"])
    inputs = risk.inputs(read)
    predicted = [(one.mixed(inputs[:, columns(VIEWS[view])]), view) for view, one in risk.mixes.items()]
    assert {view for _, view in predicted} <= set(VIEWS)
    mixed = sum(one[:, 1] - one[:, 0] for one, _ in predicted) / len(predicted)
    rest = mixed - risk.contributions(inputs).sum(axis=1)  # the bias: the same for every row
    np.testing.assert_allclose(rest, np.full(len(rest), rest[0]), atol=1e-4)


def test_an_action_is_taken_only_when_it_pays_after_costs(models: dict[str, base.Model]) -> None:
    signal = models["signal"]
    assert isinstance(signal, SignalModel)
    signal = dataclasses.replace(signal, asks=Fixed(0.001), middle=None)
    read = np.zeros((4, 1, len(signal.names)))
    read[:, :, signal.names.index("log_rms_24h")] = np.log(0.002)  # barrier 0.69 %: an edge of 0.15 pays 0.1 %
    shares = np.array([[0.1, 0.5, 0.4], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4], [0.0, 1.0, 0.0]])
    assert signal.actions(read, shares, 0.001) == ["Buy", "Sell", "Hold", "Hold"]
    assert signal.actions(read, shares, 0.003) == ["Hold"] * 4
    assert dataclasses.replace(signal, asks=Fixed(NEVER)).actions(read, shares, 0.0) == ["Hold"] * 4


def test_only_trades_far_off_or_huge_with_impact_are_anomalies(models: dict[str, base.Model]) -> None:
    model = models["anomaly"]
    assert isinstance(model, AnomalyModel)
    ordinary, far, far_down, huge = [1, 1, 0, 0, 1], [12, 12, 0, 0, 1], [-30, -30, 3, 0, 1], [4, 9, 5, 0, 1]
    scores = model.score_trades(np.array([ordinary, far, far_down, huge, [0, 0, 9, 0, 1]], dtype=float))
    assert (scores > model.threshold).tolist() == [False, True, True, True, False]
    assert model.explain(far) == ["price 12.0 σ above the rolling VWAP", "12.0 σ up from the trade before"]
    assert model.explain(ordinary) == []
    assert model.score_trades(np.zeros((0, 5))).shape == (0,)


def test_a_market_that_never_moves_cannot_teach_a_signal(tasks: dict[str, train.Task]) -> None:
    task = tasks["signal"]
    still = {**task.data.labels, "action": np.ones_like(task.data.labels["action"])}
    flat = train.Task("signal", type(task.data)(**{**task.data.__dict__, "labels": still}), task.split)
    with pytest.raises(DataRejected, match="hardly moved"):
        train.fit(flat, SMALL)


def test_a_logistic_regression_survives_an_absent_class() -> None:
    fitted = logistic.fit(np.random.default_rng(0).normal(size=(50, 2)), np.ones(50), 3)
    assert fitted.probabilities(np.zeros((1, 2)))[0].round(6).tolist() == [0.0, 1.0, 0.0]
    again = logistic.from_state(json.loads(json.dumps(fitted.state())))
    assert np.array_equal(again.logits(np.ones((3, 2))), fitted.logits(np.ones((3, 2))))


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest", "no manifest"])
@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_damaged_model_is_refused(kind: str, damage: str, models: dict[str, base.Model], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    base.save(models[kind], folder)
    manifest = folder / base.MANIFEST
    victim = sorted(path for path in folder.iterdir() if path != manifest)[0]
    if damage == "flip":
        raw = bytearray(victim.read_bytes())
        raw[len(raw) // 2] ^= 255
        victim.write_bytes(raw)
    elif damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:100])
    elif damage == "remove":
        victim.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text().replace('"length": ', '"length": 1'))
    else:
        manifest.unlink()
    with pytest.raises(ModelRejected, match="damaged"):
        base.load(folder)


def test_a_model_of_other_features_is_refused(
    models: dict[str, base.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.save(models["risk"], tmp_path)
    monkeypatch.setattr(features, "FEATURE_HASH", "another")
    with pytest.raises(ModelRejected, match="this process computes another"):
        base.load(tmp_path)


def test_a_forest_file_of_another_type_is_refused(models: dict[str, base.Model], tmp_path: Path) -> None:
    import skops.io

    state = models["anomaly"].write(tmp_path)
    (tmp_path / "trades.npz").unlink()
    skops.io.dump(print, tmp_path / "trades.skops")
    with pytest.raises(ValueError, match="Untrusted"):
        AnomalyModel.read(tmp_path, state)


def test_a_version_of_before_forests_were_kept_as_arrays_still_loads(
    models: dict[str, base.Model], tmp_path: Path
) -> None:
    model = models["anomaly"]
    assert isinstance(model, AnomalyModel)
    state = model.write(tmp_path)
    for name in ("trades", "candles"):
        (tmp_path / f"{name}.npz").unlink()
    rows = np.random.default_rng(0).normal(size=(50, len(trade_features.NAMES)))
    assert np.array_equal(AnomalyModel.read(tmp_path, state).trades.score(rows), model.trades.score(rows))


def test_a_network_file_of_another_shape_is_refused(models: dict[str, base.Model], tmp_path: Path) -> None:
    state = models["forecast"].write(tmp_path)
    shutil.copy(__file__, tmp_path / forecast.ARRAYS)
    with pytest.raises((ValueError, OSError)):
        ForecastModel.read(tmp_path, state)


def test_a_forecast_of_before_the_usual_quantiles_still_loads(models: dict[str, base.Model], tmp_path: Path) -> None:
    model = models["forecast"]
    assert isinstance(model, ForecastModel)
    older = dataclasses.replace(model, usual=None)
    base.save(older, tmp_path / "older")
    loaded = base.load(tmp_path / "older")
    assert isinstance(loaded, ForecastModel)
    assert loaded.usual is None
    read = np.random.default_rng(0).normal(size=(3, forecast.LENGTH, len(forecast.NAMES)))
    assert np.array_equal(loaded.predict(read), older.predict(read))
    assert not np.array_equal(loaded.predict(read), model.predict(read))


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_flat_market_is_judged_calmly(kind: str, models: dict[str, base.Model]) -> None:
    model = models[kind]
    computed = features.compute(markets.flat(features.WARMUP + 40), rows=model.length)
    read = computed[list(model.names)].to_numpy()[None]
    predicted = model.predict(read)
    assert np.isfinite(predicted).all()
    if kind == "risk":
        assert predicted[0] < 0.5
    if kind == "forecast":
        assert np.abs(predicted).max() < 1e-4
    if isinstance(model, SignalModel):
        assert model.actions(read, predicted, ROUND_TRIP) == ["Hold"]


def test_a_calm_market_scores_low_a_crash_high_and_its_forecast_is_wide(
    models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    calm = markets.candles(features.WARMUP + 200, seed=8, volatility=0.0005)
    risk = train.fit(tasks["risk"])  # as it is fitted on a history of some days
    predicted = {}
    for name, frame in (("calm", calm), ("crash", markets.crash(calm))):
        computed = features.compute(frame, rows=forecast.LENGTH)
        for kind, model in (("risk", risk), ("forecast", models["forecast"]), ("anomaly", models["anomaly"])):
            read = computed[list(model.names)].to_numpy()[None, -model.length :]
            predicted[kind, name] = model.predict(read)[0]
    assert predicted["risk", "calm"] < 0.2
    assert predicted["risk", "crash"] > 0.5
    assert np.ptp(predicted["forecast", "crash"][2]) > 2 * np.ptp(predicted["forecast", "calm"][2])
    assert predicted["anomaly", "crash"] > 0.5 > predicted["anomaly", "calm"]


def test_an_anomaly_model_serves_without_scikit_learn(models: dict[str, base.Model], tmp_path: Path) -> None:
    base.save(models["anomaly"], tmp_path / "kept")
    code = (
        "import sys; from pathlib import Path; from ml.models import base; "
        f"base.load(Path({str(tmp_path / 'kept')!r})).warm(); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
