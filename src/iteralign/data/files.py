"""Files of questions -> rows: JSONL, JSON, CSV, TSV, Parquet, text and pickle, each also compressed as .gz.

A reader knows nothing of prompts; it says where each row stands, so that an error can name the line.
"""

import csv
import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from iteralign.data.parquet import parquet_rows
from iteralign.data.pickles import load_plain_pickle
from iteralign.errors import DataError, MissingExtraError
from iteralign.text.bounded import opened, read_most, unpacked_most

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".pkl")
MAX_BYTES = 4 * 1024**3
"""Refuse files that are larger than this when unpacked: a compressed file can unpack to any size."""

_LIST_KEYS = ("data", "examples", "rows", "prompts", "questions", "instances")
_MAX_NESTING = 8


class FileItem(NamedTuple):
    """One entry of a file: a text, or an object with columns."""

    where: str
    """The file and the line or item, as an error names it."""
    value: Any
    category: str | None = None
    """The keys above it in a nested file, joined by " / "."""


def file_format(path: Path) -> str:
    """The ending that decides the reader, without .gz. Raises DataError."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    ending = {".ndjson": ".jsonl", ".pickle": ".pkl"}.get(suffixes[-1], suffixes[-1]) if suffixes else ""
    if ending not in FORMATS:
        raise DataError(
            f"{path}: unknown kind of file {ending or '(no ending)'}. "
            f"Rename it to one of {', '.join(FORMATS)}, or .gz of these."
        )
    return ending


def read_rows(path: Path) -> list[FileItem]:
    """All rows of a file, in order; at least one. Raises DataError."""
    data = read_bytes(path)
    match file_format(path):
        case ".parquet":
            rows = _parquet(path, data)
        case ".pkl":
            rows = _items(path, load_plain_pickle(data, str(path)))
        case ".txt":
            rows = _lines(path, decode(path, data))
        case ".csv":
            rows = _csv(path, decode(path, data), ",")
        case ".tsv":
            rows = _csv(path, decode(path, data), "\t")
        case ending:
            rows = _json(path, decode(path, data), by_lines=ending == ".jsonl")
    if not rows:
        raise DataError(f"{path}: there is nothing in this file; it needs at least one question.")
    return rows


def read_bytes(path: Path) -> bytes:
    """The content, unpacked if the name ends in .gz. Raises DataError for what is missing, no file, empty or torn."""
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))[:10]
        listed = f" It contains: {', '.join(inside)}." if inside else ""
        raise DataError(f"{path}: this is a directory; give one file.{listed}")
    try:
        most = unpacked_most(path.stat().st_size, MAX_BYTES)
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                data = read_most(packed, most)
        else:
            with opened(path) as plain:
                data = read_most(plain, most)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; check the path.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: this is no whole gzip file ({error}); fetch it again.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read: {error}.") from error
    if len(data) > most:
        raise DataError(
            f"{path}: more than {most // 1024**2:,} MiB unpacked, which is more than is read of a file of this size. Split "
            "it into smaller files, or unpack it yourself if you know what it is."
        )
    if not data:
        raise DataError(f"{path}: the file is empty; it needs at least one question.")
    return data


def decode(path: Path, data: bytes) -> str:
    """UTF-8, with or without a byte order mark. Raises DataError with the byte offset of what is not, and for NUL."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: byte 0: this looks like UTF-16; save it as UTF-8.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: byte {error.start} of the file (0x{data[error.start]:02x}) is not UTF-8; save it as UTF-8."
        ) from error
    if "\0" in text:
        offset = data.index(b"\0")
        line = data.count(b"\n", 0, offset) + 1
        raise DataError(
            f"{path}:{line}: byte {offset} of the file is NUL, which no text contains; fetch or save it again."
        )
    return text.removeprefix("\ufeff")


def write_atomically(path: Path, text: str) -> None:
    """The whole file or none of it: a temporary file beside it, synced, then renamed. Raises DataError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"{path}: can't be written: {error}.") from error


def _lines(path: Path, text: str) -> list[FileItem]:
    return [FileItem(f"{path}:{number}", line) for number, line in numbered_lines(text)]


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1. Only a line feed ends a line: U+2028 stands inside JSON."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _csv(path: Path, text: str, delimiter: str) -> list[FileItem]:
    limit = csv.field_size_limit(len(text) + 1)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        rows = []
        start = 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
            elif len(cells) != len(header):
                raise DataError(
                    f"{path}:{line}: malformed CSV: {len(cells)} cells, but the header has {len(header)} columns. "
                    "Put texts that contain the separator in double quotes."
                )
            else:
                rows.append(FileItem(f"{path}:{line}", dict(zip(header, cells, strict=True))))
        return rows
    except csv.Error as error:
        raise DataError(
            f"{path}:{start}: malformed CSV: {error}. A quote that never closes is the usual cause."
        ) from error
    finally:
        csv.field_size_limit(limit)


def _header(path: Path, cells: list[str]) -> list[str]:
    doubled = sorted({name for name in cells if cells.count(name) > 1})
    if doubled:
        raise DataError(f"{path}:1: the column {doubled[0]!r} occurs twice in the header; name each column once.")
    return cells


def _parquet(path: Path, data: bytes) -> list[FileItem]:
    try:
        values = parquet_rows(data, MAX_BYTES)
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install pyarrow") from error
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: this is no readable Parquet file: {_first_line(error)}") from error
    return [FileItem(f"{path}: row {number}", value) for number, value in enumerate(values, start=1)]


def _json(path: Path, text: str, by_lines: bool) -> list[FileItem]:
    """A whole JSON document or JSON lines, whatever the name says: red_team_attempts.jsonl is one JSON array."""
    if by_lines and not text.lstrip().startswith("["):
        return _json_lines(path, text)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _json_lines(path, text)
        raise DataError(f"{path}:{error.lineno}: not JSON at column {error.colno}: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {_first_line(error)}") from error
    return _items(path, document)


def _json_lines(path: Path, text: str) -> list[FileItem]:
    return [
        FileItem(f"{path}:{number}", parse_json_line(path, text, number, line)) for number, line in numbered_lines(text)
    ]


def parse_json_line(path: Path, text: str, number: int, line: str) -> Any:
    """The value of one line of the JSONL `text`. Raises DataError; a torn last line is called that."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        if number == text.count("\n") + 1:
            raise DataError(
                f"{path}:{number}: the last line is not whole JSON and has no line end: the file was cut off while "
                "it was written. Delete that line, or fetch the file again."
            ) from error
        raise DataError(f"{path}:{number}: this line is not JSON: {_first_line(error)}") from error


def _items(path: Path, document: Any) -> list[FileItem]:
    if isinstance(document, dict):
        for key in _LIST_KEYS:
            if isinstance(document.get(key), list):
                return _items(path, document[key])
        if not all(isinstance(value, dict | list) for value in document.values()) or _is_object(document):
            return [FileItem(f"{path}: item 1", document)]
        return list(_nested(path, document, ()))
    if isinstance(document, list | tuple):
        return [FileItem(f"{path}: item {number}", value) for number, value in enumerate(document, start=1)]
    raise DataError(f"{path}: expected a list of questions, found {type(document).__name__}.")


def _is_object(document: dict[Any, Any]) -> bool:
    """One row whose only columns are lists of turns, rather than topics with lists of questions."""
    return bool(document) and set(document) <= {"turns", "messages", "conversations"}


def _nested(path: Path, value: Any, keys: tuple[str, ...]) -> Iterator[FileItem]:
    if len(keys) > _MAX_NESTING:
        raise DataError(
            f"{path}: nested more than {_MAX_NESTING} deep at {' / '.join(keys)}; give a list of questions."
        )
    where = f"{path}: {' / '.join(keys)}"
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _nested(path, inner, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value, start=1):
            yield FileItem(f"{where}: item {number}", inner, " / ".join(keys))
    else:
        raise DataError(f"{where}: expected a list of questions, found {type(value).__name__}.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]
