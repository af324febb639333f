"""MLflow's only door: versions with their evidence go in, checked models come out, aliases say which one serves."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

from ml.models import base
from ml.serving import descriptions
from ml.serving.descriptions import Facts
from ml.serving.loaded import LoadedModel
from ml.serving.versions.mlflow_connection import PATIENT, SHORT, last_line, wait_for_the_busy
from ml.serving.versions.registering import DIGEST, Registering
from quantstream import features
from quantstream.core.errors import ModelRejected, Unfetched
from quantstream.messages.models import MODEL_NAMES

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PATIENT",
    "PREVIOUS",
    "REFERENCE",
    "SHORT",
    "Card",
    "Kept",
    "Registry",
    "wait_for_the_busy",
]

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
REFERENCE = "reference"  # it serves nobody: the best champion so far, which the gate holds others against
PAGE = 1000  # versions that the server names in one answer
TAG_LENGTH = 4500  # MLflow takes 5,000 characters


@dataclass(frozen=True)
class Kept:
    """A version as the registry lists it."""

    version: str
    registered_at: int  # µs
    tags: dict[str, str]


@dataclass(frozen=True)
class Card:
    """What a page shows of a version: which model, since when, how good, and why it serves."""

    name: str
    version: str
    alias: str
    feature_hash: str
    lake_version: str
    registered_at: int  # µs
    since: int  # µs: when its alias was given, as far as that was recorded; else when it was registered
    metrics: dict[str, float]
    reasons: list[str]


class Registry(Registering):
    """The model registry at one tracking address."""

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
            facts = self._facts(version)
        return Card(
            name=name,
            version=str(version.version),
            alias=alias,
            feature_hash=version.tags.get("feature_hash", ""),
            lake_version=version.tags.get("lake_version", ""),
            registered_at=facts.registered_at * 1000,
            since=int(facts.since.timestamp() * 1e6),
            metrics=dict(facts.metrics),
            reasons=_reasons(version.tags.get("reasons", "[]")),
        )

    def all_tags(self) -> list[dict[str, str]]:
        """Return the tags of every version of our models.

        Raises: Unavailable.
        """
        return [dict(one.tags) for name in MODEL_NAMES for one in self.versions(name)]

    def versions(self, name: str) -> list[Kept]:
        """Return every version of a model, in any order.

        Raises: Unavailable.
        """
        found: list[Kept] = []
        token: str | None = None
        while token is None or token:
            with self._talking():
                page = self._client.search_model_versions(f"name='{name}'", max_results=PAGE, page_token=token)
            found += [Kept(str(one.version), int(one.creation_timestamp) * 1000, dict(one.tags)) for one in page]
            token = page.token or ""
        return found

    def tags(self, name: str, version: str) -> dict[str, str]:
        """Return a version's tags.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            return dict(self._client.get_model_version(name, version).tags)

    def load(self, name: str, version: str) -> LoadedModel:
        """Fetch a version's files, check them and build the model.

        Raises: Unavailable when the server does not answer, Unfetched when it does but has no files to give now, ModelRejected
        when there is no such version or it is damaged or not for us.
        """
        with tempfile.TemporaryDirectory(prefix="quantstream-model-") as folder:
            registered, root = self._download(name, version, folder)
            manifests = sorted(root.rglob(base.MANIFEST))
            if not any(path.is_file() for path in root.rglob("*")):
                raise Unfetched(f"the files of {name} {version} cannot be fetched: the store has none of them")
            if not manifests:
                raise ModelRejected(f"{name} {version} is not one of our models: it has no {base.MANIFEST}")
            return self._checked(name, version, registered, manifests[0].parent)

    def describe(self, name: str, version: str) -> None:
        """Write anew what the pages say of a version and of its registered model, from tags and aliases.

        Raises: Unavailable, ModelRejected when there is no such version.
        """
        with self._talking(f"{name} {version}"):
            self._client.update_model_version(
                name, version, descriptions.of_version(self._facts(self._client.get_model_version(name, version)))
            )
            found = {alias: self._aliased(name, alias) for alias in (CHAMPION, CHALLENGER, PREVIOUS, REFERENCE)}
            facts = {alias: self._facts(one) for alias, one in found.items() if one is not None}
            self._client.update_registered_model(name, descriptions.of_model(name, facts))

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version.

        Raises: Unavailable.
        """
        with self._talking():
            self._client.set_model_version_tag(name, version, key, value)

    def model_tag(self, name: str, key: str) -> str:
        """Return a tag of a registered model, empty where it or the model is not there.

        Raises: Unavailable.
        """
        try:
            with self._talking(name):
                return str(self._client.get_registered_model(name).tags.get(key, ""))
        except ModelRejected:
            return ""

    def tag_model(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model, which is made where it is not there yet; empty removes what there is.

        Raises: Unavailable.
        """
        with self._talking():
            self._create(name)
            if value:
                self._client.set_registered_model_tag(name, key, value)
            else:
                self._client.delete_registered_model_tag(name, key)

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

    def _aliased(self, name: str, alias: str) -> ModelVersion | None:
        try:
            with self._talking(f"{name}@{alias}"):
                return self._client.get_model_version_by_alias(name, alias)
        except ModelRejected:
            return None

    def _facts(self, version: ModelVersion) -> Facts:
        run = self._client.get_run(version.run_id) if version.run_id else None
        return Facts(
            name=version.name,
            version=str(version.version),
            registered_at=int(version.creation_timestamp),
            tags=dict(version.tags),
            metrics=dict(run.data.metrics) if run else {},
            run=f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html" if run else "",
        )

    def _checked(self, name: str, version: str, registered: ModelVersion, folder: Path) -> LoadedModel:
        """Build the model of some files if they are those that were registered; versions of older releases do not say which."""
        base.read_manifest(folder)  # damage is told as damage, before files are taken for another model's
        told = registered.tags.get(DIGEST)
        if told is not None and told != (found := base.digest(folder)):
            raise ModelRejected(
                f"the files of {name} {version} are not those that were registered: "
                f"the checksum of their manifest is {found[:19]}…, not {told[:19]}…"
            )
        size = sum(path.stat().st_size for path in folder.iterdir())
        registered_at = int(registered.creation_timestamp) * 1000
        return LoadedModel(name, str(version), features.FEATURE_HASH, base.load(folder), size, registered_at)

    def _download(self, name: str, version: str, folder: str) -> tuple[ModelVersion, Path]:
        with self._talking(f"{name} {version}"):
            registered = self._client.get_model_version(name, version)
        try:
            uri = f"models:/{name}/{version}"
            self._turn_here()
            files = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=self.url)
        except (MlflowException, requests.RequestException, OSError) as error:
            with self._talking(f"{name} {version}"):
                self._client.get_model_version(name, version)  # it answers: the files themselves are the trouble
            raise Unfetched(f"the files of {name} {version} cannot be fetched: {last_line(error)}") from error
        return registered, Path(files)


def _reasons(tag: str) -> list[str]:
    """Return the reasons of a version's tag; whoever edited it by hand wrote one sentence."""
    try:
        return msgspec.json.decode(tag, type=list[str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return [tag]
