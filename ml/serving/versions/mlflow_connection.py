"""The connection to MLflow: how long it is waited for, and what its errors mean here.

Every call ends soon: a server that is away must never hold up a live stage, so tries are few and timeouts short. A training
holds up nobody, and takes minutes that a late answer must not cost: its process says `wait_for_the_busy`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from quantstream.core.errors import ModelRejected, Unavailable

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
from mlflow.exceptions import MlflowException  # noqa: E402

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it warns of a missing pip that nothing needs
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")  # the last is said of an unknown alias


def wait_for_the_busy() -> None:
    """Let this whole process wait minutes, not seconds, for a server that is slow to answer."""
    os.environ.update(PATIENT)


class Connection:
    """The client of one tracking address."""

    def __init__(self, tracking_url: str) -> None:
        """Nothing is sent yet."""
        self.url = tracking_url
        self._client = mlflow.MlflowClient(tracking_uri=tracking_url, registry_uri=tracking_url)

    def _turn_here(self) -> None:
        """Point the library's own functions at this address, or on their way they make a database in the working folder."""
        mlflow.set_tracking_uri(self.url)
        mlflow.set_registry_uri(self.url)

    @contextmanager
    def _talking(self, what: str = "") -> Iterator[None]:
        """Translate the library's errors: what is absent is ModelRejected, all else Unavailable."""
        try:
            yield
        except MlflowException as error:
            if error.error_code in ABSENT and what:
                raise ModelRejected(f"the registry has no {what}") from error
            raise Unavailable(f"the model registry at {self.url} did not answer: {first_line(error)}") from error
        except requests.RequestException as error:
            raise Unavailable(f"the model registry at {self.url} did not answer: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def last_line(error: Exception) -> str:
    """Return the cause: the library lists the files that it could not get, and what was said of the last one at the end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
