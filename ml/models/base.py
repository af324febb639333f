"""What every model is: it reads windows of features, and it saves itself to a folder of plain files with their checksums.

No pickle: a folder holds JSON, Keras' own format, XGBoost's UBJ and skops files, none of which runs code when loaded. The
manifest `model.json` names the feature definitions the model was fitted on and the checksum of each file, so that a wrong
or damaged model is refused before it meets live data.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ml.models.online_correction import Correction
from quantstream import features
from quantstream.core.errors import ModelRejected
from quantstream.core.rolling import Floats

MANIFEST = "model.json"
FORMAT = 1
MODULES = {
    "forecast": ("ml.models.forecast", "ForecastModel"),
    "signal": ("ml.models.signal", "SignalModel"),
    "risk": ("ml.models.risk", "RiskModel"),
    "anomaly": ("ml.models.anomaly", "AnomalyModel"),
}


class Model(ABC):
    """A fitted model. `names` are the features it reads, over the last `length` candles.

    `outcomes` are the labels that show later whether it was right; by them `correction` corrects what it says next.
    """

    kind: ClassVar[str]
    outcomes: ClassVar[tuple[str, ...]] = ()
    correction: ClassVar[Correction | None] = None
    names: tuple[str, ...]
    length: int = 1

    @abstractmethod
    def predict(self, windows: Floats) -> Floats:
        """Return predictions from (rows, length, names) finite features; rows do not influence each other."""

    def adapt(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return predictions as they would have been live: each corrected by the outcomes of those before it, known by then.

        `predicted` are on consecutive candles of one symbol, NaN where there is none; `outcomes` is (candles, outcomes), NaN
        where not known yet. Only the last `ml.models.online_correction.REACH` candles before a row count.
        """
        return predicted if self.correction is None else self.correction.series(predicted, outcomes)

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Write what is not JSON into the folder and return the rest."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> Model:
        """Return the model that `write` wrote."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return ("numpy", "pandas")

    def warm(self) -> None:
        """Predict once, so that the first live candle does not pay for compilation."""
        self.predict(np.zeros((1, self.length, len(self.names))))


def columns(names: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """Return the places of some features among all."""
    return np.array([features.NAMES.index(name) for name in names], dtype=np.intp)


def save(model: Model, folder: Path) -> None:
    """Write a model and its manifest into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = model.write(folder)
    manifest = {
        "format": FORMAT,
        "kind": model.kind,
        "feature_hash": features.FEATURE_HASH,
        "features": list(model.names),
        "length": model.length,
        "state": state,
        "files": {path.name: _checksum(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST},
    }
    manifest["checksum"] = _digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def load(folder: Path) -> Model:
    """Return the model that `save` wrote.

    Raises: ModelRejected when it is damaged, of an unknown kind, or fitted on other definitions of the features.
    """
    manifest = read_manifest(folder)
    theirs, ours = manifest["feature_hash"], features.FEATURE_HASH
    if theirs != ours:
        of = manifest["kind"]
        raise ModelRejected(f"the {of} model reads features {theirs}, this process computes {ours}: train it anew")
    if manifest["kind"] not in MODULES:
        raise ModelRejected(f"a model of kind {manifest['kind']!r} is not known here")
    module, name = MODULES[manifest["kind"]]
    kind: type[Model] = getattr(import_module(module), name)
    try:
        return kind.read(folder, manifest["state"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ModelRejected(f"the {manifest['kind']} model does not load: {error}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest after checking each file against its checksum.

    Raises: ModelRejected.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        checksum = manifest.pop("checksum")
        files = manifest["files"]
        damaged = [name for name, expected in files.items() if _checksum(folder / name) != expected]
        damaged += sorted(
            {path.name for path in folder.iterdir()} - {MANIFEST, *files}
        )  # named by nobody, read by nobody
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelRejected(f"the model's files are damaged or missing: {error}") from error
    if damaged or _digest(manifest) != checksum:
        raise ModelRejected(
            f"the model's files are damaged: {', '.join(damaged) or MANIFEST} does not match its checksum"
        )
    if manifest.get("format") != FORMAT:
        raise ModelRejected(f"the model is of format {manifest.get('format')}, this process reads format {FORMAT}")
    return manifest


def digest(folder: Path) -> str:
    """Return the checksum of a model's manifest, which has those of all its files: kept apart from them, it tells another model.

    Raises: ModelRejected when there is none.
    """
    try:
        return f"sha256:{_checksum(folder / MANIFEST)}"
    except OSError as error:
        raise ModelRejected(f"the model's files are damaged or missing: {error}") from error


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
