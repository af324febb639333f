"""What a pip-audit report means: vulnerabilities known, none known, or that it cannot be told. pip-audit itself calls a package
that it could not look up no vulnerability, which reads as "fine"; here it does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

NONE_KNOWN, KNOWN, CANNOT_TELL = 0, 1, 3


def judge(report: str) -> tuple[int, list[str]]:
    """Return the exit code and the sentences for a pip-audit JSON report."""
    try:
        packages = json.loads(report)["dependencies"]
        skipped = [one["name"] for one in packages if "skip_reason" in one]
        found = [(one["name"], one["version"], flaw) for one in packages for flaw in one.get("vulns", ())]
        lines = [
            f"{name} {version}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
            for name, version, flaw in found
        ]
    except (ValueError, KeyError, TypeError):
        return CANNOT_TELL, ["audit: CANNOT TELL. The advisory service did not answer with a report."]
    if skipped or not packages:
        lines.append(
            f"audit: {len(skipped)} of {len(packages)} packages could not be looked up: {', '.join(skipped[:5])} …"
        )
    if found:
        return KNOWN, [*lines, f"audit: {len(found)} known vulnerabilities"]
    if skipped or not packages:
        return CANNOT_TELL, lines
    return NONE_KNOWN, [f"audit: no known vulnerability in {len(packages)} packages"]


def main(arguments: list[str]) -> int:
    """Judge the report in a file; with `--canary` succeed only when it names a vulnerability."""
    path = Path(arguments[0])
    code, lines = judge(path.read_text() if path.exists() else "")
    if "--canary" in arguments:
        return 0 if code == KNOWN else 1
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
