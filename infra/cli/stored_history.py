"""What the lake of a stack holds to learn from, for telling a person what will be trained and what cannot be."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ml.data.data_needs import shortfall
from quantstream.core.errors import Unavailable

log = logging.getLogger(__name__)


def stored_candles(environment: Mapping[str, str]) -> int:
    """Return how many candles the lake of these settings holds of the symbol that has most; none when it cannot be read."""
    from quantstream.lake.store import Lake

    try:
        held = Lake(environment["QUANTSTREAM_LAKE"]).extent("candles")
    except Unavailable as error:
        log.warning("the lake cannot be read", extra={"reason": str(error)})
        return 0
    return max((held[name][0] for name in environment["QUANTSTREAM_SYMBOLS"].split(",") if name in held), default=0)


def stored_shortfall(environment: Mapping[str, str]) -> str:
    """Return in a sentence which models cannot learn from what the lake holds; empty when all can."""
    return shortfall(stored_candles(environment))
