"""Versions put into MLflow with what they learnt from and how they were judged, and the reports read back."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ml.models import base
from ml.serving.versions.mlflow_connection import Connection
from quantstream import features
from quantstream.core.errors import Unavailable
from quantstream.messages.models import registered_name

__all__ = ["DIGEST", "EXPERIMENT", "Registering"]

import mlflow  # after the connection, which sets what it reads on import
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

DIGEST = "model_digest"  # tag: checksum of the manifest that was registered; another one is another model
EXPERIMENT = "quantstream"


class Registering(Connection):
    """The half of the registry that takes versions and their evidence in."""

    def register(
        self,
        model: base.Model,
        metrics: Mapping[str, float],
        reports: Mapping[str, Mapping[str, Any]],
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """Log a model as a new version, with what it learnt from, and return its number; `record` adds how it was judged.

        Each of `reports` becomes a file of JSON under its name.

        Raises: Unavailable.
        """
        name = registered_name(model.kind)
        with tempfile.TemporaryDirectory(prefix="quantstream-model-") as folder, self._talking(), _quiet():
            data = Path(folder) / "model"
            base.save(model, data)
            self._turn_here()
            mlflow.set_experiment(EXPERIMENT)
            with mlflow.start_run(run_name=model.kind, tags={"kind": model.kind, **tags}):
                mlflow.log_params(dict(params))
                mlflow.log_metrics({key: float(value) for key, value in metrics.items() if np.isfinite(value)})
                for title, report in reports.items():
                    mlflow.log_dict(dict(report), f"{title}.json")
                logged = mlflow.pyfunc.log_model(
                    name=model.kind,
                    loader_module="ml.serving.pyfunc",
                    data_path=str(data),
                    signature=_signature(model),
                    pip_requirements=[f"{package}=={metadata.version(package)}" for package in model.requirements],
                    metadata={"feature_hash": features.FEATURE_HASH, "features": list(model.names)},
                )
                told = {**tags, "feature_hash": features.FEATURE_HASH, DIGEST: base.digest(data)}
                return self._new_version(name, logged.model_uri, logged.run_id, logged.model_id, told)

    def record(
        self, name: str, version: str, metrics: Mapping[str, float], evaluation: Mapping[str, Any], page: str
    ) -> None:
        """Add to a version how it was judged: figures, `evaluation.json`, and `report.html` for people.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            run, now = self._client.get_model_version(name, version).run_id, int(time.time() * 1000)
            finite = [Metric(key, float(value), now, 0) for key, value in metrics.items() if np.isfinite(value)]
            self._client.log_batch(run, metrics=finite)
            self._client.log_dict(run, dict(evaluation), "evaluation.json")
            self._client.log_text(run, page, "report.html")

    def evidence(self, name: str, version: str, title: str) -> dict[str, Any] | None:
        """Return a report of a version by its title, as `register` and `add_evidence` take them; None when it has none such.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            run = self._client.get_model_version(name, version).run_id
        with self._talking(), tempfile.TemporaryDirectory(prefix="quantstream-report-") as folder:
            if not run or f"{title}.json" not in [one.path for one in self._client.list_artifacts(run)]:
                return None
            try:
                file = self._client.download_artifacts(run, f"{title}.json", folder)
                found: dict[str, Any] = json.loads(Path(file).read_text())
            except (OSError, ValueError) as error:
                raise Unavailable(f"the report {title} of {name} {version} cannot be read: {error}") from error
        return found

    def add_evidence(self, name: str, version: str, title: str, report: Mapping[str, Any]) -> None:
        """Put a report beside a version that is registered already.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            run = self._client.get_model_version(name, version).run_id
        with self._talking():
            self._client.log_dict(str(run), dict(report), f"{title}.json")

    def _new_version(self, name: str, source: str, run_id: str, model_id: str, tags: dict[str, str]) -> str:
        """Make a version with its tags in one step: whoever dies after it leaves one that says where it comes from."""
        self._create(name)
        return str(self._client.create_model_version(name, source, run_id, tags=tags, model_id=model_id).version)

    def _create(self, name: str) -> None:
        """Make a registered model, if it is not there yet."""
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        yield


def _signature(model: base.Model) -> ModelSignature:
    inputs = TensorSpec(np.dtype(np.float64), (-1, model.length, len(model.names)))
    shape = np.asarray(model.predict(np.zeros((1, model.length, len(model.names))))).shape
    return ModelSignature(Schema([inputs]), Schema([TensorSpec(np.dtype(np.float64), (-1, *shape[1:]))]))
