"""What `quantstream up` says of models once everything runs: serving again, trained for the first time, or anew."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from infra.local import up
from infra.local.champions import Champion
from infra.local.first_run import Outcome
from quantstream.features import FEATURE_HASH

PLAN = SimpleNamespace(  # what the greeting reads of a `Plan`: a whole one needs free ports and a state on disk
    urls={"mlflow": "http://m", "airflow": "http://a", "dashboard": "http://d"},
    state=SimpleNamespace(airflow=Path("/nowhere")),
    is_simulated=False,
)


@pytest.mark.parametrize(
    ("serving", "said", "trained"),
    [
        ({"quantstream-risk": Champion("3", FEATURE_HASH)}, "The models of the last time serve again.", 0),
        ({"quantstream-risk": Champion("3", "0ld")}, "were fitted on other features", 1),
        ({}, "trains models now", 1),
    ],
)
def test_models_that_fit_serve_again_and_others_are_trained(
    monkeypatch: pytest.MonkeyPatch, serving: dict[str, Champion], said: str, trained: int
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(up, "champions", lambda url: serving)
    monkeypatch.setattr(up, "begin", lambda api: begun.append(api) or Outcome(False))
    monkeypatch.setattr(up.airflow, "password", lambda folder: "secret")
    out = io.StringIO()
    up._greet(PLAN, Console(file=out, width=200), waits=False)  # type: ignore[arg-type]
    assert (said in out.getvalue(), len(begun)) == (True, trained)
