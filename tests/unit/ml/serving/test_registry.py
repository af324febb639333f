"""The registry against a real MLflow server: evidence in, checked models out, aliases that move, and quick refusals."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ml.models import base
from ml.models.risk import RiskModel
from ml.promotion.moves import Moves
from ml.serving.registry import CHAMPION, PATIENT, SHORT, Registry, wait_for_the_busy
from ml.training import train
from quantstream import features
from quantstream.core.errors import ModelRejected, Unavailable, Unfetched
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS

pytestmark = pytest.mark.slow


def register(registry: Registry, model: base.Model, **metrics: float) -> str:
    """Register a model with a little evidence."""
    return registry.register(
        model, {"ece": 0.01, **metrics}, {"evaluation": {"kind": model.kind}}, {"rounds": 20}, {"lake_version": "12"}
    )


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_registered_model_comes_back_the_same(
    kind: str, registry: Registry, models: dict[str, base.Model], tasks: dict[str, train.Task]
) -> None:
    name = f"quantstream-{kind}"
    version = register(registry, models[kind])
    loaded = registry.load(name, version)
    loaded.warm()
    task = tasks[kind]
    read = task.data.sequences(task.split.judge[-5:], models[kind].names, models[kind].length)
    assert (loaded.name, loaded.version, loaded.feature_hash) == (name, version, features.FEATURE_HASH)
    assert np.array_equal(loaded.model.predict(read), models[kind].predict(read))
    mlflow.set_tracking_uri(registry.url)
    served = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
    assert np.array_equal(served.predict(read), models[kind].predict(read))


def test_who_only_reads_models_writes_nothing_where_it_runs(
    registry: Registry, models: dict[str, base.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(registry, models["risk"])
    monkeypatch.chdir(tmp_path)  # in a pod it is read-only
    mlflow.set_tracking_uri("")  # as in a process that never trained
    registry.load("quantstream-risk", version)
    assert list(tmp_path.iterdir()) == []


def test_a_version_carries_its_evidence(registry: Registry, models: dict[str, base.Model]) -> None:
    version = register(registry, models["risk"], brier=0.07)
    registry.explain("quantstream-risk", version, ["better than HAR logit"], promoted=True)
    registry.set_alias("quantstream-risk", CHAMPION, version)
    card = registry.card("quantstream-risk")
    assert card is not None
    assert (card.version, card.alias, card.lake_version) == (version, CHAMPION, "12")
    assert (card.metrics, card.reasons) == ({"ece": 0.01, "brier": 0.07}, ["better than HAR logit"])
    assert abs(card.since / 1e6 - time.time()) < 600
    info = mlflow.models.get_model_info(f"models:/quantstream-risk/{version}")
    assert info.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 1, len(features.NAMES))
    assert info.metadata["feature_hash"] == features.FEATURE_HASH


def test_reasons_that_a_person_wrote_by_hand_are_read_as_one_sentence(
    registry: Registry, models: dict[str, base.Model]
) -> None:
    version = register(registry, models["risk"])
    registry.set_alias("quantstream-risk", CHAMPION, version)
    for predicted, reasons in (("better than it looks", ["better than it looks"]), ('{"a": 1}', ['{"a": 1}'])):
        registry.tag("quantstream-risk", version, "reasons", predicted)
        card = registry.card("quantstream-risk")
        assert card is not None
        assert card.reasons == reasons


def test_an_alias_that_moves_is_seen_at_once(registry: Registry, models: dict[str, base.Model]) -> None:
    name = "quantstream-signal"
    for version in (register(registry, models["signal"]), register(registry, models["signal"])):
        registry.set_alias(name, CHAMPION, version)
        assert registry.alias_version(name, CHAMPION) == version
        assert registry.champions()[name] == version


def test_what_is_not_there_is_none_or_refused(registry: Registry, models: dict[str, base.Model]) -> None:
    version = register(registry, models["signal"])
    assert registry.alias_version("quantstream-nothing", CHAMPION) is None
    assert registry.alias_version("quantstream-signal", "nobody") is None
    assert registry.card("quantstream-nothing") is None
    with pytest.raises(ModelRejected, match="the registry has no quantstream-signal 999"):
        registry.load("quantstream-signal", "999")
    with pytest.raises(ModelRejected, match="no quantstream-signal 999"):
        registry.set_alias("quantstream-signal", CHAMPION, str(999))
    assert registry.load("quantstream-signal", version).version == version


def artifact(registry: Registry, folder: Path, name: str, version: str) -> Path:
    """Where the server keeps a version's manifest."""
    del registry
    found = sorted(folder.rglob(base.MANIFEST), key=lambda path: path.stat().st_mtime)
    assert found, (name, version)
    return found[-1]


def test_a_version_with_damaged_or_missing_files_is_refused(
    registry: Registry, models: dict[str, base.Model], artifacts: Path
) -> None:
    version = register(registry, models["risk"])
    manifest = artifact(registry, artifacts, "quantstream-risk", version)
    manifest.write_text(manifest.read_text().replace("0", "1"))
    with pytest.raises(ModelRejected, match="damaged"):
        registry.load("quantstream-risk", version)
    manifest.unlink()
    with pytest.raises(ModelRejected):
        registry.load("quantstream-risk", version)
    whole = next(path for path in manifest.parents if path.name == "artifacts")
    whole.rename(whole.with_name("elsewhere"))
    with pytest.raises(Unfetched, match="cannot be fetched"):  # a store that is away may come back
        registry.load("quantstream-risk", version)


def test_a_whole_model_in_the_place_of_the_one_that_was_registered_is_refused(
    registry: Registry, models: dict[str, base.Model], artifacts: Path
) -> None:
    version = register(registry, models["risk"])
    manifest = artifact(registry, artifacts, "quantstream-risk", version)
    for path in manifest.parent.iterdir():
        path.unlink()
    other = models["risk"]
    assert isinstance(other, RiskModel)
    base.save(
        replace(other, calibrator=replace(other.calibrator, intercept=other.calibrator.intercept + 1)), manifest.parent
    )
    base.load(manifest.parent)  # it is consistent in itself
    with pytest.raises(ModelRejected, match="are not those that were registered"):
        registry.load("quantstream-risk", version)


def test_a_file_that_the_manifest_does_not_name_is_refused(
    registry: Registry, models: dict[str, base.Model], artifacts: Path
) -> None:
    version = register(registry, models["risk"])
    (artifact(registry, artifacts, "quantstream-risk", version).parent / "trades.skops").write_bytes(b"PK")
    with pytest.raises(ModelRejected, match=r"damaged: trades\.skops"):
        registry.load("quantstream-risk", version)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_nothing_on_the_way_to_a_served_model_unpickles(
    kind: str, registry: Registry, models: dict[str, base.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    version = register(registry, models[kind])
    for module, name in (
        ("pickle", "load"),
        ("pickle", "loads"),
        ("pickle", "Unpickler"),
        ("cloudpickle", "load"),
        ("joblib", "load"),
    ):
        monkeypatch.setattr(f"{module}.{name}", refused)
    registry.load(f"quantstream-{kind}", version).warm()
    mlflow.set_tracking_uri(registry.url)
    mlflow.pyfunc.load_model(f"models:/quantstream-{kind}/{version}")


def test_the_pages_say_what_serves_since_when_learnt_from_what_judged_how_and_why(
    registry: Registry, models: dict[str, base.Model], tmp_path: Path
) -> None:
    name, moves = "quantstream-anomaly", Moves(registry, Lake(str(tmp_path / "lake")), "pipeline models_train")
    tags = {
        "trained": "4,000 candles of 2 symbols",
        "judged": "On 900 later candles",
        "code": "commit abc",
        "features_version": "3",
    }
    client = registry._client
    first, second = (registry.register(models["anomaly"], {}, {"lineage": {"version": 3}}, {}, tags) for _ in range(2))
    for version in (first, second):
        registry.record(name, version, {"fat_finger_recall": 1.0}, {"kind": "anomaly"}, "<!doctype html>ä")
    moves.promote(name, first, "Promoted as the first sane model of its kind: it finds all.")
    moves.refuse(name, second, "Refused at the check “size”: 65 MB.")
    model, serving, refused = (
        client.get_registered_model(name).description,
        client.get_model_version(name, first),
        client.get_model_version(name, second),
    )
    assert f"**Serving now: version {first}, since " in model
    for part in (
        "Promoted as the first sane model",
        "4,000 candles of 2 symbols",
        "On 900 later candles",
        "were found: 100.00 %",
    ):
        assert part in model
        assert part in serving.description
    assert "by pipeline models_train. Refused at the check “size”" in refused.description
    assert (serving.tags["code"], serving.tags["model_digest"][:7]) == ("commit abc", "sha256:")
    files = {file.path for file in client.list_artifacts(serving.run_id)}
    assert {"evaluation.json", "lineage.json", "report.html"} <= files


def test_a_version_fitted_on_other_features_is_refused(
    registry: Registry, models: dict[str, base.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(features, "FEATURE_HASH", "0123456789abcdef")
        version = register(registry, models["risk"])
    with pytest.raises(ModelRejected, match="reads features 0123456789abcdef"):
        registry.load("quantstream-risk", version)


def test_a_server_that_is_away_is_said_to_be_and_not_waited_for() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        registry = Registry(f"http://127.0.0.1:{probe.getsockname()[1]}")
    for call in (lambda: registry.alias_version("a", "b"), lambda: registry.load("a", "1"), registry.champions):
        with pytest.raises(Unavailable, match="did not answer"):
            call()


class Busy(BaseHTTPRequestHandler):
    """A server that drops the first requests and then says which version serves."""

    left = 2  # requests to be dropped

    def do_GET(self) -> None:
        """Drop it, or answer."""
        if type(self).left:
            type(self).left -= 1
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = json.dumps({"model_version": {"name": "a", "version": "7"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_stage_gives_a_busy_server_up_and_a_training_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PATIENT:
        monkeypatch.setenv(name, SHORT[name])
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry = Registry(f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(Unavailable):
            registry.alias_version("a", CHAMPION)
        Busy.left = 2
        wait_for_the_busy()
        assert registry.alias_version("a", CHAMPION) == "7"
        server.shutdown()
