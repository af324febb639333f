"""How a process ends that has read the lake: what was to be done at its end is done, then it is over at once.

Arrow's threads read ahead through file systems that are Python objects. One that asks for the interpreter while that is being
taken apart is unwound through C++ and aborts the process (exit code 134) after all its work is done and said.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def end_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a process's main function, and end the process with the exit code that it returns or raises (`SystemExit`).

    As ever, threads that are no daemons are waited for, functions registered with `atexit` run, and output is flushed. Another
    exception is shown as ever, with exit code 1.
    """
    try:
        code = main() or 0
    except SystemExit as end:
        code = _code_of(end)
    except KeyboardInterrupt:
        code = 130
    except Exception:  # noqa: BLE001  what would end the process, is shown as it would be
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # ends pools and waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    os._exit(code)


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1
