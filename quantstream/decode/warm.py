"""`python -m quantstream.decode.warm`: compiles every loop that is not kept yet, so that no process has to."""

from __future__ import annotations

from quantstream.decode import columns, rows, trade_id_index, window_sums

COMPILED = (columns, rows, trade_id_index, window_sums)  # to import them is to compile them
