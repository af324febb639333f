"""What the live side needs of the models: the registry, hot swap, scoring and its memory."""

from __future__ import annotations

from typing import Any


def _load_pyfunc(path: str) -> Any:
    """Load a version that was registered when this package was the loader module itself."""
    from ml.serving import pyfunc

    return pyfunc._load_pyfunc(path)
