"""Files of records: written whole, and read back with the place of what is wrong."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from iteralign.errors import CorruptFileError
from iteralign.files import write_text
from iteralign.records import Record, many
from iteralign.text.bounded import opened, read_text

MAX_RECORDS = 4 * 1024**3
"""Bytes of a file of records."""

R = TypeVar("R", bound=Record)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """JSONL, whole or not at all."""
    write_text(path, as_lines(records))


def as_lines(records: Iterable[Record]) -> str:
    """JSONL."""
    return "".join(record.model_dump_json() + "\n" for record in records)


@many()
def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSONL file. Raises CorruptFileError naming file and line."""
    try:
        lines = read_text(path, MAX_RECORDS).split("\n")
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error
    if lines.pop() != "":
        raise CorruptFileError(f"{path}: the last line is torn. Delete the file, and resuming computes it again.")
    name = str(path)
    return [_parse(kind, line, f"{name}:{number}") for number, line in enumerate(lines, start=1)]


def each_record(path: Path, kind: type[R]) -> Iterator[R]:
    """The same one after another, of a file that was written whole. Raises CorruptFileError."""
    try:
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                yield _parse(kind, line.decode(), f"{path}:{number}")
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The same of a file that has a line at least. Raises CorruptFileError."""
    rows = read_records(path, kind)
    if not rows:
        raise CorruptFileError(f"{path} is empty. Delete it and resume the run.")
    return rows


def read_record(path: Path, kind: type[R]) -> R:
    """The one record of a JSON file. Raises CorruptFileError."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error
    return _parse(kind, text, str(path))


def _parse(kind: type[R], line: str, where: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"{where} is no {kind.__name__}: {field}: {first['msg']}. Delete the file, and resuming computes it again."
        ) from error
