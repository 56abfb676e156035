"""A reader of pickles that can build nothing but lists, tuples, dicts, strings, numbers, booleans and None.

A pickle is a program. This one is read twice: first its instructions are looked at without running any of them, and
everything that is not plain data is refused; then an unpickler that can find no class builds the data.
"""

import io
import pickle
import pickletools
from typing import Any, NoReturn

from iteralign.errors import DataError

MAX_PICKLE_BYTES = 256 * 1024**2

_DATA = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP"),
    *(
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
    ),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
}
_MAX_TUPLES_WITH_DICTS = 10_000
"""Tuples nested this deep as a key of a dict would overflow the interpreter's stack when hashed."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside the file")


def load_plain_pickle(data: bytes, name: str) -> Any:
    """The data in a pickle. Raises DataError, having run nothing, when it holds more than plain data or is damaged."""
    if len(data) > MAX_PICKLE_BYTES:
        raise DataError(
            f"{name}: a pickle of more than {MAX_PICKLE_BYTES // 1024**2} MiB is not read; convert it to JSONL."
        )
    _check_instructions(data, name)
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="utf-8").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{name}: this pickle is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def _check_instructions(data: bytes, name: str) -> None:
    tuples = dicts = end = 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if opcode.name not in _DATA:
                raise DataError(
                    f"{name}: refused: at byte {position} this pickle has the instruction {opcode.name}, so it holds "
                    "more than lists, tuples, dicts, strings and numbers, and loading it could run code. "
                    "Nothing was run. Convert it to JSONL."
                )
            if opcode.name.endswith("PUT") and not 0 <= int(argument or 0) <= count + 1:
                raise DataError(f"{name}: refused: this pickle is made to use up memory (byte {position}).")
            tuples += "TUPLE" in opcode.name
            dicts += "DICT" in opcode.name
            end = (position or 0) + 1
    except DataError:
        raise
    except Exception as error:  # the same
        raise DataError(f"{name}: this is no pickle, or a damaged one ({error}); fetch it again.") from error
    if end != len(data):
        raise DataError(f"{name}: {len(data) - end} bytes follow the end of the pickle; it is damaged, fetch it again.")
    if dicts and tuples > _MAX_TUPLES_WITH_DICTS:
        raise DataError(
            f"{name}: refused: more than {_MAX_TUPLES_WITH_DICTS} tuples beside dicts; convert it to JSONL."
        )
