"""The runbook says what is so: settings, options, pipelines, policies and secrets that it names are there."""

from __future__ import annotations

import re

import pytest

from infra.embedded.state import PROJECT
from quantstream.settings import Settings
from streaming.__main__ import main
from tests.infra.manifests import named, of_kind, render, secret_script

TEXT = (PROJECT / "infra" / "RUNBOOK.md").read_text()


def test_every_setting_it_names_is_one() -> None:
    names = set(re.findall(r"QUANTSTREAM_[A-Z_]+[A-Z]", TEXT))
    assert len(names) > 5
    for name in names:
        kind: object = Settings
        for part in name.removeprefix("QUANTSTREAM_").lower().split("__"):
            fields = getattr(kind, "model_fields", {})
            assert part in fields, f"{name} is not a setting"
            kind = fields[part].annotation


@pytest.mark.parametrize("command", ["verify", "repair", "replay", "backup", "restore"])
def test_every_option_of_a_command_it_names_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = re.findall(rf"(?:quantstream|streaming) {command}((?: --[a-z-]+(?: [A-Z]+)?)*)", TEXT)
    assert told
    with pytest.raises(SystemExit):
        main([command, "--help"])
    known = capsys.readouterr().out
    assert [option for one in told for option in re.findall(r"--[a-z-]+", one) if option not in known] == []


def test_what_it_says_of_a_replay_is_so() -> None:
    assert "It only reads and compares. With `--publish` it writes into the **live** topic" in TEXT


def test_every_pipeline_it_names_is_one() -> None:
    names = {
        name
        for name in re.findall(r"`([a-z]+_[a-z]+)`", TEXT)
        if re.search(rf"(?i)(DAG|pause|run|job)[^.]*`{name}`", TEXT)
    }
    there = {path.stem for path in (PROJECT / "dags").glob("*.py")}
    events = set(re.findall(r"event `([a-z_]+)`", TEXT))
    assert {"lake_compact", "models_train", "history_backfill"} <= names
    assert names - events <= there


def test_every_policy_and_secret_it_names_is_made() -> None:
    objects = render("prod")
    for name in re.findall(r"polic(?:y|ies) `([a-z-]+)`", TEXT):
        assert named(objects, "NetworkPolicy", name)
    made = {one["metadata"]["name"] for one in secret_script()} | {
        one["metadata"]["name"] for one in of_kind(objects, "KafkaUser")
    }
    assert set(re.findall(r"(?:get secret|credentials \(`)\s?([a-z-]+)", TEXT)) <= made
