"""`python -m quantstream.decode.warm`: compiles every loop that is not kept yet, so that no process has to."""

from __future__ import annotations

import quantstream.decode.columns
import quantstream.decode.seen  # noqa: F401  (to import them is to compile them)
import quantstream.decode.window_sums
