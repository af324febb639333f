"""Become one process of the stack, after ending what an earlier life of it left behind.

Servers start children (a web server its worker, a scheduler its tasks). When one is killed at once its children stay, hold its
port and would do its work twice. Its pid stays this process's pid, so that the supervisor watches the real thing.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from infra.embedded.orphan_processes import NAME_MARK, STATE_MARK, end, orphans

PATIENCE = 0.5  # seconds for an orphan to end by itself


def main(argv: list[str]) -> int:
    """`STATE NAME`: run that process as `processes.json` describes it; returns only when it cannot be run."""
    folder, name = Path(argv[0]), argv[1]
    described = json.loads((folder / "processes.json").read_text())[name]
    end(orphans(os.getppid()), PATIENCE)
    os.nice(described["niceness"])
    environment = os.environ | described["env"] | {STATE_MARK: str(folder), NAME_MARK: name}
    try:
        os.execvpe(described["argv"][0], described["argv"], environment)
    except OSError as error:
        sys.stderr.write(f"{described['argv'][0]} cannot be run ({error.strerror}); run make setup\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
