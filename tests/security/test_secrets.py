"""No secret in the repository, none in the logs."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantstream.observability.logs import JsonFormatter, TextFormatter
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings

ROOT = Path(__file__).resolve().parents[2]
# What keys look like, after the public rules of gitleaks (config/gitleaks.toml).
PATTERNS = {
    "a private key": re.compile(r"-----BEGIN (?:RSA |EC |OPENSSH |PGP |ENCRYPTED )?PRIVATE KEY"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{82})\b"),
    "a PyPI or npm token": re.compile(r"\b(?:pypi-AgEIcHlwaS5vcmc[\w-]{50,}|npm_[0-9A-Za-z]{36})\b"),
    "a Slack or Stripe token": re.compile(r"\b(?:xox[baprs]-[0-9A-Za-z-]{10,}|[rs]k_live_[0-9A-Za-z]{24,})\b"),
    "a Google key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{17,}\.eyJ[\w-]{17,}\.[\w-]{10,}"),
    "a password in an address": re.compile(r"\b\w+://[^\s:/@$<{\"'%]+:(?!\$|<|\{|%)[^\s:/@$<{\"'%]{3,}@[\w.-]+"),
    "a password that is set": re.compile(
        r"(?i)\b(?:password|passwd|secret_?key|api_?key|access_?token)\b[\"']?\s*[:=]\s*[\"'](?=\S*[0-9])(?=\S*[a-zA-Z])[^\s\"'$<{]{12,}[\"']"
    ),
}


def tracked() -> Iterator[Path]:
    """Every file that git keeps or would keep."""
    git = shutil.which("git")
    assert git, "git is not installed"
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path != Path(__file__):
            yield path


def secrets_in(text: str) -> list[str]:
    return [what for what, pattern in PATTERNS.items() if pattern.search(text)]


def test_no_file_holds_a_secret() -> None:
    files = list(tracked())
    assert len(files) > 200
    found = {str(path.relative_to(ROOT)): secrets_in(path.read_text(errors="replace")) for path in files}
    assert {name: what for name, what in found.items() if what} == {}


def test_no_file_is_a_key_store() -> None:
    kinds = {".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".env"}
    assert [path.name for path in tracked() if path.suffix in kinds or path.name == ".env"] == []


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        ("-----BEGIN RSA PRIVATE" + " KEY-----", "a private key"),
        ("key = " + "AKIA" + "IOSFODNN7EXAMPLE", "an AWS key"),
        ("gh" + "p_" + "a1" * 18, "a GitHub token"),
        ("postgresql://airflow:" + "hunter22@db/airflow", "a password in an address"),
        ('password: "' + "correct7horsebattery" + '"', "a password that is set"),
    ],
)
def test_a_planted_secret_is_found(planted: str, what: str) -> None:
    assert secrets_in(planted) == [what]


SECRET = "correct-horse-battery-staple"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("QUANTSTREAM_KAFKA__PASSWORD", SECRET)
    for name, value in {"SECURITY": "SASL_SSL", "USER": "sink", "CA_FILE": __file__}.items():
        monkeypatch.setenv(f"QUANTSTREAM_KAFKA__{name}", value)
    return load_settings()


def test_settings_never_show_their_secrets(settings: Settings) -> None:
    assert settings.kafka.password.get_secret_value() == SECRET
    shown = [
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        f"{settings.kafka!r}",
    ]
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize("formatter", [JsonFormatter("sink"), TextFormatter()], ids=["json", "text"])
def test_a_log_of_settings_does_not_show_secrets(settings: Settings, formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "starting with %s", "args": (settings,)})
    record.settings, record.kafka, record.password = settings, settings.kafka, settings.kafka.password
    line = formatter.format(record)
    assert "starting with" in line
    assert SECRET not in line


def test_a_stage_that_cannot_start_says_why_without_the_password() -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "QUANTSTREAM_KAFKA__PASSWORD": SECRET,
        "QUANTSTREAM_KAFKA__REPLICATION": "many",
    }
    command = [sys.executable, "-m", "streaming", "sink"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2
    assert "QUANTSTREAM_KAFKA__REPLICATION" in run.stderr
    assert SECRET not in run.stdout + run.stderr


def test_a_log_line_that_carries_extra_values_stays_one_json_object() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "ERROR", "msg": 'evil\n{"level": "info"}'})
    assert json.loads(JsonFormatter("sink").format(record))["message"] == 'evil\n{"level": "info"}'
    assert "\n" not in JsonFormatter("sink").format(record)
