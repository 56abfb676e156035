"""Text, YAML and JSON from outside, read within bounds: bytes, nesting, references and values are counted before anything is
built.

A few hundred bytes can stand for any amount of memory, or for an endless walk: aliases of aliases, brackets in brackets.
Everything here raises OSError, or a ValueError that says what is wrong.
"""

import errno
import io
import json
import os
import re
import stat
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO

MAX_TEXT = 64 * 1024**2
"""Bytes of a file that is read as one document."""
MAX_DEPTH = 60
"""Lists and mappings in one another. What iteralign writes has fewer than ten."""
_MAX_EVENTS = 2_000_000
"""Scalars, lists and mappings of one YAML document: some 100,000 principles."""
_MAX_NUMBER = 400
"""Characters of a number in YAML, whose time to read grows with their square."""

_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fA-FxobB_:.]*")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)
_PIECE = 4 * 1024**2
_UNPACKED_FREELY = 32 * 1024**2
_MAX_RATIO = 100


class BeyondBounds(ValueError):
    """More than is read: of bytes, of nesting, of values; or a reference, where none may be."""


def unpacked_most(packed: int, most: int) -> int:
    """Bytes that a file of `packed` bytes may unpack to: text shrinks ten to fifty times, a bomb a thousand times."""
    return min(most, max(_UNPACKED_FREELY, _MAX_RATIO * packed))


def opened(path: Path) -> io.BufferedReader:
    """A regular file, to be read. Raises OSError for any other: a pipe would be waited for, and a device has no end."""
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: SIM115  # for the caller
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """A regular file's UTF-8."""
    if not path.is_file() and path.exists():  # reading a pipe would wait for ever
        raise BeyondBounds("it is no file" if not path.is_dir() else "it is a directory")
    with path.open("rb") as file:
        data = read_most(file, most)
    if len(data) > most:
        raise BeyondBounds(f"it has more than {most // 1024**2} MiB")
    return data.decode("utf-8")


def read_most(file: BinaryIO | GzipFile, most: int) -> bytes:
    """All of the file, or more than `most` bytes of it. In pieces: `read` would take memory for `most` of any file."""
    data = io.BytesIO()
    while data.tell() <= most and (piece := file.read(_PIECE)):
        data.write(piece)
    return data.getvalue()


def read_yaml(path: Path) -> Any:
    """The one document of a YAML file."""
    return load_yaml(read_text(path))


def read_json(path: Path) -> Any:
    """The one value of a JSON file."""
    return load_json(read_text(path))


def load_yaml(text: str) -> Any:
    """One YAML document of plain data, without aliases."""
    import yaml  # late: the command line's help needs none

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(text, loader)
        return yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError, AttributeError, TypeError, KeyError) as error:  # the latter: odd tags
        raise ValueError(f"it is no YAML: {error}") from error


def load_json(text: str | bytes) -> Any:
    """One JSON value."""
    plain = text if isinstance(text, str) else text.decode("utf-8")
    if plain.count("[") + plain.count("{") > MAX_DEPTH:
        _check_brackets(plain)
    try:
        return json.loads(plain)
    except RecursionError as error:
        raise BeyondBounds(_too_deep()) from error


def _check_events(text: str, loader: Any) -> None:
    import yaml

    depth = 0
    events: Any = yaml.parse(text, loader)
    for count, event in enumerate(events):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise BeyondBounds(f"line {line} refers to another place (*{event.anchor}); write out what stands there")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BeyondBounds(_too_deep())
        if count > _MAX_EVENTS:
            raise BeyondBounds(f"it has more than {_MAX_EVENTS:,} values")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_NUMBER and _NUMBER.fullmatch(event.value):
            raise BeyondBounds(f"line {line} has a number of {len(event.value):,} characters")


def _check_brackets(text: str) -> None:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise BeyondBounds(_too_deep())


def _too_deep() -> str:
    return f"lists and mappings stand in one another more than {MAX_DEPTH} deep"
