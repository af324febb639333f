"""From the lake to a champion, over a real lake and a real registry."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest

from ml import __main__ as command
from ml.data import dataset
from ml.data.feature_table import reading
from ml.looks.table import record_of
from ml.models import base
from ml.promotion import turns
from ml.promotion.decisions import Change, decisions_of
from ml.serving.registry import CHAMPION, Registry
from ml.training import pinned_features, train
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS, MODEL_NAMES
from quantstream.settings import Gate, Settings
from tests.unit.ml import markets
from tests.unit.ml.conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, mlflow_url: str, candles: dict[str, pd.DataFrame]) -> Settings:
    """A stack with a month of candles of two symbols and an hour of trades."""
    state = tmp_path_factory.mktemp("state")
    settings = Settings(state=state, symbols=tuple(candles), mlflow=mlflow_url)
    lake = Lake(settings.lake_url)
    for symbol, frame in candles.items():
        markets.write_candles(lake, symbol, frame)
    end = candles["BTCUSDT"]["opened_at"].iloc[-1]
    markets.write_trades(lake, markets.trades(4000), end)
    markets.write_trades(lake, markets.trades(1000, "ETHUSDT", 5), end)
    return settings


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_trained_model_is_registered_with_its_reasons_and_serves(kind: str, settings: Settings) -> None:
    registry = Registry(settings.mlflow_url)
    result = train.train(kind, settings, SMALL)
    assert result.name == f"quantstream-{kind}"
    assert result.reasons
    found = [one for one in decisions_of(Lake(settings.lake_url), result.name) if one.version == result.version]
    (decided,) = [one for one in found if one.change is not Change.REFERENCE]
    checks = {check["name"]: check for check in json.loads(decided.evidence)["checks"]}
    assert decided.change.value == result.outcome
    assert list(checks)[:4] == ["artefact", "signature", "finite", "leakage"]
    assert checks["leakage"]["sentence"] == "all its features at 8 held-out candles are what the past alone gives"
    assert (registry.alias_version(result.name, "reference") == result.version) == result.promoted
    card = registry.card(result.name)
    if result.promoted:
        assert card is not None
        assert (card.version, card.reasons) == (result.version, result.reasons)
        assert (card.feature_hash, card.lake_version) == (features.FEATURE_HASH, str(_candles_version(settings)))
        registry.load(card.name, card.version).warm()
    else:
        assert card is None or card.version != result.version


def test_a_second_model_of_the_same_data_is_compared_with_the_first_and_takes_over(settings: Settings) -> None:
    registry = Registry(settings.mlflow_url)
    first = train.train("risk", settings, SMALL)
    registry.set_alias(first.name, CHAMPION, first.version)
    second = train.train("risk", settings, SMALL)
    assert second.promoted
    assert second.outcome == "promoted"
    assert f"the same as that of the champion, version {first.version}" in second.reasons[0]
    assert registry.alias_version(second.name, CHAMPION) == second.version
    assert registry.alias_version(second.name, "previous") == first.version
    looks = record_of(Lake(settings.lake_url)).lines
    now = [one for one in looks if one.looked_at == looks[-1].looked_at]  # the candidate, then its rivals
    assert (now[0].candidate, now[0].role) == (f"{second.name}/{second.version}", "candidate")
    assert (f"{first.name}/{first.version}", "champion") in [(one.candidate, one.role) for one in now]
    assert {one.data_hash for one in now} == {now[0].data_hash}
    told = [reason for reason in second.reasons if reason.startswith("This is look number ")]
    assert "different candidates were tried" in told[0]
    kept = registry.evidence(second.name, second.version, "evaluation") or {}
    assert (kept["looks"]["hash"], kept["looks"]["sentence"]) == (now[0].hash, told[0])
    assert set(kept["deflated"]["bounds"]) == {"auc_gain", "brier_skill"}
    same = {name: value for name, value in first.metrics.items() if name != "fit_seconds"}
    assert same == {name: value for name, value in second.metrics.items() if name != "fit_seconds"}


def test_with_a_shadow_what_passes_is_a_challenger_and_what_does_not_is_refused_on_the_record(
    settings: Settings,
) -> None:
    registry, name = Registry(settings.mlflow_url), "quantstream-risk"
    champion = registry.alias_version(name, CHAMPION)
    shadowing = train.train("risk", settings.model_copy(update={"shadow_candles": 288}), SMALL, by="a test")
    assert (shadowing.outcome, shadowing.promoted) == ("challenger", False)
    assert registry.alias_version(name, "challenger") == shadowing.version
    large = train.train("risk", settings.model_copy(update={"gate": Gate(size_mb=0.001)}), SMALL)
    assert large.outcome == "refused"
    assert large.reasons[0].startswith("Refused at the check “size”: ")
    assert registry.alias_version(name, CHAMPION) == champion
    assert registry.alias_version(name, "challenger") == shadowing.version
    run = registry._client.get_model_version(name, large.version).run_id
    kept = json.loads(Path(registry._client.download_artifacts(run, "evaluation.json")).read_text())
    assert (kept["outcome"], kept["refused_by"], kept["verdict"]) == ("refused", "size", large.reasons[0])
    page = Path(registry._client.download_artifacts(run, "report.html")).read_text()
    assert f"Risk model, version {large.version}: refused" in page
    assert {one["role"] for one in kept["rivals"]} == {"champion", "reference"}


def test_a_version_names_the_rows_that_it_learnt_from_and_they_are_not_removed(settings: Settings) -> None:
    built = train.build_features(settings)
    result = train.train("signal", settings, SMALL, features_version=built.version)
    registry = Registry(settings.mlflow_url)
    tags = next(tags for tags in registry.all_tags() if tags.get("features_version") == str(built.version))
    lineage = reading.load(Lake(settings.lake_url), settings.state, built.version)[1]
    assert lineage.tags().items() <= tags.items()
    assert (tags["features_rows"], tags["features_table"]) == (str(built.rows), f"{settings.lake_url}/features")
    client = registry._client
    run = client.get_model_version(result.name, result.version).run_id
    kept = json.loads(Path(client.download_artifacts(run, "lineage.json")).read_text())
    assert kept["parts"] == {symbol: ["2024-01", "2024-02"] for symbol in settings.symbols}
    assert pinned_features.pinned(settings)[-1] >= built.version
    assert "0 files deleted; versions that registered models name: " in pinned_features.prune(settings, 1)


def test_a_second_training_waits_and_what_a_killed_one_left_is_refused_by_the_next(
    settings: Settings, models: dict[str, base.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SETTLES", 0.0)
    registry, name, now = Registry(settings.mlflow_url), "quantstream-risk", [time.time()]
    killed = turns.Turn(registry, name, "models_train of yesterday", lambda: now[0])
    killed.take()
    left = registry.register(models["risk"], {}, {}, {}, {turns.TRAINING: killed.id})  # and then it was killed
    with pytest.raises(
        turns.UnderWay, match=r"under way, begun .* by models_train of yesterday; try again when it has"
    ):
        train.train("risk", settings, SMALL)
    now[0] -= turns.OVER + 1
    killed._write()  # it is not heard of for so long
    result = train.train("risk", settings, SMALL, by="a test")
    decided = {one.version: one for one in decisions_of(Lake(settings.lake_url), name)}
    assert (decided[left].change.value, decided[left].by) == ("refused", "a test")
    assert decided[result.version].change.value == result.outcome
    described = registry._client.get_model_version(name, left).description
    assert described.startswith("Refused on ")
    assert "its training was interrupted before it was judged" in described
    assert registry.model_tag(name, turns.TRAINING) == ""
    moved = [one for one in decisions_of(Lake(settings.lake_url), name) if one.change is Change.REFERENCE]
    assert (moved[-1].version, moved[-1].by != "") == (registry.alias_version(name, "reference"), True)


def test_trades_come_back_from_the_lake_as_they_were(settings: Settings, candles: dict[str, pd.DataFrame]) -> None:
    read = train.read_trades(Lake(settings.lake_url), ["BTCUSDT"], _dataset(settings))
    made = markets.trades(4000)
    assert [(t.id, t.price, t.quantity, t.buyer_is_maker) for t in read] == [
        (t.id, t.price, t.quantity, t.buyer_is_maker) for t in made
    ]


def test_too_few_trades_or_candles_are_refused_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="1000 recent trades, the anomaly model needs 2000"):
        train.read_trades(Lake(settings.lake_url), ["ETHUSDT"], _dataset(settings))
    empty = Settings(state=tmp_path, symbols="BTCUSDT", mlflow=settings.mlflow_url)  # type: ignore[arg-type]
    with pytest.raises(DataRejected, match="no candles"):
        train.train("risk", empty, SMALL)
    markets.write_candles(Lake(empty.lake_url), "BTCUSDT", markets.candles(2000))
    with pytest.raises(DataRejected, match="QUANTSTREAM_HISTORY_DAYS"):
        train.train("risk", empty, SMALL)
    with pytest.raises(Misconfigured, match="no model 'oracle'; choose one of forecast, signal, risk, anomaly"):
        train.train("oracle", empty, SMALL)


def test_the_command_line_says_what_is_wrong_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, mlflow_url: str
) -> None:
    monkeypatch.setenv("QUANTSTREAM_STATE", str(tmp_path))
    monkeypatch.setenv("QUANTSTREAM_MLFLOW", mlflow_url)
    for arguments, code, text in (
        (["train", "oracle"], 2, "there is no model 'oracle'"),
        (["train", "risk"], 1, "there are no candles"),
        (["dance"], 2, "No such command"),
    ):
        monkeypatch.setattr("sys.argv", ["ml", *arguments])
        assert command.main() == code
        predicted = capsys.readouterr().err
        assert text in predicted
        assert predicted.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["ml", "models", "--json"])
    assert command.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == set(MODEL_NAMES)


def _candles_version(settings: Settings) -> int:
    return Lake(settings.lake_url).version("candles")


def _dataset(settings: Settings) -> dataset.Dataset:
    version = train.build_features(settings).version
    return reading.load(Lake(settings.lake_url), settings.state, version)[0]
