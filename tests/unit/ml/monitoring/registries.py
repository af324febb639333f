"""A registry in memory, as far as the watch needs one: aliases, tags, reports and models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml.models.base import Model
from ml.serving.loaded import LoadedModel
from ml.serving.registry import Kept
from quantstream import features
from quantstream.core.errors import ModelRejected


class FakeRegistry:
    """Versions are put in with `put`; whatever is not there is refused as MLflow's is."""

    def __init__(self) -> None:
        self.aliases: dict[tuple[str, str], str] = {}
        self.kept: dict[tuple[str, str], tuple[Model, dict[str, str], dict[str, Any]]] = {}

    def put(self, name: str, version: str, model: Model, tags: Mapping[str, str], reports: Mapping[str, Any]) -> None:
        self.kept[name, version] = model, dict(tags), dict(reports)

    def alias_version(self, name: str, alias: str) -> str | None:
        return self.aliases.get((name, alias))

    def champions(self) -> dict[str, str]:
        return {name: version for (name, alias), version in self.aliases.items() if alias == "champion"}

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[name, alias] = version

    def remove_alias(self, name: str, alias: str) -> None:
        del self.aliases[name, alias]

    def tags(self, name: str, version: str) -> dict[str, str]:
        return self._of(name, version)[1]

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        self._of(name, version)[1][key] = value

    def all_tags(self) -> list[dict[str, str]]:
        return [tags for _, tags, _ in self.kept.values()]

    def versions(self, name: str) -> list[Kept]:
        return [Kept(version, 0, tags) for (whose, version), (_, tags, _) in self.kept.items() if whose == name]

    def model_tag(self, name: str, key: str) -> str:
        return ""

    def describe(self, name: str, version: str) -> None:
        self._of(name, version)

    def evidence(self, name: str, version: str, title: str) -> dict[str, Any] | None:
        return self._of(name, version)[2].get(title)

    def add_evidence(self, name: str, version: str, title: str, report: Mapping[str, Any]) -> None:
        self._of(name, version)[2][title] = dict(report)

    def load(self, name: str, version: str) -> LoadedModel:
        return LoadedModel(name, version, features.FEATURE_HASH, self._of(name, version)[0])

    def _of(self, name: str, version: str) -> tuple[Model, dict[str, str], dict[str, Any]]:
        if (name, version) not in self.kept:
            raise ModelRejected(f"the registry has no {name} {version}")
        return self.kept[name, version]
