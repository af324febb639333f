"""Volatilities measured against one of them: what a model reads then means the same for every symbol and in every year."""

from __future__ import annotations

from collections.abc import Sequence

from quantstream.core.rolling import Floats

MEASURES = "rms parkinson garman_klass rogers_satchell yang_zhang bipower mean_move max_move span seasonal threshold"
PREFIXES = tuple(f"log_{measure}_" for measure in MEASURES.split())


def relative(windows: Floats, names: Sequence[str], to: str) -> Floats:
    """Return (…, steps, names) or (rows, names) with the logs of volatilities less the newest value of `to`."""
    measured = [i for i, name in enumerate(names) if name.startswith(PREFIXES)]
    unit = windows[..., -1:, names.index(to)] if windows.ndim == 3 else windows[:, names.index(to)]
    result = windows.copy()
    result[..., measured] -= unit[..., None]
    return result
