"""`python -m tests.dst`: worlds from seeds; every failure is a seed that plays the same again, to the byte."""

from __future__ import annotations

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts would come in another order in each process
    os.execve(sys.executable, [sys.executable, "-m", "tests.dst", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests.dst import clock

clock.install()

from tests.dst.command import main  # noqa: E402 (the stages come after virtual time)

sys.exit(main())
