"""Become MLflow's server, in this process.

MLflow's own command waits as a parent beside the server it starts: 200 MB more, and a server that outlives its parent when
that is killed. Here its last step, starting uvicorn, happens in place; everything before it is MLflow's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any


def become(command: Sequence[str], *, extra_env: dict[str, str], **_: Any) -> None:
    """Run MLflow's uvicorn command (`python -m uvicorn …`) here instead of in a child."""
    import uvicorn

    os.environ.update(extra_env)
    uvicorn.main(list(command)[3:], standalone_mode=True)


def main(argv: Sequence[str]) -> None:
    """Run `mlflow server` with these arguments."""
    import mlflow.cli
    import mlflow.server

    if hasattr(
        mlflow.server, "_exec_cmd"
    ):  # another version may have another last step: then with a parent, as it comes
        mlflow.server._exec_cmd = become
    mlflow.cli.cli(["server", *argv])


if __name__ == "__main__":
    main(sys.argv[1:])
