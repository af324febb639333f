"""What was in quarantine before there was a table of it: a file `quarantine/SYMBOL.json` in the state folder held a whole symbol.

Such a file is taken over once: all days of the symbol's candles are held, and the next validation releases those that are sound.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ml.validation.candle_frames import days_of
from quantstream.core.errors import Misconfigured
from quantstream.lake.quarantine import GATE, HELD, Change, note
from quantstream.lake.store import Lake

log = logging.getLogger(__name__)
TAKEN_OVER = "taken_over"  # in place of an expectation's name


def take_over(lake: Lake, state: Path, at: datetime) -> list[str]:
    """Bring the files of before into the table and remove them; return a sentence for each.

    Raises: Misconfigured for a file that cannot be read; Unavailable.
    """
    said = []
    for path in sorted((state / "quarantine").glob("*.json")):
        try:
            found = json.loads(path.read_text())
            symbol, reason = str(found["symbol"]), str(found["reason"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Misconfigured(
                f"{path} held a symbol in quarantine and cannot be read ({error!r}): remove it, or name the days to hold with "
                "`quantstream quarantine add SYMBOL DAY --why …`"
            ) from error
        rows = lake.read("candles", [symbol], columns=["opened_at"])
        days = sorted(set(days_of(rows["opened_at"].cast(pa.int64()).to_numpy()).tolist()))
        note(
            lake,
            [
                Change(symbol, datetime.fromisoformat(day).date(), "candles", TAKEN_OVER, HELD, reason, at, GATE)
                for day in days
            ],
        )
        path.unlink()
        said.append(
            f"{symbol}: {path} is taken over, {len(days)} days are in the lake's quarantine until a validation releases them"
        )
        log.warning("%s", said[-1])
    return said
