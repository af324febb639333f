"""Loops over bytes and numbers as machine code (numba), compiled once: `python -m quantstream.decode.warm` fills the cache.

Every loop declares its types, so that importing its module loads it from the cache, or compiles it there and then; nothing is
compiled later. A cache that can be read but not written to (that of the images, under a read-only root) counts; one that is
missing and cannot be made costs the seconds of compiling at each start, which is said once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import types
from numba.core.caching import UserProvidedCacheLocator

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])

TEXT = types.Array(types.uint8, 1, "C", readonly=True)
INTS = types.Array(types.int64, 1, "C", readonly=True)
TABLE = types.Array(types.int64, 2, "C", readonly=True)
FLAGS = types.Array(types.boolean, 1, "C", readonly=True)
BYTES, NUMBERS = types.CPointer(types.uint8), types.CPointer(types.int64)
OUT_INTS, OUT_TABLE, OUT_FLAGS = types.int64[::1], types.int64[:, ::1], types.boolean[::1]
INT, FLAG = types.int64, types.boolean
_told: set[str] = set()


class ReadableCacheLocator(UserProvidedCacheLocator):  # type: ignore[misc]
    """The folder `NUMBA_CACHE_DIR`, also when it can only be read."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return a locator for the function's source, None without such a folder."""
        return cls(py_func, py_file) if numba.config.CACHE_DIR else None


_DEFAULTS = "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator"


def compiled(*arguments: types.Type, result: types.Type) -> Callable[[Function], Function]:
    """Compile a function of these types, or take it from the cache."""
    signature = result(*arguments)

    def made(function: Function) -> Function:
        try:
            loop: Function = numba.njit(signature, cache=True, nogil=True)(function)
        except (RuntimeError, OSError) as error:
            _tell(str(error))
            loop = numba.njit(signature, nogil=True)(function)
        return loop

    return made


def _tell(reason: str) -> None:
    if not _told:
        _told.add(reason)
        log.warning("compiled loops cannot be kept, so every start compiles them", extra={"reason": reason})
