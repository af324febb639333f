"""Loops over bytes and numbers as machine code: numba compiles them once, LLVM alone loads them.

A process that imports numba is 75 MB larger and starts a second or more later; what numba made of a loop, kept in a file, costs
it neither. A file is good for one source text and its constants, on any processor of a kind. Where there is none, numba is
imported, compiles the loop and keeps it; `python -m quantstream.decode.warm` does so for all. If it cannot be kept, every start
pays, and says so once. `NUMBA_DISABLE_JIT=1` runs loops as the Python that they are written in, a hundred times slower: to step
through them, and to see which of their lines and branches tests reach (`make coverage`).
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)
PLAIN = "NUMBA_DISABLE_JIT"  # 1 as for numba: loops are not compiled
FOLDER = "NUMBA_CACHE_DIR"  # names the folder of the files, as it does for numba; unset: __pycache__ beside the source
BYTES, NUMBERS, INT = "bytes", "numbers", "int"  # pointers to bytes or truths and to 64-bit numbers; a number
_ARRAYS = {BYTES: np.dtype(np.uint8), NUMBERS: np.dtype(np.int64)}
_C_TYPES = {BYTES: ctypes.c_void_p, NUMBERS: ctypes.c_void_p, INT: ctypes.c_int64}
_NEVER = ("numba_gil_ensure", "numba_gil_release")  # called by a loop that raises, which none does
Function = Callable[..., Any]
_parts: dict[Function, Sequence[str]] = {}
_made: dict[Function, Any] = {}  # of parts
_engines: list[Any] = []  # they hold the code
_told: set[str] = set()


def part(*arguments: str) -> Callable[[Function], Function]:
    """Declare a function of these types, which returns a number, as one that loops call."""

    def declared(function: Function) -> Function:
        _parts[function] = arguments
        return function

    return declared


def loop(*arguments: str) -> Callable[[Function], Loop]:
    """Declare a function of these types, pointers first, as a loop; it returns a number."""
    return lambda function: Loop(function, arguments)


class Loop:
    """A function over arrays as machine code."""

    def __init__(self, function: Function, arguments: Sequence[str]) -> None:
        self.arrays = [_ARRAYS[each] for each in arguments if each != INT]
        self._plain = function if os.environ.get(PLAIN) == "1" else None
        if self._plain is not None:
            return
        name, code = _kept(_file(function)) or _compiled(function, arguments)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *(_C_TYPES[each] for each in arguments))
        self._function = prototype(_loaded(name, code))

    def over(self, *arrays: NDArray[Any]) -> Callable[..., int]:
        """Return the loop over these arrays, to be called with its numbers; meanwhile it holds no lock of Python's.

        Raises: ValueError for arrays that are not as declared: the loop would read something else.
        """
        for array, wanted in zip(arrays, self.arrays, strict=True):
            is_right = array.dtype == wanted or (array.dtype == np.bool_ and wanted == np.uint8)
            if not is_right or not array.flags.c_contiguous:
                raise ValueError(f"an array of {array.dtype}, or one with gaps, where a whole one of {wanted} belongs")
        if self._plain is not None:
            return _interpreted(self._plain, arrays)
        function, places = self._function, [array.__array_interface__["data"][0] for array in arrays]

        def run(*numbers: int, held: Sequence[NDArray[Any]] = arrays) -> int:
            found: int = function(*places, *numbers)
            return found

        return run


def _interpreted(function: Function, arrays: Sequence[NDArray[Any]]) -> Callable[..., int]:
    """Return a loop as Python. Bytes are read as Python's own numbers: as numpy's, hashes of them would not outgrow a byte."""
    views = [array.data if array.dtype == np.uint8 else array.reshape(-1) for array in arrays]

    def run(*numbers: int) -> int:
        with np.errstate(over="ignore"):
            return int(function(*views, *numbers))

    return run


def _file(function: Function) -> Path:
    """Return where a loop is kept: another text, constant, compiler or kind of processor makes another file."""
    made_of: list[object] = [*map(version, ("numba", "llvmlite")), llvm.get_default_triple()]
    for each in _modules(function):
        made_of.append(Path(each.__code__.co_filename).read_bytes())
        constants = ((name, _constant(value)) for name, value in each.__globals__.items())
        made_of += [(name, value) for name, value in constants if value is not None]
    source = Path(function.__code__.co_filename)
    folder = Path(os.environ.get(FOLDER) or source.parent / "__pycache__")
    return folder / f"{source.stem}.{function.__name__}.{_digest(repr(made_of).encode())[:16]}.loop"


def _modules(function: Function) -> list[Function]:
    """Return a function of each module that a loop is made of: its own, and those that its parts come from."""
    found = [function]
    for each in found:
        for value in each.__globals__.values():
            is_part = isinstance(value, FunctionType) and value in _parts
            if is_part and all(value.__globals__ is not other.__globals__ for other in found):
                found.append(value)
    return found


def _constant(value: object) -> object:
    """Return what compiled code has of a name of its module, None where it has nothing of it."""
    return (
        value
        if isinstance(value, int | float)
        else value.tolist()
        if isinstance(value, np.ndarray | np.generic)
        else None
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kept(file: Path) -> tuple[str, bytes] | None:
    """Return the name and the machine code of a loop, None where it is not kept whole."""
    try:
        digest, content = file.read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    if digest.decode(errors="replace") != _digest(content):
        return None
    name, code = content.split(b"\n", 1)
    return name.decode(), code


def _compiled(function: Function, arguments: Sequence[str]) -> tuple[str, bytes]:
    """Compile a loop and its parts, and keep it."""
    import numba

    pointer, types = numba.types.CPointer, numba.types
    known: Mapping[str, Any] = {BYTES: pointer(types.uint8), NUMBERS: pointer(types.int64), INT: types.int64}

    def signature(names: Sequence[str]) -> Any:
        return types.int64(*(known[name] for name in names))

    spaces = [each.__globals__ for each in _modules(function)]
    plain = [dict(space) for space in spaces]
    try:
        for each in [each for each in _parts if any(each.__globals__ is space for space in spaces)]:
            if each not in _made:
                _made[each] = numba.njit(signature(_parts[each]), error_model="numpy")(each)
            for space in spaces:
                space.update({name: _made[each] for name, value in space.items() if value is each})
        made = numba.cfunc(signature(arguments), error_model="numpy")(function)
    finally:
        for space, before in zip(spaces, plain, strict=True):
            space.update(before)
    code: bytes = _machine().emit_object(llvm.parse_assembly(made.inspect_llvm()))
    _keep(_file(function), made.native_name.encode() + b"\n" + code)
    return made.native_name, code


def _keep(file: Path, content: bytes) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(_digest(content).encode() + b"\n" + content)
        draft.replace(file)
    except OSError as error:
        if not _told:
            log.warning("compiled loops cannot be kept, so every start compiles them", extra={"reason": str(error)})
        _told.add(str(error))


def _machine() -> Any:
    """Return what makes code for any processor of this kind."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(opt=3, jit=True)


def _loaded(name: str, code: bytes) -> int:
    """Return the address of a loop in memory."""
    for never in _NEVER:
        llvm.add_symbol(never, ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address: int = engine.get_function_address(name)
    return address
