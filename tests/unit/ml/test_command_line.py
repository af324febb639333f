"""`python -m ml`: whoever runs it in a pipeline learns from its exit code what it found."""

from __future__ import annotations

import sys

import pytest

from ml.__main__ import main
from ml.evaluation import leakage_checks
from ml.evaluation.leakage_checks import Verdict


def test_a_check_that_finds_a_fault_ends_with_one_and_a_wrong_word_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for faults, code in (([], 0), (["log_return_1 looks ahead"], 1)):
        monkeypatch.setattr(leakage_checks, "lookahead", lambda frame, faults=faults: Verdict({}, faults))
        monkeypatch.setattr(sys, "argv", ["ml", "check-lookahead"])
        assert main() == code
    monkeypatch.setattr(sys, "argv", ["ml", "rescore", "--version", "7", "--from", "2h ago", "--to", "1h ago"])
    assert main() == 2
    assert "names no version of one model" in capsys.readouterr().err
