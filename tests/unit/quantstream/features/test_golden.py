"""The values that the feature hash stands for are kept in a file: a formula that changes without its version is seen."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from quantstream import features
from tests.unit.quantstream.features import golden


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return golden.computed()


def test_each_features_values_are_those_that_its_version_stands_for(frame: pd.DataFrame) -> None:
    assert golden.changed(golden.kept(), frame) == []


def test_the_file_is_of_the_versions_and_the_hash_that_are() -> None:
    assert golden.outdated(golden.kept()) == []


def test_the_file_shows_each_feature_in_more_than_one_state(frame: pd.DataFrame) -> None:
    held = {name: one["values"] for name, one in golden.kept()["features"].items()}
    constant = {name for name, values in held.items() if len(set(values) - {None}) < 2}
    assert constant == {name for name in features.NAMES if frame[name].nunique() < 2} == set()
    assert all(sum(value is not None for value in values) >= golden.SPREAD for values in held.values())


def test_a_formula_that_changes_without_its_version_is_named_and_not_written(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = features.NAMES[3]
    other = frame.assign(**{name: frame[name] * (1 + 1e-7)})
    (told,) = golden.changed(golden.kept(), other)
    assert told.startswith(f"{name}, version {features.DEFINITIONS[name].version}, is ")
    assert f"raise its version in quantstream/features/definitions.py, then run {golden.RENEW}" in told
    monkeypatch.setattr(golden, "computed", lambda: other)
    before = golden.FILE.read_text()
    assert golden.main() == 1
    assert (golden.FILE.read_text(), capsys.readouterr().err) == (before, told + "\n")


def test_a_formula_that_changes_with_its_version_asks_for_the_file_to_be_renewed(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = features.NAMES[3]
    version = features.DEFINITIONS[name].version
    monkeypatch.setitem(features.DEFINITIONS, name, replace(features.DEFINITIONS[name], version=version + 1))
    assert golden.changed(golden.kept(), frame.assign(**{name: frame[name] * 2})) == []
    assert golden.outdated(golden.kept()) == [
        f"{name} is of version {version + 1} and of {version} in the file; run {golden.RENEW}"
    ]
