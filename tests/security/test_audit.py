"""An audit that could not look is never one that found nothing."""

from __future__ import annotations

import json

from infra.audit import CANNOT_TELL, KNOWN, NONE_KNOWN, judge


def report(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


CLEAN: dict[str, object] = {"name": "numpy", "version": "2.4.0", "vulns": []}
SKIPPED: dict[str, object] = {
    "name": "jinja2",
    "skip_reason": "Dependency not found on PyPI and could not be audited: jinja2 (2.10)",
}
FLAWED: dict[str, object] = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": [], "description": "sandbox escape"}],
}


def test_no_vulnerability_in_packages_that_were_all_looked_up() -> None:
    assert judge(report(CLEAN)) == (NONE_KNOWN, ["audit: no known vulnerability in 1 packages"])


def test_a_package_that_could_not_be_looked_up_cannot_be_told_of() -> None:
    code, lines = judge(report(CLEAN, SKIPPED))
    assert (code, lines) == (CANNOT_TELL, ["audit: 1 of 2 packages could not be looked up: jinja2 …"])


def test_a_vulnerability_is_named_with_what_corrects_it() -> None:
    code, lines = judge(report(CLEAN, FLAWED))
    assert code == KNOWN
    assert lines == ["jinja2 2.10: PYSEC-2019-217, fixed in 2.10.1", "audit: 1 known vulnerabilities"]


def test_an_empty_or_broken_report_cannot_be_told_from() -> None:
    for text in ("", "{", "[]", "{}", report()):
        assert judge(text)[0] == CANNOT_TELL
