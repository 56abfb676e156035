"""A reader of pickles that can build nothing but lists, tuples, dicts, strings, numbers, booleans and None.

A pickle is a program. First its instructions are looked at without running any of them, and everything that is not plain
data is refused. Then an unpickler that can find no class builds the data. Last its size is measured, where a list that is named
twice counts twice: a few bytes can't stand for an endless walk.
"""

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

from iteralign.errors import DataError
from iteralign.text.bounded import MAX_DEPTH, BeyondBounds, unpacked_most

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
_BYTES_PER_VALUE = 16


class _PlainUnpickler(pickle._Unpickler):
    """The standard library's own in Python, since the one in C can't be told which keys a dict may have: to hash a tuple of
    tuples of tuples, each named twice, takes for ever."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        self._put([key, value], self.stack[-1])  # type: ignore[attr-defined]

    def load_setitems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._put(items, self.stack[-1])  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        made: dict[Any, Any] = {}
        self._put(self.pop_mark(), made)  # type: ignore[attr-defined]
        self.append(made)  # type: ignore[attr-defined]

    def _put(self, items: list[Any], place: dict[Any, Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
                raise pickle.UnpicklingError("a dict in it has tuples of tuples for keys")
            place[key] = value

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict

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
        value = _PlainUnpickler(io.BytesIO(data), encoding="utf-8").load()
        _check_size(value, unpacked_most(len(data), MAX_PICKLE_BYTES))
        return value
    except BeyondBounds as error:
        raise DataError(f"{name}: refused: {error}. Convert it to JSONL if you know what it is.") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{name}: this pickle is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def _check_instructions(data: bytes, name: str) -> None:
    end = 0
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
            end = (position or 0) + 1
    except DataError:
        raise
    except Exception as error:  # the same
        raise DataError(f"{name}: this is no pickle, or a damaged one ({error}); fetch it again.") from error
    if end != len(data):
        raise DataError(f"{name}: {len(data) - end} bytes follow the end of the pickle; it is damaged, fetch it again.")


def _check_size(value: Any, limit: int) -> None:
    """Values and characters, each as often as it can be reached. Raises BeyondBounds, also for what contains itself."""
    sizes: dict[int, int] = {}
    """Of the lists, tuples and dicts that were gone through; 0 while one is."""
    path: list[tuple[Any, Iterator[Any]]] = []

    def begin(container: Any) -> None:
        if sizes.get(id(container)) == 0:
            raise BeyondBounds("a list or dict in it contains itself")
        if len(path) >= MAX_DEPTH:
            raise BeyondBounds(f"lists and dicts stand in one another more than {MAX_DEPTH} deep")
        sizes[id(container)] = 0
        path.append((container, iter(_inside(container))))

    begin([value])
    totals = [0]
    while path:
        container, rest = path[-1]
        for inner in rest:
            known = sizes.get(id(inner)) if isinstance(inner, list | tuple | dict) else _own_size(inner)
            if not known:
                begin(inner)
                totals.append(0)
                break
            totals[-1] += known
            if totals[-1] > limit:
                raise BeyondBounds(f"what it holds takes more than {limit // 1024**2:,} MiB when it is gone through")
        else:
            path.pop()
            size = totals.pop() + _BYTES_PER_VALUE
            sizes[id(container)] = size
            if totals:
                totals[-1] += size


def _inside(container: Any) -> Any:
    return [*container.keys(), *container.values()] if isinstance(container, dict) else container


def _own_size(value: Any) -> int:
    return _BYTES_PER_VALUE + (len(value) if isinstance(value, str | bytes) else 0)
