"""Settings searched by Optuna on inner folds, within a budget: what is found is written into the models' defaults by hand.

The folds lie inside the folder that is given, each fitted on what comes before it, purged and embargoed, so that nothing of
what is reported later has been looked at. The sampler's seed is fixed: as many trials on the same candles find the same.

With a database several workers search one study, that of a kind, its candles and its folds: each learns from what the others
tried, and together they make as many trials as are asked for. What they find depends on who was when.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from ml import measures
from ml.data import dataset
from ml.data.dataset import Dataset, Split
from ml.models import risk, signal
from ml.models.base import Model
from ml.training import train, trial
from quantstream import features
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.rolling import Floats

FOLDS = ((0.55, 0.62, 0.8), (0.75, 0.82, 1.0))  # shares of the time: fitted before, calibrated before, judged before
ROWS = 60_000  # of a fit and of a judgement: enough to tell settings apart
SEED = 23
BEAT = 30  # seconds between two signs of life of who tries: a trial of one that was killed is another's to make
ATTEMPTS, PAUSE = 6, 0.5  # to open a database whose tables others are making, and seconds between two
Loss = Callable[[dict[str, Any]], float]


def search(folder: Path, kind: str, trials: int, minutes: float, storage: str = "") -> dict[str, Any]:
    """Return the best settings of one kind, their mean loss over the folds and that of the defaults.

    `trials` are those of all that share the study in the database `storage`. Raises: Misconfigured for another kind, a folder
    without candles or a database that is none, DataRejected for too few candles, Unavailable when the database does not answer.
    """
    if kind not in ("risk", "signal"):
        raise Misconfigured(f"{kind!r} cannot be tuned; choose risk or signal")
    data = dataset.build(trial.read_folder(folder))
    splits = _splits(kind, data)

    def objective(asked: optuna.Trial) -> float:
        settings = {
            "depth": asked.suggest_int("depth", 2, 5),
            "eta": asked.suggest_float("eta", 0.02, 0.1, log=True),
            "rounds": asked.suggest_int("rounds", 100, 500, step=50),
            "min_child_weight": asked.suggest_float("min_child_weight", 30, 1000, log=True),
            **_lines_setting(kind, asked),
        }
        return float(np.mean([_loss(kind, data, split, settings) for split in splits]))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _told(storage):
        study = _study(storage, kind, data)
        if _done(study) < trials:
            enough = MaxTrialsCallback(trials, states=(TrialState.COMPLETE,))
            study.optimize(objective, n_trials=trials, timeout=minutes * 60, callbacks=[enough])
    defaults = float(np.mean([_loss(kind, data, split, {}) for split in splits]))
    return {
        "kind": kind,
        "best": study.best_params,
        "loss": study.best_value,
        "default_loss": defaults,
        "trials": _done(study),
    }


def _study(storage: str, kind: str, data: Dataset) -> optuna.Study:
    """Return a study of one's own, or the one that all share who search with the same candles."""
    if not storage:
        return optuna.create_study(sampler=TPESampler(seed=SEED))
    seen = hashlib.blake2b(repr((FOLDS, ROWS, features.FEATURE_HASH, data.symbols)).encode(), digest_size=8)
    for part in (data.opened_at, data.close):
        seen.update(np.ascontiguousarray(part).tobytes())
    return optuna.create_study(
        study_name=f"{kind} {seen.hexdigest()}",
        storage=opened(storage),
        sampler=TPESampler(
            constant_liar=True
        ),  # a seed would have all try the same; what others try now counts as tried
        load_if_exists=True,
    )


def opened(storage: str) -> RDBStorage:
    """Open the database of studies, and make its tables where it has none. Raises: SQLAlchemyError.

    Of several who find none at the same moment one makes them, and the others' attempts fail: they look again.
    """
    attempts = 0
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # of signs of life, which have been so since 2021
                return RDBStorage(_by_driver(storage), {"pool_pre_ping": True}, heartbeat_interval=BEAT)
        except (IntegrityError, ProgrammingError, OperationalError):
            attempts += 1
            if attempts == ATTEMPTS:
                raise
            time.sleep(random.uniform(0.5, 1.5) * PAUSE)


def _by_driver(storage: str) -> str:
    """Name the driver that is installed with the models: SQLAlchemy's own choice for Postgres is another since 2.1."""
    return re.sub(r"^postgresql://", "postgresql+psycopg2://", storage)


def _done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


@contextmanager
def _told(storage: str) -> Iterator[None]:
    """Say in a sentence, without the password, what is wrong with a database."""
    place = storage.rpartition("@")[2].rpartition("://")[2].removeprefix("/")
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise Misconfigured(f"QUANTSTREAM_STUDIES cannot be opened here: {error}") from None
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise Unavailable(f"the database of studies at {place} does not answer: {reason}") from None


def _lines_setting(kind: str, asked: optuna.Trial) -> dict[str, float]:
    """How freely lines may fit: the signal's are logistic, the risk's are a ridge regression."""
    if kind == "risk":
        return {"penalty": asked.suggest_float("penalty", 100, 30_000, log=True)}
    return {"strength": asked.suggest_float("strength", 1e-3, 1.0, log=True)}


def _splits(kind: str, data: Dataset) -> Sequence[Split]:
    rows, label = train.usable_rows(kind, data)
    at = data.opened_at[rows]
    begin, span = int(at.min()), int(at.max()) - int(at.min())
    found = []
    for fitted, calibrated, judged in FOLDS:
        inside = rows[at <= begin + int(span * judged)]
        part = dataset.split_at(data, inside, label, begin + int(span * fitted), begin + int(span * calibrated))
        found.append(replace(part, judge=dataset.thin(part.judge, ROWS, SEED)))
    return found


def _loss(kind: str, data: Dataset, split: Split, settings: dict[str, Any]) -> float:
    model: Model
    if kind == "risk":
        model = risk.fit(data, split, replace(risk.RiskOptions(most_rows=ROWS), **settings))
        predicted = model.predict(data.sequences(split.judge, model.names, 1))
        return measures.brier(data.labels[risk.LABEL][split.judge], predicted)
    model = signal.fit(data, split, replace(signal.SignalOptions(most_rows=ROWS), **settings))
    shares: Floats = model.predict(data.sequences(split.judge, model.names, 1))
    return measures.log_loss(data.labels[signal.LABEL][split.judge].astype(int), shares)
