"""MLflow's only door: versions with their evidence go in, checked models come out, aliases say which one serves.

Every call ends soon: a server that is away must never hold up a live stage, so tries are few and timeouts short. A training
holds up nobody, and takes minutes that a late answer must not cost: its process says `wait_for_the_busy`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import requests

from ml.models import base
from ml.serving.loaded import LoadedModel
from quantstream import features
from quantstream.core.errors import ModelRejected, Unavailable, Unfetched
from quantstream.messages.models import MODEL_NAMES, registered_name

SHORT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; a model's files are a megabyte at most
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
for _name, _value in SHORT.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402  reads its environment on import
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models.signature import ModelSignature  # noqa: E402
from mlflow.types.schema import Schema, TensorSpec  # noqa: E402

log = logging.getLogger(__name__)
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it warns of a missing pip that nothing needs
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")  # the last is said of an unknown alias
EXPERIMENT = "quantstream"
PAGE = 1000  # versions that the server names in one answer
TAG_LENGTH = 4500  # MLflow takes 5,000 characters


def wait_for_the_busy() -> None:
    """Let this whole process wait minutes, not seconds, for a server that is slow to answer."""
    os.environ.update(PATIENT)


@dataclass(frozen=True)
class Card:
    """What a page shows of a version: which model, since when, how good, and why it serves."""

    name: str
    version: str
    alias: str
    feature_hash: str
    lake_version: str
    registered_at: int  # µs
    metrics: dict[str, float]
    reasons: list[str]


class Registry:
    """The model registry at one tracking address."""

    def __init__(self, tracking_url: str) -> None:
        """Nothing is sent yet."""
        self.url = tracking_url
        self._client = mlflow.MlflowClient(tracking_uri=tracking_url, registry_uri=tracking_url)

    def alias_version(self, name: str, alias: str) -> str | None:
        """Return the version an alias points to, None when there is none.

        Raises: Unavailable.
        """
        found = self._aliased(name, alias)
        return None if found is None else str(found.version)

    def champions(self) -> dict[str, str]:
        """Return the champion's version of each model that has one, by registered name.

        Raises: Unavailable.
        """
        found = {name: self.alias_version(name, CHAMPION) for name in MODEL_NAMES}
        return {name: version for name, version in found.items() if version is not None}

    def card(self, name: str, alias: str = CHAMPION) -> Card | None:
        """Return what is known of the version behind an alias, None when there is none.

        Raises: Unavailable.
        """
        version = self._aliased(name, alias)
        if version is None:
            return None
        with self._talking():
            figures = self._client.get_run(version.run_id).data.metrics if version.run_id else {}
        return Card(
            name=name,
            version=str(version.version),
            alias=alias,
            feature_hash=version.tags.get("feature_hash", ""),
            lake_version=version.tags.get("lake_version", ""),
            registered_at=int(version.creation_timestamp) * 1000,
            metrics=dict(figures),
            reasons=_reasons(version.tags.get("reasons", "[]")),
        )

    def all_tags(self) -> list[dict[str, str]]:
        """Return the tags of every version of our models.

        Raises: Unavailable.
        """
        found: list[dict[str, str]] = []
        for name in MODEL_NAMES:
            token: str | None = None
            while token is None or token:
                with self._talking():
                    page = self._client.search_model_versions(f"name='{name}'", max_results=PAGE, page_token=token)
                found += [dict(version.tags) for version in page]
                token = page.token or ""
        return found

    def tags(self, name: str, version: str) -> dict[str, str]:
        """Return a version's tags.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            return dict(self._client.get_model_version(name, version).tags)

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

    def load(self, name: str, version: str) -> LoadedModel:
        """Fetch a version's files, check them and build the model.

        Raises: Unavailable when the server does not answer, Unfetched when it does but has no files to give now, ModelRejected
        when there is no such version or it is damaged or not for us.
        """
        with tempfile.TemporaryDirectory(prefix="quantstream-model-") as folder:
            root = self._download(name, version, folder)
            manifests = sorted(root.rglob(base.MANIFEST))
            if not any(path.is_file() for path in root.rglob("*")):
                raise Unfetched(f"the files of {name} {version} cannot be fetched: the store has none of them")
            if not manifests:
                raise ModelRejected(f"{name} {version} is not one of our models: it has no {base.MANIFEST}")
            model = base.load(manifests[0].parent)
        with self._talking(f"{name} {version}"):
            registered_at = int(self._client.get_model_version(name, version).creation_timestamp) * 1000
        return LoadedModel(name, str(version), features.FEATURE_HASH, model, registered_at)

    def register(
        self,
        model: base.Model,
        metrics: Mapping[str, float],
        reports: Mapping[str, Mapping[str, Any]],
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        page: str = "",
    ) -> str:
        """Log a model with its evidence as a new version and return its number.

        Each of `reports` becomes a file of JSON under its name; `page` is the report for people, in HTML.

        Raises: Unavailable.
        """
        name = registered_name(model.kind)
        with tempfile.TemporaryDirectory(prefix="quantstream-model-") as folder, self._talking(), _quiet():
            data = Path(folder) / "model"
            base.save(model, data)
            mlflow.set_tracking_uri(self.url)
            mlflow.set_registry_uri(self.url)
            mlflow.set_experiment(EXPERIMENT)
            with mlflow.start_run(run_name=model.kind, tags={"kind": model.kind, **tags}):
                mlflow.log_params(dict(params))
                mlflow.log_metrics({key: float(value) for key, value in metrics.items() if np.isfinite(value)})
                for title, report in reports.items():
                    mlflow.log_dict(dict(report), f"{title}.json")
                if page:
                    mlflow.log_text(page, "report.html")
                logged = mlflow.pyfunc.log_model(
                    name=model.kind,
                    loader_module="ml.serving.pyfunc",
                    data_path=str(data),
                    signature=_signature(model),
                    pip_requirements=[f"{package}=={metadata.version(package)}" for package in model.requirements],
                    metadata={"feature_hash": features.FEATURE_HASH, "features": list(model.names)},
                )
                version = self._new_version(name, logged.model_uri, logged.run_id, logged.model_id)
            for key, value in {**tags, "feature_hash": features.FEATURE_HASH}.items():
                self._client.set_model_version_tag(name, version, key, value)
        return version

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version.

        Raises: Unavailable.
        """
        with self._talking():
            self._client.set_model_version_tag(name, version, key, value)

    def explain(self, name: str, version: str, reasons: list[str], promoted: bool) -> None:
        """Record on a version why it was promoted or refused.

        Raises: Unavailable.
        """
        text = json.dumps(reasons)
        while len(text) > TAG_LENGTH:
            reasons = reasons[:-1]
            text = json.dumps(reasons)
        self.tag(name, version, "reasons", text)
        self.tag(name, version, "promoted", str(promoted).lower())

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            self._client.set_registered_model_alias(name, alias, version)

    def remove_alias(self, name: str, alias: str) -> None:
        """Let an alias point nowhere.

        Raises: Unavailable, ModelRejected when there is no such model.
        """
        with self._talking(name):
            self._client.delete_registered_model_alias(name, alias)

    def promote(self, name: str, version: str) -> None:
        """Make a version the champion; the one it replaces becomes `previous`.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        before = self.alias_version(name, CHAMPION)
        self.set_alias(name, CHAMPION, version)
        if before is not None and before != version:
            self.set_alias(name, PREVIOUS, before)

    def _new_version(self, name: str, source: str, run_id: str, model_id: str) -> str:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self._client.create_model_version(name, source, run_id, model_id=model_id).version)

    def _aliased(self, name: str, alias: str) -> ModelVersion | None:
        try:
            with self._talking(f"{name}@{alias}"):
                return self._client.get_model_version_by_alias(name, alias)
        except ModelRejected:
            return None

    def _download(self, name: str, version: str, folder: str) -> Path:
        with self._talking(f"{name} {version}"):
            self._client.get_model_version(name, version)
        try:
            uri = f"models:/{name}/{version}"
            mlflow.set_tracking_uri(self.url)  # or on its way the library makes a database in the working folder
            mlflow.set_registry_uri(self.url)
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=self.url))
        except (MlflowException, requests.RequestException, OSError) as error:
            with self._talking(f"{name} {version}"):
                self._client.get_model_version(name, version)  # it answers: the files themselves are the trouble
            raise Unfetched(f"the files of {name} {version} cannot be fetched: {_last_line(error)}") from error

    @contextmanager
    def _talking(self, what: str = "") -> Iterator[None]:
        """Translate the library's errors: what is absent is ModelRejected, all else Unavailable."""
        try:
            yield
        except MlflowException as error:
            if error.error_code in ABSENT and what:
                raise ModelRejected(f"the registry has no {what}") from error
            raise Unavailable(f"the model registry at {self.url} did not answer: {_first_line(error)}") from error
        except requests.RequestException as error:
            raise Unavailable(f"the model registry at {self.url} did not answer: {_first_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        yield


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _last_line(error: Exception) -> str:
    """Return the cause: the library lists the files that it could not get, and what was said of the last one at the end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]


def _reasons(tag: str) -> list[str]:
    """Return the reasons of a version's tag; whoever edited it by hand wrote one sentence."""
    try:
        return msgspec.json.decode(tag, type=list[str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return [tag]


def _signature(model: base.Model) -> ModelSignature:
    inputs = TensorSpec(np.dtype(np.float64), (-1, model.length, len(model.names)))
    shape = np.asarray(model.predict(np.zeros((1, model.length, len(model.names))))).shape
    return ModelSignature(Schema([inputs]), Schema([TensorSpec(np.dtype(np.float64), (-1, *shape[1:]))]))
