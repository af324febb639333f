"""When models are wanted, asked of a real registry."""

from __future__ import annotations

import socket
from pathlib import Path

import mlflow
import pytest

from ml.serving.registry import CHALLENGER, CHAMPION, Registry
from ml.training.vacancy import vacancy
from quantstream import features
from quantstream.core.errors import Unavailable
from tests.unit.ml.conftest import serving

pytestmark = pytest.mark.slow


def version(registry: Registry, name: str, feature_hash: str, alias: str) -> None:
    """Register a version under an alias, its tags alone."""
    client = mlflow.MlflowClient(registry.url, registry.url)
    client.create_registered_model(name)
    run = client.create_run("0").info
    tags = {"feature_hash": feature_hash}
    made = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id, tags=tags)
    registry.set_alias(name, alias, str(made.version))


def test_models_are_wanted_until_one_serves_that_this_version_can_use(tmp_path: Path) -> None:
    with serving(tmp_path, tmp_path / "artifacts") as url:
        registry = Registry(url)
        assert vacancy(registry) == "no model serves yet"
        version(registry, "quantstream-signal", features.FEATURE_HASH, CHALLENGER)
        assert vacancy(registry) == "no model serves yet"
        version(registry, "quantstream-risk", "0123456789abcdef", CHAMPION)
        told = "the models that serve (quantstream-risk 1) were fitted on other features than this version computes"
        assert vacancy(registry) == told
        version(registry, "quantstream-forecast", features.FEATURE_HASH, CHAMPION)
        assert vacancy(registry) == ""


def test_a_registry_that_is_away_is_no_registry_without_models() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        registry = Registry(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(Unavailable):
            vacancy(registry)
