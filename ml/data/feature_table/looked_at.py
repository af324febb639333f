"""Months that were read again because the log of their candles said something else, and were found as they were.

A file lies beside the table of features and says so of each such month, so that the next build does not read it once more. It is
a memory and no more: where it is lost or damaged, or the month was made anew meanwhile, the month is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from ml.data.feature_table.columns import TABLE
from quantstream.lake import stored_states
from quantstream.lake.partition_files import Key, Made
from quantstream.lake.store import Lake, files_at

log = logging.getLogger(__name__)
NAME = "looked_at"
Looked = Mapping[Key, str]  # what the log said of a month's candles when its rows were found as they were


def looked_at(lake: Lake, base: Made) -> dict[Key, str]:
    """Return what is remembered of the parts that are there. Raises: OSError, DeltaError."""
    raw = stored_states.kept(files_at(f"{lake.url}/{TABLE}", lake.storage_options), NAME, 0)
    if raw is None:
        return {}
    try:
        known = {name: (str(path), str(seen)) for name, (path, seen) in json.loads(raw).items()}
    except (ValueError, TypeError, AttributeError):
        log.warning("what was looked at in the features before is not readable; those months are read again")
        return {}
    return {
        key: known[name][1]
        for key, part in base.parts.items()
        if (name := "/".join(key)) in known and known[name][0] == part.path
    }


def remember(lake: Lake, made: Made, looked: Looked) -> None:
    """Keep what is known of the parts that are there. Raises: OSError, DeltaError."""
    known = {"/".join(key): (made.parts[key].path, seen) for key, seen in sorted(looked.items()) if key in made.parts}
    stored_states.keep(files_at(f"{lake.url}/{TABLE}", lake.storage_options), NAME, 0, json.dumps(known).encode())
