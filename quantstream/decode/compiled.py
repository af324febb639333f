"""Loops over bytes and numbers as machine code: numba compiles them once, LLVM alone loads them.

A process that imports numba itself is 110 MB larger and starts a second or more later; what numba made of a loop, kept as a file, costs it
neither. A file is good for one source text and one kind of processor; where it is missing or of another text, numba is
imported, compiles the loop and keeps it (`python -m quantstream.decode.warm` does so for all). If it cannot be kept, that is said
once, and every start pays for it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)
FOLDER = "QUANTSTREAM_LOOPS"  # names the folder that keeps them; unset: __pycache__ beside the source
BYTES, NUMBERS, INT = "bytes", "numbers", "int"  # pointers to bytes (flags are such) and to 64-bit numbers; a number
_TYPES = {BYTES: np.dtype(np.uint8), NUMBERS: np.dtype(np.int64)}
_C_TYPES = {BYTES: ctypes.c_void_p, NUMBERS: ctypes.c_void_p, INT: ctypes.c_int64}
_NEVER = ("numba_gil_ensure", "numba_gil_release")  # what numba's code would call if a loop raised
_parts: dict[str, list[tuple[Callable[..., int], Sequence[str]]]] = {}
_engines: list[Any] = []  # keep the code in memory
_told: list[str] = []


def part(*arguments: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function of these types that loops of its module call; it returns a number."""

    def declared(function: Callable[..., Any]) -> Callable[..., Any]:
        _parts.setdefault(function.__module__, []).append((function, arguments))
        return function

    return declared


def loop(*arguments: str) -> Callable[[Callable[..., Any]], Loop]:
    """Compile a function of these types, pointers first, or take it from where it is kept; it returns a number."""
    return lambda function: Loop(function, arguments)


class Loop:
    """A compiled function over arrays."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[str]) -> None:
        self.arguments = [_TYPES[each] for each in arguments if each != INT]
        name, code = _kept(function) or _made(function, arguments)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *(_C_TYPES[each] for each in arguments))
        self._function = prototype(_loaded(name, code))

    def over(self, *arrays: NDArray[Any]) -> Callable[..., int]:
        """Return the loop over these arrays, to be called with its numbers; it holds no lock of Python's meanwhile.

        Raises: ValueError for an array that is not as declared: the loop would read other bytes.
        """
        if len(arrays) != len(self.arguments):
            raise ValueError(f"{len(arrays)} arrays for a loop over {len(self.arguments)}")
        for array, wanted in zip(arrays, self.arguments, strict=True):
            is_right = array.dtype == wanted or (array.dtype == np.bool_ and wanted.itemsize == 1)
            if not is_right or not array.flags.c_contiguous:
                raise ValueError(f"an array of {array.dtype} for a loop over {wanted}, or one with steps")
        places = [array.__array_interface__["data"][0] for array in arrays]
        function = self._function

        def run(*numbers: int, keep: Sequence[NDArray[Any]] = arrays) -> int:
            found: int = function(*places, *numbers)
            return found

        return run


def _file(function: Callable[..., Any]) -> Path:
    source = Path(function.__code__.co_filename)
    target = llvm.Target.from_default_triple().triple if _ready() else ""
    made_of = (source.read_bytes(), target, version("numba"), version("llvmlite"))
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    folder = Path(os.environ.get(FOLDER) or source.parent / "__pycache__")
    return folder / f"{source.stem}.{function.__name__}.{key}.loop"


def _kept(function: Callable[..., Any]) -> tuple[str, bytes] | None:
    """Return name and machine code of a loop that was compiled before."""
    try:
        name, code = _file(function).read_bytes().split(b"\n", 1)
    except OSError:
        return None
    return name.decode(), code


def _made(function: Callable[..., Any], arguments: Sequence[str]) -> tuple[str, bytes]:
    """Compile a loop and its parts, and keep it."""
    import numba

    types: Mapping[str, Any] = {
        BYTES: numba.types.CPointer(numba.types.uint8),
        NUMBERS: numba.types.CPointer(numba.types.int64),
        INT: numba.types.int64,
    }

    def signature(names: Sequence[str]) -> Any:
        return numba.types.int64(*(types[name] for name in names))

    for each, needed in _parts.pop(function.__module__, ()):
        each.__globals__[each.__name__] = numba.njit(signature(needed), error_model="numpy")(each)
    made = numba.cfunc(signature(arguments), error_model="numpy")(function)
    code = _machine().emit_object(llvm.parse_assembly(made.inspect_llvm()))
    _keep(_file(function), made.native_name.encode() + b"\n" + code)
    return made.native_name, code


def _keep(file: Path, content: bytes) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(file)
    except OSError as error:
        if not _told:
            log.warning("compiled loops cannot be kept: every start compiles them", extra={"reason": str(error)})
        _told.append(str(error))


def _ready() -> bool:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return True


def _machine() -> Any:
    """Return what makes code for any processor of this kind: a file may have been made on another one."""
    return llvm.Target.from_default_triple().create_target_machine(opt=3, jit=True)


def _loaded(name: str, code: bytes) -> int:
    """Return the address of a loop in memory."""
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for never in _NEVER:
        llvm.add_symbol(never, abort)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address: int = engine.get_function_address(name)
    return address
