"""Which models serve, asked over MLflow's REST in milliseconds: its client library takes seconds to import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from infra.embedded.readiness import ask
from quantstream.core.errors import Unavailable
from quantstream.messages.models import MODEL_NAMES

NONE_SUCH = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, no such alias


@dataclass(frozen=True)
class Champion:
    """The version that serves, and which definitions of the features it was fitted on."""

    version: str
    feature_hash: str


def champions(mlflow_url: str) -> Mapping[str, Champion]:
    """Return the champion of each registered model that has one.

    Raises: Unavailable when MLflow does not answer or answers nonsense.
    """
    found = {name: _champion(mlflow_url, name) for name in MODEL_NAMES}
    return {name: champion for name, champion in found.items() if champion}


def _champion(mlflow_url: str, name: str) -> Champion | None:
    query = urlencode({"name": name, "alias": "champion"})
    answer = ask(f"{mlflow_url}/api/2.0/mlflow/registered-models/alias?{query}")
    if answer is None:
        raise Unavailable(f"MLflow does not answer at {mlflow_url}")
    status, body = answer
    with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):  # another server's answer
        fields = json.loads(body)
        if status == 200:
            version = fields["model_version"]
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
            return Champion(str(version["version"]), str(tags.get("feature_hash", "")))
        if fields["error_code"] in NONE_SUCH:
            return None
    raise Unavailable(f"MLflow at {mlflow_url} answers HTTP {status} for {name}")
